"""What people said of older runs of a detector and its current run has not been told, by place.

Callers hold the transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy import Connection

from micdb.catalog.results import STANDING, current_run, defect, model, run, run_item
from micdb.catalog.tables import micrograph
from micdb.corrections.matching import matches
from micdb.errors import UsageError, suggestion

_D, _M = defect.c, micrograph.c


@dataclass(frozen=True, slots=True)
class Carried:
    """A correction to make.

    Parameters
    ----------
    verb
        ``accept``, ``reject``, ``relabel`` or ``add``.
    source
        uid of the defect of the older run that it was said of.
    target
        uid of the defect of the current run; None for ``add``.
    kind
        What people said it is.
    """

    verb: str
    source: str
    target: str | None
    kind: str


def runs(connection: Connection, detector: str | None) -> list[tuple[int, int]]:
    """Return pairs of a current run and another one of the same detector that people corrected.

    The latest come first: of two opinions on one place the later run's counts.

    Parameters
    ----------
    connection
        A transaction.
    detector
        Name of the extractor; None for all.

    Raises
    ------
    UsageError
        It has no run.
    """
    names = set(connection.scalars(sa.select(current_run.c.analysis)))
    if detector is not None and detector not in names:
        raise UsageError(f"{detector} has no run here{suggestion(detector, names)}")
    corrected = sa.exists().where(_D.run_pk == run.c.pk, _D.state != "detected")
    query = (
        sa.select(current_run.c.run_pk, run.c.pk)
        .join(model, model.c.name == current_run.c.analysis)
        .join(run, run.c.model_pk == model.c.pk)
        .where(run.c.pk != current_run.c.run_pk, corrected)
        .order_by(run.c.pk.desc())
    )
    if detector is not None:
        query = query.where(current_run.c.analysis == detector)
    return [(int(current), int(other)) for current, other in connection.execute(query)]


def untold(connection: Connection, current: int, other: int) -> Iterator[Carried]:
    """Yield what is to be said of the current run, of the images that both runs looked at."""
    columns = [
        _D.uid, _D.run_pk.label("run"), _D.micrograph_pk.label("image"), _D.frame, _D.kind, _D.x_px, _D.y_px,
        _D.box, _D.state, _M.pixel_size,
    ]  # fmt: skip
    corrected, own = defect.alias("corrected"), run_item.c
    looked = sa.exists().where(
        own.run_pk == current, own.micrograph_pk == _D.micrograph_pk, own.status == "done"
    )
    said = sa.exists().where(
        corrected.c.run_pk == other,
        corrected.c.micrograph_pk == _D.micrograph_pk,
        corrected.c.state != "detected",
    )
    query = (
        sa.select(*columns)
        .join(micrograph, _M.pk == _D.micrograph_pk)
        .where(_D.run_pk.in_([current, other]), _M.deleted_at.is_(None), looked, said)
        .order_by(_D.pk)
    )
    rows = pd.DataFrame(connection.execute(query).all(), columns=[column.name for column in columns])
    for _, here in rows.groupby("image"):
        yield from _of_image(here[here["run"] == current], here[here["run"] == other])


def _of_image(own: pd.DataFrame, said: pd.DataFrame) -> Iterator[Carried]:
    standing = own[own["state"].isin(STANDING)]
    truth = said[said["state"].isin(["accepted", "added"])]
    met = matches(standing, truth)
    for row, there in _pairs(standing, truth, met):
        if row.state == "detected":
            verb = "accept" if row.kind == there.kind else "relabel"
            yield Carried(verb, there.uid, row.uid, there.kind)
    rest = standing.drop(standing.index[list(met)])
    denied = said[said["state"].isin(["rejected", "replaced"])]  # a replaced one, moved away or renamed
    for row, there in _pairs(rest, denied, matches(rest, denied)):
        if row.state == "detected" and row.kind == there.kind:
            yield Carried("reject", there.uid, row.uid, there.kind)
    missed = truth.drop(truth.index[list(met.values())])
    judged = matches(missed, own[~own["state"].isin(STANDING)])  # people took it away from this run, too
    left = missed.drop(missed.index[list(judged)])
    for uid, kind in zip(left["uid"], left["kind"], strict=True):
        yield Carried("add", uid, None, kind)


def _pairs(found: pd.DataFrame, truth: pd.DataFrame, met: dict[int, int]) -> Iterator[tuple[Any, Any]]:
    left, right = list(found.itertuples()), list(truth.itertuples())
    return ((left[number], right[other]) for number, other in met.items())

"""Labelled images as arrays: vectors, classes, independent groups, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from numpy.typing import NDArray

from micdb.analysis.folds import MIN_GROUPS, independent_groups
from micdb.analysis.gather import Frame, Vectors, read_spaces, read_table
from micdb.analysis.metadata import METADATA, as_numbers
from micdb.catalog.engine import reading
from micdb.catalog.results import model, run
from micdb.embed.extractors.classify import UNKNOWN
from micdb.embed.micro.classifier import Source
from micdb.errors import TooFewGroupsError, UnknownColumnError, UsageError

if TYPE_CHECKING:
    from micdb.query.context import Context
    from micdb.query.search.vectors import Space

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LEAST_GROUPS = 2  # of a class: one to learn from while the other is held out


@dataclass(frozen=True, slots=True)
class Labelled:
    """Labelled images.

    Parameters
    ----------
    label
        Column that the labels come from.
    classes
        Their names, by number.
    y
        Class of each image ``(n,)``.
    vectors
        Blocks side by side ``(n, d)``.
    metadata
        What is known without the pixels, as numbers ``(n, q)``.
    groups, names
        Independent group of each image, as a number from 0 and as text ``(n,)``.
    uids
        ``(n,)``.
    n_read, dropped
        Images asked for; reason -> images it kept out.
    """

    label: str
    classes: tuple[str, ...]
    y: Ints
    vectors: Floats
    metadata: Floats
    groups: Ints
    names: NDArray[np.object_]
    uids: NDArray[np.object_]
    n_read: int
    dropped: Mapping[str, int]


def read_labelled(
    frame: Frame, label: str, *, embedding: Sequence[str], groups: Sequence[str]
) -> tuple[Labelled, tuple[Source, ...]]:
    """Return the labelled images of a frame, and what their vectors are made of.

    Raises
    ------
    UsageError, UnknownColumnError, TooFewGroupsError
        As `build_labelled`; nothing fills vectors of a name in `embedding`.
    """
    known = [name for name in METADATA if name in frame]
    table = read_table(frame, (label, *groups, *known))
    spaces = read_spaces(frame.context, embedding, table["uid"])
    vectors = [found for _, found in spaces.values()]
    made = build_labelled(table, label, groups=groups, vectors=vectors, metadata=known)
    return made, _sources(frame.context, [space for space, _ in spaces.values()])


def build_labelled(
    table: pd.DataFrame,
    label: str,
    *,
    groups: Sequence[str],
    vectors: Sequence[Vectors],
    metadata: Sequence[str] = (),
) -> Labelled:
    """Return the arrays of labelled images.

    Parameters
    ----------
    table
        One row per image, ``uid`` among its columns.
    label
        Column of the labels.
    groups
        Columns whose labels are never split; with several, images that share one of any stay together.
    vectors
        Blocks to join.
    metadata
        Columns that are known without the pixels.

    Raises
    ------
    UnknownColumnError
        There is no such column.
    UsageError
        Fewer than two classes remain, or one is called unknown.
    TooFewGroupsError
        Fewer than 5 independent groups remain.
    """
    for name in (label, *groups):
        if name not in table:
            raise UnknownColumnError(
                name, [str(one) for one in table.columns], "the table that is classified"
            )
    if not groups:
        raise UsageError("groups is empty; name what must not be split, for example groups=('sample',)")
    reasons = {
        f"{name} is missing": table[name].isna().to_numpy() for name in dict.fromkeys((label, *groups))
    }
    blocks = []
    for space, ids, matrix in vectors:
        at = pd.Index(ids).get_indexer(pd.Index(table["uid"]))
        data = np.asarray(matrix, np.float64)
        blocks.append(data[at] if len(data) else np.full((len(table), data.shape[1]), np.nan))
        reasons[f"no vector in {space}"] = (at < 0) | ~np.isfinite(blocks[-1]).all(axis=1)
    keep = ~np.any([np.zeros(len(table), bool), *reasons.values()], axis=0)
    lone = _lone(table, label, groups, keep)
    reasons |= {f"{name} is shown by one {' and '.join(groups)} only": rows for name, rows in lone.items()}
    keep &= ~np.any([np.zeros(len(table), bool), *lone.values()], axis=0)
    dropped = {reason: int(rows.sum()) for reason, rows in reasons.items() if rows.any()}
    chosen = table[keep]
    y, classes = pd.factorize(chosen[label].astype(str), sort=True)
    numbers, names = _checked(chosen, [str(one) for one in classes], label, groups, dropped)
    return Labelled(
        label, tuple(str(one) for one in classes), y.astype(np.int64),
        np.hstack([block[keep] for block in blocks]), as_numbers(chosen, metadata), numbers, names,
        chosen["uid"].to_numpy(dtype=object), len(table), dropped,
    )  # fmt: skip


def _lone(
    table: pd.DataFrame, label: str, groups: Sequence[str], keep: NDArray[np.bool_]
) -> dict[str, NDArray[np.bool_]]:
    """Return the images of classes that too few groups show, by class."""
    if not keep.any():
        return {}
    numbers, _ = independent_groups(table.loc[keep, list(groups)])
    texts = table[label].astype(str).to_numpy()
    counts = pd.Series(numbers).groupby(texts[keep]).nunique()
    return {str(name): keep & (texts == name) for name in counts[counts < _LEAST_GROUPS].index}


def _checked(
    chosen: pd.DataFrame, classes: list[str], label: str, groups: Sequence[str], dropped: Mapping[str, int]
) -> tuple[Ints, NDArray[np.object_]]:
    """Return the independent groups, once there are enough of them and of classes."""
    lost = ", ".join(f"{reason}: {count}" for reason, count in dropped.items())
    lost = f" (left out: {lost})" if lost else ""
    if UNKNOWN in classes:
        raise UsageError(f"{label} has the class {UNKNOWN!r}: leave such images without a label")
    if len(classes) < 2:
        found = f"only {classes[0]!r}" if classes else "none"
        raise UsageError(
            f"{len(chosen)} images have a label of {label}: {found}; two classes are needed{lost}"
        )
    numbers, names = independent_groups(chosen[list(groups)])
    if numbers.max() + 1 < MIN_GROUPS:
        raise TooFewGroupsError(
            f"{numbers.max() + 1} independent groups by {', '.join(groups)}; at least {MIN_GROUPS} are "
            f"needed: label images of other samples{lost}"
        )
    return numbers, names


def _sources(context: Context, spaces: Sequence[Space]) -> tuple[Source, ...]:
    """Return the runs that filled spaces as what another machine needs to describe an image alike."""
    statement = sa.select(run.c.pk, run.c.parameters, model.c.name, model.c.version, model.c.card)
    statement = statement.join(model, model.c.pk == run.c.model_pk)
    with reading(context.engine) as connection:
        rows = {
            row.pk: row
            for row in connection.execute(statement.where(run.c.pk.in_([one.run for one in spaces])))
        }
    made: list[Any] = [(rows[one.run], one.name) for one in spaces]
    return tuple(
        Source(row.name, row.version, row.card.get("weights_hash"), dict(row.parameters), space)
        for row, space in made
    )

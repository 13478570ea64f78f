"""What people say of the defects that detectors found: accepted, rejected, relabelled, moved, added.

Each correction is an annotation, and annotations are only ever added. What was detected stays as it was: to
relabel or to move is to add a row that replaces it, and only the `state` of the old row changes, to what
``undo`` changes back::

    accept   detected -> accepted            relabel, move   the row -> replaced, a new row: accepted
    reject   detected -> rejected            add             a new row: added
    undo     the row -> the state it had, a row that the correction made -> undone

``carry`` says all of it again of the current run of a detector, where it was said of another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Engine

from micdb.catalog.engine import reading, writing
from micdb.catalog.results import defect
from micdb.catalog.rows import add
from micdb.corrections import carrying, log, rows
from micdb.corrections.carrying import Carried
from micdb.corrections.log import Correction
from micdb.corrections.rows import Found
from micdb.errors import UsageError
from micdb.provenance import uuid7


@dataclass(frozen=True, slots=True)
class _Written:
    """What a correction does to the catalog, besides the annotation: states of the row and of a new one."""

    state: str
    values: Mapping[str, Any] = field(default_factory=dict)
    made: Mapping[str, Any] | None = None


class Corrections:
    """Corrections of the defects of one database; ``db.corrections``.

    Parameters
    ----------
    engine
        The catalog.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def accept(self, uids: str | Iterable[str], *, by: str | None = None) -> list[Correction]:
        """Say that defects are what the detector says they are.

        Parameters
        ----------
        uids
            Of one defect, or of several: all are corrected, or none.
        by
            Who says so; the user of the computer unless given.

        Raises
        ------
        UsageError
            There is no such defect, or it was rejected or replaced.
        """
        return self._correct("accept", uids, by, lambda _: _Written("accepted"))

    def reject(self, uids: str | Iterable[str], *, by: str | None = None) -> list[Correction]:
        """Say that there is no defect; parameters and errors are those of `accept`."""
        return self._correct("reject", uids, by, lambda _: _Written("rejected"))

    def relabel(self, uids: str | Iterable[str], kind: str, *, by: str | None = None) -> list[Correction]:
        """Say what defects are instead: a row of that kind replaces each.

        Parameters
        ----------
        uids, by
            As for `accept`.
        kind
            ``vacancy``, ``substitution``, ...; any word.

        Raises
        ------
        UsageError
            As for `accept`, or the kind is empty.
        """
        word = _word(kind)

        return self._correct("relabel", uids, by, lambda row: _relabelled(row, word))

    def move(self, uid: str, x_px: float, y_px: float, *, by: str | None = None) -> Correction:
        """Say where a defect is: a row there replaces it.

        Parameters
        ----------
        uid, by
            As for `accept`.
        x_px, y_px
            Its centre [pixel], from the centre of the top-left pixel.

        Raises
        ------
        UsageError
            As for `accept`, or the place is outside the image.
        """

        def moved(row: Found) -> _Written:
            place = rows.place(row, x_px, y_px)
            return _Written("replaced", place, rows.copied(row, **place, **rows.carried(row, place)))

        return self._correct("move", uid, by, moved)[0]

    def add(
        self,
        image: str,
        kind: str,
        x_px: float,
        y_px: float,
        *,
        frame: int = 0,
        detector: str | None = None,
        by: str | None = None,
    ) -> Correction:
        """Say that there is a defect that a detector missed.

        Parameters
        ----------
        image
            uid of the micrograph.
        kind
            What it is.
        x_px, y_px
            Its centre [pixel], from the centre of the top-left pixel.
        frame
            Of a stack, from 0.
        detector
            Extractor that missed it; needed only where several have looked for defects in the image.
        by
            Who says so.

        Raises
        ------
        UsageError
            No such image, frame or place, or no detector of defects has looked at it.
        """
        word = _word(kind)
        with writing(self._engine) as connection:
            picture = rows.picture_of(connection, image)
            if not 0 <= frame < picture.n_frames:
                raise UsageError(f"frame {frame} is none of the {picture.n_frames} of {picture.name}, from 0")
            made = uuid7()
            row = {
                "uid": made,
                "run_pk": rows.missed_by(connection, picture, detector),
                "micrograph_pk": picture.pk,
                "frame": frame,
                "kind": word,
                "state": "added",
                **rows.place(picture, x_px, y_px),
            }
            add(connection, defect, row)
            return log.annotate(connection, "add", made, by, stands=made, value={"made": made})

    def undo(self, uid: str, *, by: str | None = None) -> Correction:
        """Take a correction back: everything answers again as it did before it.

        Parameters
        ----------
        uid
            Of the annotation, as a correction and `history` give it.
        by
            Who says so.

        Raises
        ------
        UsageError
            There is no such annotation, it is undone already, or later ones have to be undone before.
        """
        with writing(self._engine) as connection:
            row = log.annotation_of(connection, uid)
            made = row.value.get("made")
            later = log.latest(connection, made or row.target_uid)
            if later is not None and later.uid != uid:
                raise UsageError(f"{later.verb} {later.uid} came after it: undo that first")
            if made is not None:
                rows.set_state(connection, made, "undone")
            if row.verb != "add":
                rows.set_state(connection, row.target_uid, row.value["before"])
            stands = None if row.verb == "add" else row.target_uid
            return log.annotate(connection, "undo", row.target_uid, by, stands=stands, supersedes=uid)

    def carry(self, detector: str | None = None, *, by: str | None = None) -> list[Correction]:
        """Say of the current run of a detector what people said of its other runs, by place.

        A newer version of a detector, or one with other parameters, answers anew; what people said of the
        same places is said again of its answers: right ones are accepted, false ones rejected, others
        relabelled, missed ones added. What people have judged in the current run stays; so a second call
        does nothing. All of it is written, or nothing.

        Parameters
        ----------
        detector
            Name of the extractor; None for all.
        by
            Who says so.

        Raises
        ------
        UsageError
            The detector has no run.
        """
        with writing(self._engine) as connection:
            done = []
            for current, other in carrying.runs(connection, detector):
                # all of them are found before the first is written, each pair sees what the last one wrote
                told = list(carrying.untold(connection, current, other))
                done += [_carried(connection, one, current, by) for one in told]
            return done

    def history(self, uid: str | None = None) -> pd.DataFrame:
        """Return all corrections, oldest first, or those of one defect and of what it replaced.

        Returns
        -------
        pandas.DataFrame
            ``uid``, ``verb``, ``target``, ``defect`` (row it made), ``value``, ``by``, ``at``, ``undone``.
        """
        with reading(self._engine) as connection:
            table = log.listed(connection)
        return table if uid is None else log.of_defect(table, uid)

    def _correct(
        self, verb: str, uids: str | Iterable[str], by: str | None, written: Callable[[Found], _Written]
    ) -> list[Correction]:
        wanted = [uids] if isinstance(uids, str) else list(uids)
        with writing(self._engine) as connection:
            found = rows.standing(connection, wanted)
            return [_write(connection, verb, row, written(row), by) for row in found]


def _word(kind: str) -> str:
    if not kind.strip():
        raise UsageError("the kind of a defect is empty; say what it is, for example 'vacancy'")
    return kind.strip()


def _relabelled(row: Found, kind: str) -> _Written:
    # Whether it still belongs to the motif of the library is for the next build to say.
    return _Written("replaced", {"kind": kind}, rows.copied(row, kind=kind, defect_motif_pk=None))


def _carried(connection: Connection, what: Carried, run: int, by: str | None) -> Correction:
    """Say of a run what was said of another."""
    if what.target is None:
        source = rows.standing(connection, [what.source])[0]
        made = rows.copied(source, run_pk=run, state="added", replaces_pk=None, defect_motif_pk=None)
        add(connection, defect, made)
        value = {"made": made["uid"], "carried": what.source}
        return log.annotate(connection, "add", made["uid"], by, stands=made["uid"], value=value)
    row = rows.standing(connection, [what.target])[0]
    written = {
        "accept": lambda: _Written("accepted"),
        "reject": lambda: _Written("rejected"),
        "relabel": lambda: _relabelled(row, what.kind),
    }[what.verb]()
    return _write(connection, what.verb, row, written, by, carried=what.source)


def _write(
    connection: Connection,
    verb: str,
    row: Found,
    what: _Written,
    by: str | None,
    *,
    carried: str | None = None,
) -> Correction:
    rows.set_state(connection, row.uid, what.state)
    made = None if what.made is None else what.made["uid"]
    if what.made is not None:
        add(connection, defect, what.made)
    stands = None if what.state == "rejected" else made or row.uid
    value = {"before": row.state, "made": made, "said": dict(what.values), "carried": carried}
    return log.annotate(connection, verb, row.uid, by, stands=stands, value=value)

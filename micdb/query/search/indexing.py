"""Make the indexes of a database: ``micdb index`` and `micdb.Database.index`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from micdb.errors import StoreError, UsageError
from micdb.query.context import Context
from micdb.query.search import (
    calibration,
    decode,
    kinds,
    lists,
    matrices,
    patches,
    pgvector,
    pgvector_table,
    vectors,
)
from micdb.query.search.clustering import LEAST, build
from micdb.query.search.lists import Lists
from micdb.query.search.matrix import Matrix
from micdb.query.search.vectors import Space
from micdb.store.indexes import INDEXES, TUNING, VECTORS, IndexFile, beside, write_index

RECALL = 0.99
TABLES = (vectors.TABLE, patches.TABLE)
Watcher = Callable[[str, int, int], None]  # what is at work, number, total


@dataclass(frozen=True, slots=True)
class Indexed:
    """What was made for one space.

    Parameters
    ----------
    space, table
        Which vectors.
    vectors
        How many there are.
    kind
        ``exact`` (decoded only), ``lists`` or the name of an index.
    recall
        Share of the true best found on the sample; 1 where all are compared, None where none was measured.
    seconds
        Time it took to make [s].
    size
        Of the files of the space [byte].
    milliseconds
        Time of one search among all [ms]; None where none was measured.
    """

    space: str
    table: str
    vectors: int
    kind: str
    recall: float | None
    seconds: float
    size: int
    milliseconds: float | None

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


def index(
    context: Context,
    by: str | None = None,
    *,
    kind: str | None = None,
    recall: float = RECALL,
    calibrate: bool = False,
    watch: Watcher | None = None,
) -> tuple[Indexed, ...]:
    """Decode vectors and make their indexes, so that searches are quick.

    Parameters
    ----------
    context
        Surroundings.
    by
        Name of an extractor or of one space; None for the current runs of all.
    kind
        ``exact`` decodes only; ``lists`` groups the vectors; the names in `micdb.query.search.kinds` are made
        on top of lists. None takes lists from `micdb.query.search.clustering.LEAST` vectors on. ``pgvector``
        fills tables of a catalog on PostgreSQL, for clients without the files; see `pgvector_table.fill`.
    recall
        Share of the true best that searches must find, below 1; ``exact`` finds all of them.
    calibrate
        Measure anew on this machine, and make only what is missing.
    watch
        Called before each space with its name, its number and the total.

    Raises
    ------
    UsageError
        There are no vectors of that name, no such kind, or the recall makes no sense.
    StoreError
        A part is missing or damaged, or the folder cannot be written.
    """
    if kind not in (None, "exact", "lists", pgvector.NAME):
        kinds.check(str(kind))
    if not 0 < recall < 1:
        raise UsageError(f"recall is {recall}; it must be between 0 and 1, for example {RECALL}")
    todo = _spaces(context, by)
    if kind == pgvector.NAME:
        return _fill_server(context, [space for table, space in todo if table == vectors.TABLE], watch)
    made = []
    for number, (table, space) in enumerate(todo, start=1):
        if watch:
            watch(space.name, number, len(todo))
        maker = _Maker(context, space, table)
        made.append(maker.calibrate(recall) if calibrate else maker.make(kind, recall))
    return tuple(made)


def _fill_server(context: Context, spaces: Sequence[Space], watch: Watcher | None) -> tuple[Indexed, ...]:
    """Bring the tables on the server in step; places in images stay with the files."""
    pgvector.check_server(context.engine)
    made = []
    for number, space in enumerate(spaces, start=1):
        if watch:
            watch(space.name, number, len(spaces))
        done = pgvector_table.fill(context, space)
        made.append(
            Indexed(
                space.name, vectors.TABLE, done.rows, pgvector.NAME, None if done.indexed else 1.0,
                done.seconds, done.size, None,
            )
        )  # fmt: skip
    return tuple(made)


class _Maker:
    """Makes the files of one space."""

    def __init__(self, context: Context, space: Space, table: str) -> None:
        self.context, self.space, self.table = context, space, table
        self.begin = time.perf_counter()

    def make(self, kind: str | None, recall: float) -> Indexed:
        """Decode everything and make one index."""
        rows = decode.state(self.context, self.space.run, self.table).rows
        chosen = kind or ("lists" if rows >= LEAST else "exact")
        arrange = None if chosen == "exact" else self._arranged
        path = matrices.write(self.context, self.space, table=self.table, arrange=arrange)
        if path is None:
            raise StoreError(
                f"{self.context.root / INDEXES} cannot be written: free space on the disk, or ask for the "
                "right to write there; without an index searches compare all vectors"
            )
        for name in kinds.KINDS:  # they are of rows in another order
            beside(path, name).unlink(missing_ok=True)
        if chosen == "exact":
            return self._indexed(chosen, 1.0, None)
        found = self._tuned(recall)
        return found if chosen == "lists" else self._named(chosen, recall)

    def calibrate(self, recall: float) -> Indexed:
        """Measure anew what is there; where there is no index, make one."""
        matrix = self._matrix()
        if matrix is None or lists.open_lists(matrix) is None:
            return self.make(None, recall)
        found = self._tuned(recall)
        for name in kinds.KINDS:
            held = kinds.open_index(matrix, name)
            if held is not None:
                found = self._named(name, recall, held)
        return found

    def _matrix(self) -> Matrix | None:
        return matrices.open_matrix(self.context, self.space, table=self.table)

    def _present(self) -> tuple[Matrix, Lists, IndexFile]:
        matrix = self._matrix()
        held = None if matrix is None else lists.open_lists(matrix)
        if matrix is None or matrix.file is None or held is None:
            raise StoreError(f"the index of {self.space.name} was replaced meanwhile; run the same again")
        return matrix, held, matrix.file

    def _arranged(
        self, rows: decode.Rows, scale: np.ndarray, odd: np.ndarray
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        return build(rows.matrix, scale, odd, self.space.metric)

    def _tuned(self, recall: float) -> Indexed:
        matrix, held, file = self._present()
        measured, times = calibration.tune(matrix, held, recall=recall)
        about = {
            "kind": TUNING, **_whose(file.about), "machine": matrices.machine(), "measured": measured,
            "times": times,
        }  # fmt: skip
        write_index(self.context.root, beside(file.path, TUNING), about, {})
        return self._indexed("lists", measured["recall"], times.get("seconds"))

    def _named(self, kind: str, recall: float, index: kinds.Index | None = None) -> Indexed:
        matrix, held, file = self._present()
        if index is None:
            index = kinds.ready(kind, kinds.build(kind, matrix, held))
        fitted, reached = calibration.fit(index, matrix, held, recall=recall)
        about = {
            "kind": kind, **_whose(file.about), "effort": fitted.effort, "fetch": fitted.fetch,
            "seconds": fitted.seconds, "recall": reached,
        }  # fmt: skip
        write_index(self.context.root, beside(file.path, kind), about, {"index": kinds.serialised(index)})
        return self._indexed(kind, reached, fitted.seconds)

    def _indexed(self, kind: str, recall: float, seconds: float | None) -> Indexed:
        matrix = self._matrix()
        files = [] if matrix is None or matrix.file is None else every(matrix.file.path)
        return Indexed(
            self.space.name, self.table, 0 if matrix is None else len(matrix), kind, recall,
            time.perf_counter() - self.begin, sum(path.stat().st_size for path in files if path.is_file()),
            None if seconds is None else seconds * 1e3,
        )  # fmt: skip


def every(path: Path) -> list[Path]:
    """Return where all files of a space may lie."""
    return [beside(path, name) for name in (VECTORS, TUNING, *kinds.KINDS)]


def _whose(about: Any) -> dict[str, Any]:
    return {name: about[name] for name in ("run", "table", "space", "dim", "metric", "seq", "generation")}


def _spaces(context: Context, by: str | None) -> Sequence[tuple[str, Space]]:
    known = [(table, space) for table in TABLES for space in vectors.all_spaces(context, table)]
    held = {
        (table, run): decode.signature(context, run, table)[1]
        for table, run in {(table, space.run) for table, space in known}
    }
    filled = [(table, space) for table, space in known if held[table, space.run]]
    chosen = [one for one in filled if by in (None, one[1].name, one[1].extractor)]
    if not chosen:
        vectors.spaces(context, by)  # tells what there is instead
        raise UsageError(f"{by} has no vectors yet; compute them with: micdb populate {by}")
    return chosen

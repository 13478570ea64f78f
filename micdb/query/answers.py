"""What a frame answers: counts, tables, arrays, text. Each of these runs the query."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from micdb import extras
from micdb import units as physical
from micdb.errors import UsageError
from micdb.provenance import canonical_json
from micdb.query import keyset, result, saving, tree, verbs
from micdb.query.context import Context
from micdb.query.running import Embeddings, Query
from micdb.query.schema import Schema
from micdb.query.verbs import Verb
from micdb.query.vocabulary import Vocabulary

if TYPE_CHECKING:
    from micdb.query.facts.parts import Part
    from micdb.query.frame import Frame
    from micdb.query.motif.motif import Motif

BATCH = 1000  # rows in memory while a frame is iterated
LOCAL_ROWS = 10_000  # of a joined table that a DataFrame carries along in its description
UNITS = ("attrs", "header", "pint")


class Answers:
    """The half of `micdb.query.frame.Frame` that runs it."""

    context: Context
    base: str
    steps: tuple[Verb, ...]
    schema: Schema
    vocabulary: Vocabulary

    if TYPE_CHECKING:  # what the other half gives

        @property
        def units(self) -> dict[str, str]: ...
        def __getitem__(self, item: list[str]) -> Frame: ...
        def _require_images(self, what: str) -> None: ...

    def count(self) -> int:
        """Return the number of rows."""
        return self._run.count()

    @property
    def empty(self) -> bool:
        """Whether there is no row."""
        return self._query(verbs.Slice(0, 1)).count() == 0

    def to_arrow(self, *, nested: bool = False) -> pa.Table:
        """Return the rows as an Arrow table; units are in the metadata of its fields.

        Parameters
        ----------
        nested
            Add the nested columns of rows in Parquet parts behind the others: ``vector`` of ``db.embeddings``
            and ``db.patches``, a list of float32. Expressions cannot speak of them.

        Raises
        ------
        UsageError
            These rows have no nested columns.
        """
        return self._run.table(nested=nested)

    def to_pandas(
        self,
        units: Literal["attrs", "header", "pint"] = "attrs",
        *,
        dtypes: Literal["arrow", "nullable", "numpy"] = "arrow",
    ) -> pd.DataFrame:
        """Return the rows as a DataFrame.

        Parameters
        ----------
        units
            Where units go: ``df.attrs["units"]``; with ``header`` also the column names,
            ``pixel_size [nm]``; with ``pint`` also the values, which become quantities.
            ``df.attrs["query"]`` is the query as JSON text, None where it holds an array or a local table
            of more than 10,000 rows.
        dtypes
            ``arrow``: nullable columns backed by Arrow; ``nullable``: pandas' own, ``Int64`` and so on;
            ``numpy``: the classic ones, where whole numbers with gaps become floats.
        """
        if units not in UNITS:
            raise UsageError(f"units is {units!r}; it is one of {', '.join(UNITS)}")
        made = result.to_frame(self.to_arrow(), dtypes)
        made.attrs = {"units": self.units, "query": self._described(LOCAL_ROWS)}
        if units == "pint":
            made = made.assign(**{name: _quantities(made[name], unit) for name, unit in self.units.items()})
        if units == "header":
            made = made.rename(columns={name: f"{name} [{unit}]" for name, unit in self.units.items()})
        return made

    def to_polars(self) -> Any:
        """Return the rows as a ``polars.DataFrame``; needs ``pip install micdb[polars]``."""
        return extras.require("polars").from_arrow(self.to_arrow())

    # ------------------------------------------------------------------ rows one after the other

    def iter_rows(self) -> Iterator[Mapping[str, Any]]:
        """Yield each row as a mapping from column to value; None where a value is missing.

        The rows are those of one moment, and only some of them are in memory at a time. Take them all, or
        close the iterator: until then the catalog keeps that moment for it.
        """
        for table in self._run.batches(BATCH):
            yield from table.to_pylist()

    def page(self, after: str | None = None, *, size: int = 100) -> tuple[pa.Table, str | None]:
        """Return some rows, and where to go on.

        Pages go by the order of the rows and their key, not by number: a row that is there all the time is
        on exactly one page, whatever is added or deleted between two of them.

        Parameters
        ----------
        after
            What came with the page before; None for the first page.
        size
            Number of rows.

        Returns
        -------
        tuple[pyarrow.Table, str or None]
            The rows, and the `after` of the next page: text for a JSON answer or an address. None at the end.

        Raises
        ------
        UsageError
            `after` is of another query, or `size` is less than 1.
        """
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
            raise UsageError(f"size is {size!r}; a page has at least 1 row")
        query = self._described() or ""
        place = None if after is None else keyset.read_token(query, after)
        table, last = self._run.page(place, int(size))
        return table, None if last is None else keyset.write_token(query, last)

    def pages(self, size: int = 1000) -> Iterator[pa.Table]:
        """Yield all rows page by page, each as it is when it is asked for; an empty frame has one page."""
        table, after = self.page(size=size)
        yield table
        while after is not None:
            table, after = self.page(after, size=size)
            yield table

    def images(self) -> Iterator[Any]:
        """Yield the image of each row as a `micdb.bundle.image.StoredImage`, in row order, one at a time.

        An image that several rows belong to comes once.
        """
        self._require_images("images()")
        if self.context.load_images is None:
            raise UsageError("this frame knows no store: open the database with micdb.open() to read images")
        keys = list(dict.fromkeys(self._run.images().tolist()))
        return self.context.load_images(self.context.engine, self.context.root, keys)

    def embeddings(self, by: str | None = None) -> Embeddings:
        """Return the vectors of the images: ``uids, vectors = frame.embeddings()``.

        Parameters
        ----------
        by
            Extractor or space; None for the run that was created first. Of several spaces it is the one
            in which most of the images have a vector.

        Returns
        -------
        Embeddings
            ``uids`` and ``vectors``, ``(n, dim)`` float32, in row order; ``missing``, the uids of images
            that have no vector; and the name of the ``space``.

        Raises
        ------
        UsageError
            The rows are no images, or nothing of that name fills vectors.
        StoreError
            A part with vectors is missing or damaged.
        """
        self._require_images("embeddings()")
        return self._run.embeddings(by)

    def pks(self) -> np.ndarray:
        """Return the local keys of the images, ``(n,)`` int64, in row order; for use inside this database."""
        self._require_images("pks")
        return self._run.images()

    def located(self, table: str) -> tuple[np.ndarray, list[int], list[Part]]:
        """Return the local keys of the images, and the runs and live parts of a table in Parquet parts."""
        self._require_images("located")
        return self._run.located(table)

    def explain(self) -> str:
        """Return how the query runs: steps outside SQL, the statement, and the number of rows."""
        return self._run.explain()

    def link(self, formula: str, *, groups: str | Sequence[str] = ("sample",), **options: Any) -> Any:
        """Link a property to structure; see `micdb.analysis.linking.link`."""
        return self.context.link(self, formula, groups=groups, **options)

    def classify(self, label: str, **options: Any) -> Any:
        """Learn to name the classes of images from those labelled; see `micdb.analysis.classify.classify`."""
        return self._opened(self.context.classify)(self, label, **options)

    def suggest(self, n: int = 10, **options: Any) -> pd.DataFrame:
        """Return the images to annotate next; see `micdb.analysis.suggest.suggest`."""
        found: pd.DataFrame = self._opened(self.context.suggest)(self, n, **options)
        return found

    def embedding_map(self, *, by: str | None = None) -> Any:
        """Return a map of the images; see `micdb.analysis.embedding_map.embedding_map`."""
        return self._opened(self.context.embedding_map)(self, by=by)

    def comparable(self, *, by: str = "lab", **options: Any) -> Any:
        """Compare the images of labs or other labels; see `micdb.analysis.comparable.comparable`."""
        return self._opened(self.context.comparable)(self, by=by, **options)

    def find_motif(
        self,
        motif: Motif,
        *,
        k: int = 100,
        max_rmsd: float | str = "0.03 nm",
        species: bool = True,
        mirror: bool = True,
        extra: bool = False,
    ) -> pd.DataFrame:
        """Find every place in these images where atoms are arranged as in a motif, best first.

        Rotation, contrast and microscope do not matter. A place is a set of atoms in one frame of an image,
        one for each atom of the motif, whose root mean square distance from the motif, moved, turned and, if
        `mirror`, turned over for the best fit (W. Kabsch, Acta Cryst. A32, 922, 1976), is at most `max_rmsd`.
        No atom is off by more than half the shortest distance within the motif, and no further atom lies in
        the motif's convex hull, deeper than 0.3 of that distance, unless `extra`. A motif that is partly out
        of view is none.

        Parameters
        ----------
        motif
            What to look for: `micdb.Motif`.
        k
            Number of places to return; all are counted.
        max_rmsd
            With its unit, or a number [nm]; at most half the motif's shortest distance.
        species
            Whether atoms must be of the same species where both are known.
        mirror
            Whether the mirror image counts.
        extra
            Whether further atoms may lie inside, so that a vacancy is also found where there is none.

        Returns
        -------
        DataFrame
            ``image`` (uid), ``frame``; centre ``x_nm``, ``y_nm``, ``x_px``, ``y_px``; ``rotation`` of the
            motif [deg], from x to y, after its y has been reversed if ``mirrored``; ``rmsd_nm``,
            ``n_matched``, and ``atoms``: their ``idx`` in the order of the motif. In ``attrs``: ``units``;
            ``n_places`` in all; ``n_images`` searched, ``n_without_scale`` and ``n_without_atoms``; ``run``;
            ``species_compared``; ``complete_to_nm``: every place is found for certain whose atoms are all
            off by less and keep the motif's shortest distance from their neighbours; 0 for a motif that is
            only nearly symmetric. What was measured beyond that, up to `max_rmsd`: docs/benchmarks.md.

        Raises
        ------
        UsageError, UnitError
            An argument is wrong, or no atoms have been looked for.
        StoreError
            A part with atoms is missing or damaged.
        """
        from micdb.query.motif.answer import find_motif

        return find_motif(self, motif, k=k, max_rmsd=max_rmsd, species=species, mirror=mirror, extra=extra)

    # ------------------------------------------------------------------ numbers at a glance

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows, which is counted, and of columns."""
        return self.count(), len(self.schema.fields)

    def describe(self) -> pd.DataFrame:
        """Return count, mean, standard deviation, extremes and quartiles of every column of numbers."""
        numbers = [name for name, field in self.schema.fields.items() if field.kind in ("integer", "number")]
        if not numbers:
            raise UsageError("there is no column of numbers to describe; value_counts() counts texts")
        made = self[numbers].to_pandas(dtypes="numpy").astype(np.float64).describe()
        made.attrs = {"units": {name: unit for name, unit in self.units.items() if name in numbers}}
        return made

    def unique(self, column: str) -> list[Any]:
        """Return the different values of a column in order of appearance; None stands for missing ones."""
        found: list[Any] = self[[column]].drop_duplicates().to_arrow().column(0).to_pylist()
        return found

    def nunique(self, column: str) -> int:
        """Return the number of different known values of a column."""
        known = self[[column]]
        return known[known[column].notna()].drop_duplicates().count()

    # ------------------------------------------------------------------ written down

    def to_json(self) -> dict[str, Any]:
        """Return the query as JSON values; `from_json` gives the same frame on any database."""
        return tree.frame_json(self.base, self.steps)

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the query, not its answer, to a JSON file; ``db.load_query(path)`` reads it.

        Raises
        ------
        UsageError
            It searches by an array, which has no place in a text.
        NotFoundError
            The folder is not there.
        """
        return saving.write(self.to_json(), path)

    def hash(self) -> str:
        """Return the sha256 of the query's JSON text: equal queries have equal hashes, on any database."""
        return sha256(canonical_json(self.to_json()).encode()).hexdigest()

    @property
    def _run(self) -> Query:
        return self._query()

    def _opened(self, analysis: Callable[..., Any] | None) -> Callable[..., Any]:
        self._require_images("classify(), suggest(), embedding_map() and comparable()")
        if analysis is None:
            raise UsageError("this frame knows no database: open one with micdb.open()")
        return analysis

    def _query(self, *more: Verb) -> Query:
        """Return the query, with further verbs that change no column."""
        steps = (*self.steps, *more)
        return Query(self.context, self.base, steps, schema=self.schema, vocabulary=self.vocabulary)

    def _described(self, rows: int | None = None) -> str | None:
        """Return the query as JSON text; None if it cannot be, or holds a local table of more rows."""
        local = [step.table.num_rows for step in self.steps if isinstance(step, verbs.Merge)]
        if rows is not None and max(local, default=0) > rows:
            return None
        try:
            return canonical_json(self.to_json())
        except UsageError:  # a search by an array cannot be written down
            return None


def _quantities(values: pd.Series[Any], unit: str) -> list[Any]:
    return [None if pd.isna(value) else physical.quantity(float(value), unit) for value in values]

"""The lazy frame: looks like a pandas DataFrame, is a query, and computes nothing until it is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike, fspath
from typing import Any, Literal, NoReturn, overload

import numpy as np
import pandas as pd
import pyarrow as pa
from sqlalchemy.exc import SQLAlchemyError

from micdb.errors import ExpressionError, MicdbError, UnknownColumnError, UsageError
from micdb.provenance import canonical_json
from micdb.query import display, merging, tree, verbs
from micdb.query.children import Children
from micdb.query.columns import CHILDREN, SOURCES
from micdb.query.context import Context
from micdb.query.evolve import after, child_table
from micdb.query.expr import Expr
from micdb.query.grammar import parse
from micdb.query.groups import GroupBy
from micdb.query.locate import Locator
from micdb.query.rules import whole
from micdb.query.running import Query
from micdb.query.schema import Schema
from micdb.query.verbs import Verb
from micdb.query.vocabulary import Vocabulary


class Frame:
    """An immutable query: a table and the verbs applied to it.

    Every verb returns another frame; `to_pandas`, `to_arrow`, `count`, ``len``, `pks`, `explain` and the
    display run it. Columns are attributes, ``frame.pixel_size``, unless a method has the name;
    ``frame["count"]`` always works. Rows come in the order of their ``uid`` unless sorted. Verbs act one
    after the other, as in pandas: a condition after `head` or `similar_to` acts on those rows.

    Parameters
    ----------
    context
        Surroundings of the query.
    base
        Table it starts from: images, samples, properties, runs, defects, segments or particles.
    steps, schema, vocabulary
        Verbs so far, the columns they leave, and what is known of the catalog; `then` passes them on.
    """

    def __init__(
        self,
        context: Context,
        base: str = "images",
        *,
        steps: tuple[Verb, ...] = (),
        schema: Schema | None = None,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        if base not in SOURCES or SOURCES[base].rows is None:
            have = ", ".join(name for name, source in SOURCES.items() if source.rows is not None)
            raise UsageError(f"no table {base!r}; there are {have}")
        self.context = context
        self.base = base
        self.steps = steps
        self.vocabulary = vocabulary or Vocabulary(context)
        self.schema = schema or self.vocabulary.schema(base)

    def then(self, step: Verb) -> Frame:
        """Return this frame with one more verb, after checking that the verb fits."""
        schema = after(self.schema, step, self.vocabulary, home=f"step {len(self.steps) + 1}")
        steps = (*self.steps, step)
        return Frame(self.context, self.base, steps=steps, schema=schema, vocabulary=self.vocabulary)

    # ------------------------------------------------------------------ columns and rows

    def __getattr__(self, name: str) -> Any:
        """Return a column, or the children of images: ``frame.pixel_size``, ``frame.defects``."""
        if name.startswith("_"):
            raise AttributeError(name)
        if name in CHILDREN and name not in self.schema.fields and self.of_images:
            return Children(self, self.vocabulary.schema(name))
        return self.schema[name].expr()

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.columns, *(CHILDREN if self.of_images else ())]

    @overload
    def __getitem__(self, item: str) -> Expr: ...
    @overload
    def __getitem__(self, item: Expr | list[str] | slice) -> Frame: ...
    def __getitem__(self, item: str | Expr | list[str] | slice) -> Expr | Frame:
        """Return a column, the rows of a condition, some columns, or a slice of the rows."""
        if isinstance(item, str):
            return self.schema[item].expr()
        if isinstance(item, Expr):
            return self.then(verbs.Filter(item))
        if isinstance(item, slice):
            if item.step not in (None, 1):
                raise UsageError("a slice of a frame takes every row: write frame[:20]")
            return self.then(
                verbs.Slice(whole(item.start or 0), None if item.stop is None else whole(item.stop))
            )
        if isinstance(item, list) and all(isinstance(name, str) for name in item):
            return self.then(verbs.Select(tuple(item)))
        raise UsageError(
            f"frame[...] takes a condition on its columns, a column name, a list of names or a slice, "
            f"not {type(item).__name__}"
        )

    def __setattr__(self, name: str, value: object) -> None:
        if "schema" in vars(self):  # the last one that is set while a frame is made
            raise ExpressionError(f"frames do not change: write frame = frame.assign({name}=...)")
        super().__setattr__(name, value)

    def __contains__(self, name: object) -> bool:
        return name in self.schema.fields

    def __setitem__(self, name: str, value: object) -> NoReturn:
        raise ExpressionError(f"frames do not change: write frame = frame.assign({name}=...)")

    def __bool__(self) -> NoReturn:
        raise ExpressionError("a frame has no truth value: write frame.empty, or frame.count() > 0")

    def __iter__(self) -> NoReturn:
        raise ExpressionError("write frame.columns for the names, or frame.iter_rows() for the rows")

    def __len__(self) -> int:
        return self.count()

    @property
    def of_images(self) -> bool:
        """Whether rows belong to images, so that they have children and can be searched by example."""
        return self.base == "images" and not any(isinstance(step, verbs.Group) for step in self.steps)

    @property
    def noun(self) -> str:
        """What the rows are: images, defects, groups, ..."""
        exploded = [step.table for step in self.steps if isinstance(step, verbs.Explode)]
        return exploded[-1] if exploded and self.of_images else self.schema.where

    @property
    def columns(self) -> list[str]:
        """Names of the visible columns, in order."""
        return list(self.schema.fields)

    @property
    def dtypes(self) -> dict[str, str]:
        """Kind of every column: integer, number, text, bool or time."""
        return {name: field.kind for name, field in self.schema.fields.items()}

    @property
    def units(self) -> dict[str, str]:
        """Unit of every column that has one."""
        return {name: field.unit for name, field in self.schema.fields.items() if field.unit}

    @property
    def loc(self) -> Locator:
        """Rows by uid or condition: ``frame.loc[uid]``, ``frame.loc[mask, ["name", "area"]]``."""
        return Locator(self)

    @property
    def iloc(self) -> NoReturn:
        """Refuse: positions are not stable in a shared database."""
        raise ExpressionError(
            "positions are not stable in a shared database: write frame[:20] or frame.loc[uid]"
        )

    # ------------------------------------------------------------------ verbs

    def query(self, text: str) -> Frame:
        """Keep the rows that fulfil a query text; the grammar is `micdb.query.grammar`.

        Raises
        ------
        QuerySyntaxError, UnknownColumnError, UnitError, ExpressionError
            The text cannot be read or makes no sense; nothing has run.
        """
        return self.then(verbs.Filter(parse(text, self.schema, self._child_schema)))

    def assign(self, **columns: Any) -> Frame:
        """Add or replace columns; an expression may be a function of the frame, as in pandas."""
        frame = self
        for name, made in columns.items():
            found = made(frame) if callable(made) and not isinstance(made, Expr) else made
            if not isinstance(found, Expr):
                raise ExpressionError(f"{name} must be an expression of the frame's columns, not {found!r}")
            frame = frame.then(verbs.Assign(((name, found),)))
        return frame

    def sort_values(self, by: str | Sequence[str], *, ascending: bool | Sequence[bool] = True) -> Frame:
        """Order the rows; missing values come last both ways, ties in the order of uid."""
        names = (by,) if isinstance(by, str) else tuple(by)
        ways = (bool(ascending),) * len(names) if isinstance(ascending, bool | np.bool_) else tuple(ascending)
        return self.then(verbs.Sort(names, ways))

    def head(self, n: int = 5) -> Frame:
        """Keep the first n rows."""
        return self.then(verbs.Slice(0, whole(n)))

    def groupby(self, keys: str | Sequence[str], *, dropna: bool = True) -> GroupBy:
        """Group by columns; follow with ``.agg(name=(column, function))``."""
        names = (keys,) if isinstance(keys, str) else tuple(keys)
        if not names:
            raise UsageError("groupby() needs a column: groupby('lab')")
        for name in names:
            self.schema[name]
        return GroupBy(self, names, dropna=dropna)

    def explode(self, table: str) -> Frame:
        """Return one row per child (``"defects"``, ``"atoms"``); images without any have no row.

        A child's column whose name is taken gets the child's name in front: ``defect_uid``.
        """
        self._require_images("explode")
        return self.then(verbs.Explode(child_table(table)))

    def with_property(self, name: str, *, level: str = "sample", agg: str = "mean") -> Frame:
        """Add a property of the sample or image: ``name``, ``name_sd`` and ``name_n``.

        ``agg`` is mean, median, min or max of its values; ``name_n`` is their number and ``name_sd`` their
        standard deviation, or the stated one where there is a single value. No row is lost or doubled.
        """
        return self.then(verbs.WithProperty(name, level, agg))

    def using(self, analysis: str) -> Frame:
        """Pin an analysis, ``"peaks@1"`` or ``"peaks@<start of a run's uid>"``, for what comes after."""
        name, _, version = analysis.partition("@")
        if not name or not version:
            raise UsageError(f"{analysis!r} pins no version: write using('peaks@1')")
        return self.then(verbs.Using(name, version))

    def similar_to(
        self,
        query: str | PathLike[str] | Any,
        *,
        k: int = 10,
        box: tuple[int, int, int, int] | None = None,
        by: str | None = None,
        pixel_size: str | None = None,
    ) -> Frame:
        """Keep the k images most similar to an example, best first; a second search replaces the first.

        Parameters
        ----------
        query
            Image file, uid of an image, picture, or vector.
        k
            Number of images.
        box
            Region of the example: x, y, width, height [pixel].
        by
            Extractor or space, for example ``texture@256nm``.
        pixel_size
            Of an example that does not say: ``"0.2 um"``.
        """
        self._require_images("similar_to")
        query = fspath(query) if isinstance(query, PathLike) else query
        region = tuple(np.asarray(box).tolist()) if isinstance(box, Sequence | np.ndarray) else box
        k = k.item() if isinstance(k, np.integer) else k
        step = verbs.Similar(query, k, region, by, pixel_size)
        return self._without_search().then(step)

    def merge(
        self, other: pd.DataFrame | Frame, *, on: str, how: str = "left", validate: str | None = None
    ) -> Frame:
        """Join a local table by a key; see `micdb.query.merging.merge_step`."""
        local, known = (other.to_pandas(), other.units) if isinstance(other, Frame) else (other, {})
        step = merging.merge_step(local, self.schema, on=on, how=how, validate=validate, known=known)
        return self.then(step)

    # ------------------------------------------------------------------ answers

    def count(self) -> int:
        """Return the number of rows."""
        return self._run.count()

    @property
    def empty(self) -> bool:
        """Whether there is no row."""
        return self.head(1).count() == 0

    def to_arrow(self) -> pa.Table:
        """Return the rows as an Arrow table; units are in the metadata of its fields."""
        return self._run.table()

    def to_pandas(self, units: Literal["attrs", "header"] = "attrs") -> pd.DataFrame:
        """Return the rows as a DataFrame of nullable Arrow-backed columns.

        Parameters
        ----------
        units
            Where units go: ``df.attrs["units"]``, or also the column names, ``pixel_size [nm]``.
            ``df.attrs["query"]`` is the query as JSON text.
        """
        if units not in ("attrs", "header"):
            raise UsageError(f"units is {units!r}; it is 'attrs' or 'header'")
        made = self._run.frame()
        made.attrs = {"units": self.units, "query": self._described()}
        if units == "header":
            made = made.rename(columns={name: f"{name} [{unit}]" for name, unit in self.units.items()})
        return made

    def iter_rows(self) -> Iterator[Mapping[str, Any]]:
        """Yield each row as a mapping from column to value; None where a value is missing."""
        for batch in self.to_arrow().to_batches(max_chunksize=1000):
            yield from batch.to_pylist()

    def pks(self) -> np.ndarray:
        """Return the local keys of the images, ``(n,)`` int64, in row order; for use inside this database."""
        self._require_images("pks")
        return self._run.images()

    def explain(self) -> str:
        """Return how the query runs: steps outside SQL, the statement, and the number of rows."""
        return self._run.explain()

    def link(self, formula: str, *, groups: str | Sequence[str] = ("sample",), **options: Any) -> Any:
        """Link a property to structure; see `micdb.analysis.link`."""
        return self.context.link(self, formula, groups=groups, **options)

    def to_json(self) -> dict[str, Any]:
        """Return the query as JSON values; `from_json` gives the same frame on any database."""
        return {"base": self.base, "verbs": [tree.verb_json(step) for step in self.steps]}

    @classmethod
    def from_json(cls, context: Context, query: Mapping[str, Any]) -> Frame:
        """Return the frame of a JSON tree.

        Raises
        ------
        UsageError
            The tree is malformed, or speaks of what this database does not have.
        """
        if not isinstance(query, Mapping) or set(query) != {"base", "verbs"}:
            raise UsageError("a query tree has exactly the keys base and verbs")
        frame = cls(context, str(query["base"]))
        try:
            for item in query["verbs"]:
                frame = frame.then(tree.verb_from(item, frame.schema, frame._child_schema))
        except MicdbError:
            raise
        except (TypeError, ValueError, LookupError, AttributeError, RecursionError, SQLAlchemyError) as error:
            raise UsageError(
                f"the query tree is malformed after {len(frame.steps)} verbs: {error!r:.200}"
            ) from error
        return frame

    def preview(self, rows: int, *, counted: int) -> display.Preview:
        """Return the first rows, and the number of rows up to `counted` + 1, for the display."""
        table, uids = self.head(rows)._run.pictured()
        return display.Preview(table, uids, self.head(counted + 1).count())

    def __repr__(self) -> str:
        return display.text(self)

    def _repr_html_(self) -> str:
        return display.html(self)

    # ------------------------------------------------------------------ private

    @property
    def _run(self) -> Query:
        return Query(self.context, self.base, self.steps, schema=self.schema, vocabulary=self.vocabulary)

    def _described(self) -> str | None:
        try:
            return canonical_json(self.to_json())
        except UsageError:  # a search by an array cannot be written down
            return None

    def _child_schema(self, table: str) -> Schema:
        self._require_images(table)
        return self.vocabulary.schema(child_table(table))

    def _require_images(self, what: str) -> None:
        if not self.of_images:
            raise UsageError(
                f"{what} needs rows that are images; these are {self.noun}: use it before groupby"
            )

    def _without_search(self) -> Frame:
        """Return the frame without an earlier search by example, and without what ordered its rows."""
        if not any(isinstance(step, verbs.Similar) for step in self.steps):
            return self
        frame = Frame(self.context, self.base, vocabulary=self.vocabulary)
        for step in self.steps:
            by_search = isinstance(step, verbs.Sort) and {"similarity", "match_box"} & set(step.by)
            if not isinstance(step, verbs.Similar) and not by_search:
                try:
                    frame = frame.then(step)
                except UnknownColumnError as error:
                    raise UsageError(
                        f"a second search replaces the first, whose {error.name} is used in between: "
                        "search again from the frame before the first search"
                    ) from error
        return frame

"""The lazy frame: looks like a pandas DataFrame, is a query, and computes nothing until it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from os import PathLike
from typing import Any, Literal, NoReturn, overload

import numpy as np
from sqlalchemy.exc import SQLAlchemyError

from micdb.errors import ExpressionError, MicdbError, UnknownColumnError, UsageError
from micdb.query import display, tree, verbs
from micdb.query.answers import Answers
from micdb.query.children import Children
from micdb.query.columns import CHILDREN, SOURCES
from micdb.query.context import Context
from micdb.query.evolve import after, child_table
from micdb.query.expr import Expr, literal
from micdb.query.grammar import parse
from micdb.query.groups import GroupBy
from micdb.query.locate import Locator
from micdb.query.rules import whole
from micdb.query.schema import Schema
from micdb.query.search import examples
from micdb.query.shaping import Shaping
from micdb.query.verbs import Verb
from micdb.query.vocabulary import Vocabulary

MATCH = {"similarity", "match_box", "match_frame"}  # columns that a search by example adds
CONSTANTS = (bool, int, float, str, date, np.number, np.bool_)


class Frame(Shaping, Answers):
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
        Table it starts from: images, samples, properties, runs, or one of what runs found: defects, and
        in Parquet parts atoms, bonds, embeddings, patches, tracks, latents, lattices, heights, tilts, phases,
        regions, particles, classes, masks, restorations, spectra.
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
        if base not in SOURCES:
            raise UsageError(f"no table {base!r}; there are {', '.join(SOURCES)}")
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
        """What the rows are: images, places in them, defects, groups, ..."""
        exploded = [step.table for step in self.steps if isinstance(step, verbs.Explode)]
        places = any(isinstance(step, verbs.Similar) and step.per_image != 1 for step in self.steps)
        found = [*(["places"] if places else []), *exploded]
        return found[-1] if found and self.of_images else self.schema.where

    @property
    def among(self) -> str:
        """Rows that later conditions were put to, ``of the first 5``; empty where that is all of them."""
        return display.among(self.steps)

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
        return self.then(verbs.Filter(self.expression(text)))

    def expression(self, text: str) -> Expr:
        """Return what a query text says of each row, for `assign`; raises as `query`."""
        return parse(text, self.schema, self._child_schema)

    def assign(self, **columns: Any) -> Frame:
        """Add or replace columns by expressions, constants, or functions of the frame, as in pandas."""
        frame = self
        for name, made in columns.items():
            found = made(frame) if callable(made) and not isinstance(made, Expr) else made
            if isinstance(found, CONSTANTS):
                found = literal(found)
            if not isinstance(found, Expr):
                raise ExpressionError(
                    f"{name} must be an expression of the frame's columns or a constant, not {found!r:.80}"
                )
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
        box: Any = None,
        by: str | None = None,
        pixel_size: str | Sequence[str | None] | None = None,
        negative: Any = (),
        level: Literal["image", "patch"] = "image",
        per_image: int | None = 1,
        index: str | None = None,
        scale: Literal["free", "physical", "same"] | None = None,
    ) -> Frame:
        """Keep the k images most similar to an example, best first; a second search replaces the first.

        An example that is among the images is among the answers.

        Parameters
        ----------
        query
            Image file, uid of an image, picture or vector; or a list of several examples.
        k
            Number of rows.
        box
            Region of the example: x, y, width, height [pixel]; of several a list, None for a whole image.
        by
            Extractor or space, for example ``texture@256nm``.
        pixel_size
            Of an example that does not say: ``"0.2 um"``; of several a list, None for one that does.
        negative
            Examples of what is not wanted. A list `box` or `pixel_size` may go on with theirs.
        level
            ``patch`` compares places in images, `match_box` and `match_frame` say which; the example is
            described at the same scale. Fill them with ``db.populate("texture-patches")``.
        per_image
            Places of one image at most, None for no limit; with more than one, a row is a place.
        index
            How to search, if not as planned: ``exact``, or an index that ``micdb index`` made.
        scale
            ``same``: at one number of nanometres per pixel. ``free``: patterns, whatever their size.
            ``physical``: patterns of one size in nm, whatever the pixel sizes (``db.populate("micro")``).
            None: ``same`` for an example that has a scale, pixel for pixel for one that has none.
        """
        self._require_images("similar_to")
        several = examples.listed(query) if isinstance(query, list | tuple) else examples.listed([query])[0]
        unwanted = examples.listed(negative if isinstance(negative, list | tuple) else [negative])
        k, per_image, box, scales = (examples.frozen(one) for one in (k, per_image, box, pixel_size))
        step = verbs.Similar(several, k, box, by, scales, unwanted, level, per_image, index, scale)
        return self._without_search().then(step)

    def find_patches(self, query: str | PathLike[str] | Any, *, k: int = 10, **options: Any) -> Frame:
        """Return the k places in these images most like an example, best first: one row per place.

        ``similar_to`` with ``level="patch"`` and no limit of places per image; `options` are its others.
        Of places in one frame that overlap, only the best is a row.
        """
        return self.similar_to(query, k=k, **{"level": "patch", "per_image": None, **options})

    # ------------------------------------------------------------------ saved

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

        def other(query: Any) -> verbs.Other:
            found = cls.from_json(context, query)
            return verbs.Other(found.base, found.steps, found.schema)

        try:
            for item in query["verbs"]:
                frame = frame.then(tree.verb_from(item, frame.schema, frame._child_schema, other=other))
        except MicdbError:
            raise
        except (TypeError, ValueError, LookupError, AttributeError, RecursionError, SQLAlchemyError) as error:
            raise UsageError(
                f"the query tree is malformed after {len(frame.steps)} verbs: {error!r:.200}"
            ) from error
        return frame

    # ------------------------------------------------------------------ shown

    def preview(self, rows: int, *, counted: int) -> display.Preview:
        """Return the first rows, and the number of rows up to `counted` + 1, for the display."""
        table, uids = self.head(rows)._run.pictured()
        return display.Preview(table, uids, self.head(counted + 1).count())

    def __repr__(self) -> str:
        return display.text(self)

    def _repr_html_(self) -> str:
        return display.html(self)

    # ------------------------------------------------------------------ private

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
            by_search = isinstance(step, verbs.Sort) and MATCH & set(step.by)
            if not isinstance(step, verbs.Similar) and not by_search:
                try:
                    frame = frame.then(step)
                except UnknownColumnError as error:
                    raise UsageError(
                        f"a second search replaces the first, whose {error.name} is used in between: "
                        "search again from the frame before the first search"
                    ) from error
        return frame

"""The verbs a frame is made of: plain records, compiled by `micdb.query.compile`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from micdb.query.expr import Expr
from micdb.query.schema import Schema


@dataclass(frozen=True, slots=True, eq=False)
class Filter:
    """Keep the rows that fulfil a condition."""

    mask: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Select:
    """Keep these columns, in this order."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Assign:
    """Add or replace columns."""

    columns: tuple[tuple[str, Expr], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Sort:
    """Order by columns, missing values last both ways; ties keep the default order."""

    by: tuple[str, ...]
    ascending: tuple[bool, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """Keep the rows from `start` up to `stop`, which is None for the end."""

    start: int
    stop: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Rename:
    """Give columns other names; pairs of old and new name."""

    names: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Distinct:
    """Keep the first row of each combination of values of these columns; missing values are alike."""

    by: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Keep n rows drawn by a hash of seed and key; they stay in order."""

    n: int
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One row for each combination of the keys; aggregates are name, column and function."""

    keys: tuple[str, ...]
    aggregates: tuple[tuple[str, str, str], ...]
    dropna: bool


@dataclass(frozen=True, slots=True, eq=False)
class Explode:
    """One row for each child: defect, atom, ..."""

    table: str


@dataclass(frozen=True, slots=True, eq=False)
class WithProperty:
    """Add the property of the sample or image, its standard deviation, its number of values; its interval.

    Only of values measured by `method` under `conditions`, see `micdb.query.conditions.asked`.
    """

    name: str
    level: str
    agg: str
    method: str | None = None
    conditions: tuple[tuple[str | float, ...], ...] = ()
    interval: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Using:
    """Pin an analysis to a version or run."""

    analysis: str
    version: str


@dataclass(frozen=True, slots=True, eq=False)
class Similar:
    """Keep the k rows most similar to one example, or to several: then `query`, `box`, ... are tuples.

    With the level ``patch`` places in images are compared, at most `per_image` of one image.
    """

    query: Any
    k: int
    box: Any
    by: str | None
    pixel_size: Any
    negative: tuple[Any, ...] = ()
    level: str = "image"
    per_image: int | None = 1
    index: str | None = None
    scale: str | None = None


@dataclass(frozen=True, slots=True)
class Keys:
    """How two tables are joined.

    Parameters
    ----------
    pairs
        Name of each key in the frame, and in the other table.
    how
        ``left`` or ``inner``.
    validate
        ``1:1``, ``1:m``, ``m:1`` or ``m:m``: on which side a key may repeat.
    suffixes
        What the other columns of both tables get behind their name when it is the same; None refuses.
    """

    pairs: tuple[tuple[str, str], ...]
    how: str
    validate: str
    suffixes: tuple[str, str] | None

    @property
    def single(self) -> bool:
        """Whether a key may stand only once in the other table."""
        return self.validate.endswith(":1")


@dataclass(frozen=True, slots=True, eq=False)
class Merge:
    """Join a local table: its rows, and the unit of each column that has one."""

    keys: Keys
    table: pa.Table
    units: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Other:
    """A frame of the same database that is joined: its table, its verbs, and the columns they leave."""

    base: str
    steps: tuple[Verb, ...]
    schema: Schema


@dataclass(frozen=True, slots=True, eq=False)
class Join:
    """Join another frame of the same database, in SQL."""

    keys: Keys
    other: Other


ALL = (
    Filter, Select, Rename, Assign, Sort, Slice, Sample, Distinct, Group, Explode, WithProperty, Using,
    Similar, Merge, Join,
)  # fmt: skip
Verb = (
    Filter | Select | Rename | Assign | Sort | Slice | Sample | Distinct | Group | Explode | WithProperty
    | Using | Similar | Merge | Join
)  # fmt: skip

"""The verbs a frame is made of: plain records, compiled by `micdb.query.compile`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from micdb.query.aggregate import Function
from micdb.query.expr import Expr
from micdb.query.nodes import Kind


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
class Group:
    """One row for each combination of the keys; aggregates are name, column and function."""

    keys: tuple[str, ...]
    aggregates: tuple[tuple[str, str, Function], ...]
    dropna: bool


@dataclass(frozen=True, slots=True, eq=False)
class Explode:
    """One row for each child: defect, atom, ..."""

    table: str


@dataclass(frozen=True, slots=True, eq=False)
class WithProperty:
    """Add the property of the sample or image, its standard deviation and its number of values."""

    name: str
    level: str
    agg: str


@dataclass(frozen=True, slots=True, eq=False)
class Using:
    """Pin an analysis to a version or run."""

    analysis: str
    version: str


@dataclass(frozen=True, slots=True, eq=False)
class Similar:
    """Keep the k rows most similar to an example."""

    query: Any
    k: int
    box: tuple[int, int, int, int] | None
    by: str | None
    pixel_size: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Merge:
    """Join local rows by a key; `columns` are name and kind, `rows` plain values, `units` name and unit."""

    on: str
    how: str
    columns: tuple[tuple[str, Kind], ...]
    rows: tuple[tuple[Any, ...], ...]
    units: tuple[tuple[str, str], ...] = ()


ROW = "__row"  # hidden column that numbers the rows of a merged table
ALL = (Filter, Select, Assign, Sort, Slice, Group, Explode, WithProperty, Using, Similar, Merge)
Verb = Filter | Select | Assign | Sort | Slice | Group | Explode | WithProperty | Using | Similar | Merge

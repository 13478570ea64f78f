"""How each verb changes the columns of a frame, and what it refuses, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from micdb.errors import ExpressionError, UsageError
from micdb.query import aggregates, rules, verbs
from micdb.query.columns import CHILDREN, SOURCES
from micdb.query.property_sql import AGGREGATES, LEVELS
from micdb.query.schema import Field, Schema
from micdb.query.verbs import Verb
from micdb.query.vocabulary import Vocabulary


def after(schema: Schema, step: Verb, vocabulary: Vocabulary, *, home: str) -> Schema:
    """Return the columns after a verb.

    Parameters
    ----------
    schema
        Columns before it.
    step
        The verb.
    vocabulary
        Knows properties and the columns of children.
    home
        Names the columns that the verb makes, so that those of one name stay apart.

    Raises
    ------
    UsageError
        The verb does not fit these columns.
    """
    rule = _RULES.get(type(step))
    return schema if rule is None else rule(schema, step, vocabulary, home)


def _filter(schema: Schema, step: verbs.Filter, _vocabulary: Vocabulary, _home: str) -> Schema:
    if step.mask.kind != "bool":
        raise ExpressionError(
            f"{step.mask} is no condition: compare it with something, for example {step.mask} > ..."
        )
    schema.admit(step.mask)
    return schema


def _select(schema: Schema, step: verbs.Select, _vocabulary: Vocabulary, _home: str) -> Schema:
    if not step.names:
        raise UsageError("a frame needs at least one column; name it: frame[['uid']]")
    _once(step.names)
    return schema.only([schema[name] for name in step.names])


def _assign(schema: Schema, step: verbs.Assign, _vocabulary: Vocabulary, home: str) -> Schema:
    for name, expr in step.columns:
        schema.admit(expr)
        schema = schema.plus([Field(_named(name), expr.kind, expr.unit, home, expr.text())])
    return schema


def _sort(schema: Schema, step: verbs.Sort, _vocabulary: Vocabulary, _home: str) -> Schema:
    if len(step.by) != len(step.ascending):
        raise UsageError(
            f"{len(step.by)} columns to sort by and {len(step.ascending)} directions; give one or as many"
        )
    for name in step.by:
        schema[name]
    return schema


def _slice(schema: Schema, step: verbs.Slice, _vocabulary: Vocabulary, _home: str) -> Schema:
    if not isinstance(step.start, int) or not isinstance(step.stop, int | None):
        raise UsageError(f"rows are counted in whole numbers, not {step.start!r} to {step.stop!r}")
    if step.start < 0 or (step.stop is not None and step.stop < 0):
        raise UsageError(
            "rows are counted from the start: sort the other way round instead of a negative number"
        )
    return schema


def _group(schema: Schema, step: verbs.Group, _vocabulary: Vocabulary, home: str) -> Schema:
    _once([*step.keys, *(name for name, _, _ in step.aggregates)])
    fields = [schema[key] for key in step.keys]
    for name, column, function in step.aggregates:
        kind, unit = aggregates.result(aggregates.check(function), schema[column])
        fields.append(Field(_named(name), kind, unit, home, f"{function} of {column}"))
    return Schema("groups", {field.name: field for field in fields})


def _explode(schema: Schema, step: verbs.Explode, vocabulary: Vocabulary, _home: str) -> Schema:
    singular = SOURCES[child_table(step.table)].singular
    fields = [
        Field(f"{singular}_{field.name}" if field.name in schema.fields else field.name,
              field.kind, field.unit, field.home, field.description)
        for field in vocabulary.schema(step.table).fields.values()
        if field.name != "image"
    ]  # fmt: skip
    return schema.plus(fields)


def _with_property(schema: Schema, step: verbs.WithProperty, vocabulary: Vocabulary, home: str) -> Schema:
    known = vocabulary.property(step.name)
    if step.level not in LEVELS:
        raise UsageError(f"level is {step.level!r}; it is one of {', '.join(LEVELS)}")
    if step.agg not in AGGREGATES:
        raise UsageError(f"agg is {step.agg!r}; it is one of {', '.join(AGGREGATES)}")
    field = known.field()
    found = [Field(known.name, field.kind, field.unit, home, field.description)]
    if field.kind == "number":
        spread = rules.spread(field.unit)
        found.append(Field(f"{known.name}_sd", "number", spread, home, "standard deviation of its values"))
    found.append(Field(f"{known.name}_n", "integer", None, home, "number of its values"))
    return schema.plus(found)


def _similar(schema: Schema, step: verbs.Similar, _vocabulary: Vocabulary, home: str) -> Schema:
    if isinstance(step.k, bool) or not isinstance(step.k, int):
        raise UsageError(f"k is {step.k!r}; it must be a whole number of at least 1")
    if step.k < 1:
        raise UsageError(f"k is {step.k}; it must be at least 1")
    return schema.plus(
        [
            Field("similarity", "number", None, home, "1 is best"),
            Field("match_box", "text", None, home, "region that matches: x,y,width,height [pixel]"),
        ]
    )


def _merge(schema: Schema, step: verbs.Merge, _vocabulary: Vocabulary, home: str) -> Schema:
    schema[step.on]
    known = dict(step.units)
    added = [
        Field(_named(name), kind, known.get(name), home)
        for name, kind in step.columns
        if name not in (step.on, verbs.ROW)
    ]
    taken = sorted({field.name for field in added} & set(schema.fields))
    if taken:
        raise UsageError(f"both sides have {', '.join(taken)}; rename the columns of the local table first")
    return schema.plus(added)


def _once(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UsageError(f"the column {name} is named twice; name it once")
        seen.add(name)


def _named(name: str) -> str:
    if not name or name.startswith("__") or "`" in name:
        raise UsageError(f"{name!r} cannot name a column: take letters, digits and _")
    return name


def child_table(name: str) -> str:
    """Return the name of a child table, or refuse it."""
    if name not in CHILDREN:
        raise UsageError(f"images have no {name!r}; there are {', '.join(CHILDREN)}")
    return name


_RULES: dict[type[Any], Callable[[Schema, Any, Vocabulary, str], Schema]] = {
    verbs.Filter: _filter,
    verbs.Select: _select,
    verbs.Assign: _assign,
    verbs.Sort: _sort,
    verbs.Slice: _slice,
    verbs.Group: _group,
    verbs.Explode: _explode,
    verbs.WithProperty: _with_property,
    verbs.Similar: _similar,
    verbs.Merge: _merge,
}

"""How each verb changes the columns of a frame, and what it refuses, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from micdb.errors import ExpressionError, UnknownColumnError, UsageError, suggestion
from micdb.query import aggregates, merging, rules, verbs
from micdb.query.columns import CHILDREN, SOURCES
from micdb.query.conditions import resolve
from micdb.query.property_sql import AGGREGATES, ENDS, LEVELS
from micdb.query.schema import Field, Schema
from micdb.query.search import examples, pgvector
from micdb.query.search.kinds import KINDS
from micdb.query.verbs import Verb
from micdb.query.vocabulary import Vocabulary

SCALES = ("free", "physical", "same")  # on which images can be compared
INDEXES = ("exact", "lists", *KINDS, pgvector.NAME)  # that a search can ask for by name


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


def _rename(schema: Schema, step: verbs.Rename, _vocabulary: Vocabulary, home: str) -> Schema:
    names = dict(step.names)
    _once([old for old, _ in step.names])
    for old in names:
        if old not in schema.fields:
            raise UnknownColumnError(old, schema.fields, schema.where)
    renamed = [
        replace(field, name=_named(names[field.name]), home=home) if field.name in names else field
        for field in schema.fields.values()
    ]
    _once(field.name for field in renamed)
    return replace(schema, fields={field.name: field for field in renamed})


def _distinct(schema: Schema, step: verbs.Distinct, _vocabulary: Vocabulary, _home: str) -> Schema:
    if not step.by:
        raise UsageError("drop_duplicates() needs a column to compare: drop_duplicates('sample')")
    for name in step.by:
        schema[name]
    return schema


def _sample(schema: Schema, step: verbs.Sample, _vocabulary: Vocabulary, _home: str) -> Schema:
    for name, value in (("n", step.n), ("seed", step.seed)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise UsageError(f"{name} is {value!r}; it is a whole number: sample(100, seed=1)")
    if step.n < 0:
        raise UsageError(f"n is {step.n}; a sample has no fewer than 0 rows")
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
        kind, unit = aggregates.result(aggregates.check_group(function), schema[column])
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
    resolve(vocabulary, known, method=step.method, conditions=step.conditions)
    field = known.field()
    found = [Field(known.name, field.kind, field.unit, home, field.description)]
    if field.kind == "number":
        spread = rules.spread(field.unit)
        found.append(Field(f"{known.name}_sd", "number", spread, home, "standard deviation of its values"))
    elif step.interval:
        raise UsageError(f"{known.name} is a text and has no interval: leave interval out")
    found.append(Field(f"{known.name}_n", "integer", None, home, "number of its values"))
    for end, what in ENDS.items() if step.interval else ():
        said = f"{what} end of the interval stated with its only value"
        found.append(Field(f"{known.name}_{end}", "number", field.unit, home, said))
    return schema.plus(found)


def _check_scale(step: verbs.Similar) -> None:
    if step.scale not in (None, *SCALES):
        raise UsageError(f"scale is {step.scale!r}; it is {', '.join(map(repr, SCALES))} or None")
    if step.level == "patch" and step.scale not in (None, "same"):
        raise UsageError(
            f"places are compared at the same number of nm per pixel: leave scale={step.scale!r} out"
        )


def _similar(schema: Schema, step: verbs.Similar, _vocabulary: Vocabulary, home: str) -> Schema:
    if isinstance(step.k, bool) or not isinstance(step.k, int):
        raise UsageError(f"k is {step.k!r}; it must be a whole number of at least 1")
    if step.k < 1:
        raise UsageError(f"k is {step.k}; it must be at least 1")
    examples.question(step.query, box=step.box, pixel_size=step.pixel_size, negative=step.negative)
    if step.index not in (None, *INDEXES):
        raise UsageError(f"no index is called {step.index!r}{suggestion(str(step.index), INDEXES)}")
    if step.index == pgvector.NAME and step.level == "patch":
        raise UsageError("the server has no places: leave index='pgvector' out")
    if step.level not in ("image", "patch"):
        raise UsageError(f"level is {step.level!r}; it is 'image' or 'patch'")
    _check_scale(step)
    several = step.per_image
    if several is not None and (isinstance(several, bool) or not isinstance(several, int) or several < 1):
        raise UsageError(f"per_image is {several!r}; it is a whole number of at least 1, or None for all")
    fields = [
        Field("similarity", "number", None, home, "1 is best"),
        Field("match_box", "text", None, home, "region that matches: x,y,width,height [pixel]"),
    ]
    if step.level == "patch":
        fields.append(Field("match_frame", "integer", None, home, "frame of a stack it is in, from 0"))
    elif several != 1:
        raise UsageError("several answers of one image are places in it: add level='patch'")
    return schema.plus(fields)


def _merge(schema: Schema, step: verbs.Merge, _vocabulary: Vocabulary, home: str) -> Schema:
    fields = {field.name: field for field in merging.local_fields(step, home)}
    return _joined(schema, fields, step.keys, home=home, whose="the local table")


def _join(schema: Schema, step: verbs.Join, _vocabulary: Vocabulary, home: str) -> Schema:
    there = step.other.schema
    for _, name in step.keys.pairs:
        if name not in there.fields:
            raise UnknownColumnError(name, there.fields, f"the other frame ({there.where})")
    return _joined(schema, there.fields, step.keys, home=home, whose="the other frame")


def _joined(schema: Schema, other: Mapping[str, Field], keys: verbs.Keys, *, home: str, whose: str) -> Schema:
    merging.check_pairs(schema, other, keys, whose=whose)
    ours, theirs = merging.merged_names(schema.fields, other, keys)
    here = [
        field if ours[name] == name else replace(field, name=_named(ours[name]), home=home)
        for name, field in schema.fields.items()
    ]
    there = [replace(other[name], name=_named(new), home=home) for name, new in theirs.items()]
    return replace(schema, fields={field.name: field for field in (*here, *there)})


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
    verbs.Join: _join,
    verbs.Rename: _rename,
    verbs.Distinct: _distinct,
    verbs.Sample: _sample,
}

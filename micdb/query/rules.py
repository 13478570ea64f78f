"""What may meet what: kinds and units of expressions, checked while they are built.

A bare number never meets a column that has a unit: ``pixel_size < 0.5`` is refused, since nobody can
say whether nanometres or micrometres were meant.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, date, datetime
from numbers import Integral, Real
from operator import index
from typing import TypeVar

from pandas import NaT

from micdb import units
from micdb.errors import ExpressionError, UnitError, UsageError
from micdb.query.nodes import Kind, Node

E = TypeVar("E", bound=Node)

FLIPPED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
PYTHON = {"and": "&", "or": "|"}
LARGEST = 2**63 - 1  # what a 64-bit integer holds


def literal(make: type[E], value: object, unit: str | None = None) -> E:
    """Return a constant.

    Raises
    ------
    ExpressionError
        The value is none of number, text, bool and date, or is not finite.
    """
    if hasattr(value, "item") and not isinstance(value, str | bytes):  # numpy scalars
        value = value.item()
    if isinstance(value, bool):
        return make("literal", (value,), "bool")
    if isinstance(value, Real):
        if not math.isfinite(value):
            raise ExpressionError(f"{value} is no constant to compute with; write .isna() for missing values")
        if isinstance(value, Integral) and unit is None and abs(int(value)) <= LARGEST:
            return make("literal", (int(value),), "integer")
        return make("literal", (float(value),), "number", unit)
    if value is None or value is NaT:
        raise ExpressionError(
            "nothing equals None: write .isna() or .notna() (in text: is null, is not null)"
        )
    if isinstance(value, datetime | date):
        return make("literal", (written(value),), "time")
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ExpressionError(f"{value!a} holds a character that no text here can have: leave it out")
        return make("literal", (value,), "text")
    raise ExpressionError(
        f"{type(value).__name__} cannot be used in an expression: "
        "use a number, text, a quantity such as '1 nm', a date, or a column"
    )


def compare(op: str, left: E, right: object) -> E:
    """Return a comparison, with the right side in the unit of the left; a constant goes to the right."""
    if left.constant and isinstance(right, type(left)) and not right.constant:
        return compare(FLIPPED[op], right, left)
    other = fit(right, left)
    if left.kind == "bool" and op not in ("==", "!="):
        raise ExpressionError(f"{left} is true or false and has no order: write == or !=")
    return left.make(op, (left, other), "bool")


def member(target: E, values: Iterable[object]) -> E:
    """Return whether `target` is one of the constants `values`."""
    if isinstance(values, str):
        raise ExpressionError(f"isin() takes a list: write isin([{values!r}])")
    items = []
    for value in values:
        item = fit(value, target)
        if not item.constant:
            raise ExpressionError(f"a list holds constants, {item} is none: compare with == and join with |")
        items.append(item.args[0])
    return target.make("in", (target, tuple(items)), "bool")


def fill(target: E, value: object) -> E:
    """Return `target` with missing values replaced."""
    other = fit(value, target)
    both_integer = target.kind == other.kind == "integer"
    kind: Kind = target.kind if not target.numeric else "integer" if both_integer else "number"
    return target.make("fillna", (target, other), kind, target.unit)


def combine(op: str, left: E, right: object) -> E:
    """Return ``and`` or ``or`` of two conditions."""
    for side in (left, right):
        if not isinstance(side, Node) or side.kind != "bool":
            raise ExpressionError(
                f"{PYTHON[op]} joins conditions and {side} is none: put each comparison in parentheses, "
                f"(a == 1) {PYTHON[op]} (b < 2)"
            )
    return left.make(op, (left, right), "bool")


def invert(target: E) -> E:
    """Return the opposite of a condition; true where it is missing."""
    if target.kind != "bool":
        raise ExpressionError(f"~ turns a condition round and {target} is none: write ~({target} == ...)")
    return target.make("not", (target,), "bool")


def arithmetic(op: str, target: E, value: object, *, reflected: bool = False) -> E:
    """Return the result of ``+ - * /`` with its unit; `reflected` puts `value` on the left.

    Raises
    ------
    UnitError
        The dimensions cannot be added, or a temperature in degC or degF meets arithmetic.
    """
    left, right = _operand(target, target), _operand(value, target)
    if reflected:
        left, right = right, left
    for side in (left, right):
        require(side, "number", op)
        _require_true_zero(side)
    if op in ("+", "-"):
        if left.constant and not right.constant:
            left = fit(left, right)
        right = fit(right, left)
        unit = left.unit
    else:
        if op == "/" and left.unit and right.unit and units.compatible(left.unit, right.unit):
            right = convert(right, left.unit)  # nm / um is a plain number
        unit = units.product(left.unit, right.unit, divide=op == "/")
    exact = op != "/" and left.kind == right.kind == "integer"
    return target.make(op, (left, right), "integer" if exact else "number", unit)


def function(op: str, target: E) -> E:
    """Return ``neg``, ``abs``, ``sqrt`` or ``log`` of a number."""
    require(target, "number", op)
    if op == "neg" and target.constant:  # -196 degC is a temperature, not arithmetic
        return literal(type(target), -target.args[0], target.unit)
    _require_true_zero(target)
    if op == "log" and target.unit is not None:
        raise UnitError(
            f"log takes a plain number and {target} is in {target.unit}: "
            f'divide first, {target} / "1 {target.unit}"'
        )
    if op in ("neg", "abs"):
        return target.make(op, (target,), target.kind, target.unit)
    return target.make(op, (target,), "number", units.root(target.unit) if op == "sqrt" else None)


def convert(target: E, unit: str) -> E:
    """Return `target` in another unit."""
    require(target, "number", ".to")
    wanted = units.normalise(unit)
    if wanted == target.unit:
        return target
    value = units.convert(1.0, target.unit, wanted)  # raises for a wrong dimension
    if target.constant:
        value = units.convert(target.args[0], target.unit, wanted)
        return target.make("literal", (value,), "number", wanted)
    return target.make("to", (target, wanted), "number", wanted)


def search(op: str, target: E, part: object) -> E:
    """Return whether text contains, begins or ends with another text."""
    require(target, "text", op)
    if not isinstance(part, str) or not part:
        raise ExpressionError(f'{op} looks for text: write {op}({target}, "x") with at least one letter')
    return target.make(op, (target, part), "bool")


def require(target: Node, kind: str, where: str) -> None:
    """Refuse an expression of another kind; an integer is a number."""
    if target.kind != kind and not (kind == "number" and target.numeric):
        raise ExpressionError(f"{where} needs a {kind} and {target} is {_article(target.kind)}")


def fit(value: object, like: E) -> E:
    """Return `value` as an expression that can be compared with `like`, in its unit.

    Raises
    ------
    UnitError
        Another dimension, or a bare number for a column that has a unit.
    ExpressionError
        Another kind: text for a number, a number for text.
    """
    other = value if isinstance(value, type(like)) else literal(type(like), value)
    if other.constant and other.kind == "text":
        other = _read(other.args[0], like)
    if like.numeric and other.numeric:
        return _in_unit(other, like)
    if like.kind != other.kind:
        raise ExpressionError(f"{like} is {_article(like.kind)} and {other} is {_article(other.kind)}")
    return other


def whole(number: object) -> int:
    """Return the position of a row as a whole number that SQL can hold."""
    try:
        return min(index(number), LARGEST)  # type: ignore[arg-type]
    except TypeError:
        raise UsageError(f"rows are counted in whole numbers, not {number!r}: write frame[:20]") from None


def offset(unit: str | None) -> bool:
    """Return whether zero in this unit is not nothing: degC and degF."""
    return units.dimension(unit) == "[temperature]" and units.convert(0.0, unit, "K") != 0.0


def spread(unit: str | None) -> str | None:
    """Return the unit of a standard deviation: differences of degC are kelvin."""
    if not offset(unit):
        return unit
    return "K" if unit == "degC" else "delta_degF"


def _read(value: str, like: E) -> E:
    """Read a text constant as what `like` is: a quantity, a moment or text."""
    if like.numeric:
        number, unit = units.parse(value)
        if unit is None and like.unit is None:
            raise ExpressionError(f"{like} is a plain number: write {number:g} without quotes")
        return literal(type(like), number, unit)
    if like.kind == "time":
        try:
            moment = datetime.fromisoformat(value if len(value) != 7 else f"{value}-01")
        except ValueError:
            raise ExpressionError(
                f'{value!r} is no date: write {like} >= "2024-05-31" or "2024-05-31T14:00:00"'
            ) from None
        return like.make("literal", (value if moment.tzinfo is None else written(moment),), "time")
    return like.make("literal", (value,), "text")


def written(value: date) -> str:
    """Return a moment as the catalog writes it: one with a zone in UTC, so that text order is time order."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        return value.isoformat()
    return f"{value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def _in_unit(other: E, like: E) -> E:
    if other.unit == like.unit:
        return other
    if other.constant and other.unit is None:
        raise UnitError(f'{like} is in {like.unit}: write "{other.args[0]:g} {like.unit}"')
    if other.constant and like.unit is None and not units.compatible(other.unit, None):
        raise UnitError(f"{like} is a plain number and has no unit {other.unit}: write {other.args[0]:g}")
    return convert(other, like.unit or "")


def _operand(value: object, like: E) -> E:
    """Return a side of an arithmetic operation; text is a quantity."""
    if isinstance(value, type(like)):
        if not (value.constant and value.kind == "text"):
            return value
        value = value.args[0]
    return literal(type(like), *units.parse(value)) if isinstance(value, str) else literal(type(like), value)


def _require_true_zero(target: Node) -> None:
    if offset(target.unit):
        raise UnitError(
            f'{target} is in {target.unit}, whose zero is arbitrary: compute with {target}.to("K") '
            f'(in text: to({target}, "K"))'
        )


def _article(kind: str) -> str:
    return {"integer": "a number", "number": "a number", "bool": "true or false", "time": "a time"}.get(
        kind, kind
    )

"""The expressions of the query language: frozen trees with a kind and a unit.

``im.pixel_size < "1 nm"`` builds a tree and computes nothing. Units are part of the type: a quantity
is converted to the unit of the column it meets when the expression is built, and a wrong dimension
raises there. Python's ``and``, ``or``, ``not``, ``in`` and chained comparison would silently drop half of
an expression, so they raise and show the spelling that works.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NoReturn

from micdb.errors import ExpressionError
from micdb.query import rules, text
from micdb.query.nodes import Kind, Node

_TRUTH = (
    "an expression has no truth value: write (a) & (b) for and, (a) | (b) for or, ~(a) for not, "
    "and x.between(low, high) for low <= x <= high"
)
_REGEX_SIGNS = frozenset("|*^$[\\")


class Expr(Node):
    """A node with Python's operators and pandas' methods.

    Notes
    -----
    Missing values follow pandas: a comparison with a missing value is false, except ``!=``, which is
    true; ``~`` turns the false ones into true. Arithmetic with a missing value is missing, and so is a
    division by zero (an infinite density is no measurement).
    """

    __slots__ = ()

    @property
    def str(self) -> TextMethods:
        """Methods on text, as in pandas: ``im.name.str.contains("WS2")``."""
        rules.require(self, "text", ".str")
        return TextMethods(self)

    def __eq__(self, other: object) -> Expr:  # type: ignore[override]
        return rules.compare("==", self, other)

    def __ne__(self, other: object) -> Expr:  # type: ignore[override]
        return rules.compare("!=", self, other)

    def __lt__(self, other: object) -> Expr:
        return rules.compare("<", self, other)

    def __le__(self, other: object) -> Expr:
        return rules.compare("<=", self, other)

    def __gt__(self, other: object) -> Expr:
        return rules.compare(">", self, other)

    def __ge__(self, other: object) -> Expr:
        return rules.compare(">=", self, other)

    def __hash__(self) -> int:
        return hash((self.op, self.kind, self.unit, text.write(self)))

    def __and__(self, other: object) -> Expr:
        return rules.combine("and", self, other)

    def __or__(self, other: object) -> Expr:
        return rules.combine("or", self, other)

    def __invert__(self) -> Expr:
        return rules.invert(self)

    def __add__(self, other: object) -> Expr:
        return rules.arithmetic("+", self, other)

    def __radd__(self, other: object) -> Expr:
        return rules.arithmetic("+", self, other, reflected=True)

    def __sub__(self, other: object) -> Expr:
        return rules.arithmetic("-", self, other)

    def __rsub__(self, other: object) -> Expr:
        return rules.arithmetic("-", self, other, reflected=True)

    def __mul__(self, other: object) -> Expr:
        return rules.arithmetic("*", self, other)

    def __rmul__(self, other: object) -> Expr:
        return rules.arithmetic("*", self, other, reflected=True)

    def __truediv__(self, other: object) -> Expr:
        return rules.arithmetic("/", self, other)

    def __rtruediv__(self, other: object) -> Expr:
        return rules.arithmetic("/", self, other, reflected=True)

    def __neg__(self) -> Expr:
        return rules.function("neg", self)

    def __abs__(self) -> Expr:
        return rules.function("abs", self)

    def abs(self) -> Expr:
        """Return the absolute value."""
        return rules.function("abs", self)

    def sqrt(self) -> Expr:
        """Return the square root; missing for negative numbers."""
        return rules.function("sqrt", self)

    def log(self) -> Expr:
        """Return the natural logarithm of a plain number; missing for numbers that have none."""
        return rules.function("log", self)

    def to(self, unit: str) -> Expr:  # type: ignore[valid-type]
        """Return the same quantity in another unit.

        Raises
        ------
        UnitError
            The unit is unknown or of another dimension.
        """
        return rules.convert(self, unit)

    def between(
        self, low: object, high: object, *, inclusive: Literal["both", "left", "right", "neither"] = "both"
    ) -> Expr:
        """Return whether the value lies between two others; missing values do not."""
        lower = self >= low if inclusive in ("both", "left") else self > low
        upper = self <= high if inclusive in ("both", "right") else self < high
        return lower & upper

    def isin(self, values: Iterable[object]) -> Expr:
        """Return whether the value is one of `values`; missing values are not."""
        return rules.member(self, values)

    def isna(self) -> Expr:
        """Return whether the value is missing."""
        return self.make("isnull", (self,), "bool")

    def notna(self) -> Expr:
        """Return whether the value is known."""
        return ~self.isna()

    def fillna(self, value: object) -> Expr:
        """Return the value, or `value` where it is missing."""
        return rules.fill(self, value)

    def text(self) -> str:  # type: ignore[valid-type]
        """Return the expression in the text grammar; parsing it gives the same expression back."""
        return text.write(self)

    def __repr__(self) -> str:  # type: ignore[valid-type]
        unit = f" [{self.unit}]" if self.unit else ""
        return f"<Expr {text.write(self)}: {self.kind}{unit}>"

    def __str__(self) -> str:  # type: ignore[valid-type]
        return text.write(self)

    def __bool__(self) -> NoReturn:
        raise ExpressionError(_TRUTH)

    def __contains__(self, _item: object) -> NoReturn:
        raise ExpressionError(
            f'"x in {self}" cannot work: write {self}.isin([...]) or {self}.str.contains("x")'
        )

    def __iter__(self) -> Iterator[NoReturn]:
        raise ExpressionError(f"{self} holds no values yet: write frame[[...]].to_pandas() to get them")

    def __len__(self) -> NoReturn:
        raise ExpressionError(f"{self} has no length yet: write frame.count() for the number of rows")


@dataclass(frozen=True, slots=True)
class TextMethods:
    """Methods on a text column; all are case-sensitive, and missing text never matches."""

    _target: Expr

    def contains(self, part: str, *, regex: bool | None = None) -> Expr:
        """Return whether the text contains `part`, literally.

        Raises
        ------
        ExpressionError
            `part` looks like a regular expression, which pandas would read as one; say
            ``regex=False`` to mean its signs literally.
        """
        if regex or (regex is None and _REGEX_SIGNS & set(part)):
            raise ExpressionError(
                f"contains() looks for plain text and {part!r} is a regular expression: "
                "pass regex=False to mean it literally, or join two searches with |"
            )
        return rules.search("contains", self._target, part)

    def startswith(self, part: str) -> Expr:
        """Return whether the text begins with `part`."""
        return rules.search("startswith", self._target, part)

    def endswith(self, part: str) -> Expr:
        """Return whether the text ends with `part`."""
        return rules.search("endswith", self._target, part)


def column(name: str, home: str, kind: Kind, *, unit: str | None = None) -> Expr:
    """Return a column; `home` names the frame it was made by, so that it cannot stray into another."""
    return Expr("column", (name, home), kind, unit)


def literal(value: object, unit: str | None = None) -> Expr:
    """Return a constant.

    Raises
    ------
    ExpressionError
        The value is none of number, text, bool and date, or is not finite.
    """
    return rules.literal(Expr, value, unit)

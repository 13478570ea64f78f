"""Query text: ``material == "UHCS" and 0.1 um <= pixel_size < 0.5 um and count(defects) >= 3``.

A tokenizer and a Pratt parser (V. R. Pratt, "Top down operator precedence", POPL 1973). Units belong
to the grammar: a number is followed by its unit, ``0.5 um``, ``2 GPa``, ``1/nm``, ``800 degC``; a unit of
several parts is written without spaces, ``W/m**2``. A chained comparison means both of its halves. The
text is never handed to Python or SQL.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from micdb import units
from micdb.errors import ExpressionError, QuerySyntaxError, UnknownColumnError
from micdb.query import rules
from micdb.query.child_expr import aggregate, stated
from micdb.query.columns import CHILDREN
from micdb.query.expr import Expr, literal
from micdb.query.holding import holds
from micdb.query.schema import Schema
from micdb.query.spatial.within import Others, columns_of, within
from micdb.query.text import BINDING, KEYWORDS

EXAMPLE = """material == "UHCS" and pixel_size < 0.5 um"""
_UNIT_NAME = r"(?:[^\W\d_]|[%°])[^\W\d]*(?:(?:\*\*|\^)-?\d+)?"
_UNIT = re.compile(rf"(1/)?({_UNIT_NAME})((?:[*/]{_UNIT_NAME})*)")
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<name>[^\W\d]\w*) | (?P<quoted>`[^`]+`)
    | (?P<sign>==|!=|<=|>=|<|>|[-+*/()\[\],])
    )""",
    re.VERBOSE,
)
_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_HINTS = {
    "=": "write ==",
    "&": "write and",
    "|": "write or",
    "~": "write not",
    "!": "write not",
    ";": "write and",
}
_FUNCTIONS = frozenset({"log", "sqrt", "abs"})
_SEARCHES = frozenset({"contains", "startswith", "endswith"})


@dataclass(frozen=True, slots=True)
class Token:
    """One word of a query.

    Parameters
    ----------
    kind
        ``number``, ``text``, ``name``, ``quoted`` (a name in backticks), ``sign`` or ``end``.
    text
        As it was written.
    at
        Position of its first character, from 1.
    unit
        Unit that follows a number.
    """

    kind: str
    text: str
    at: int
    unit: str | None = None


def parse(text: str, schema: Schema, child: Callable[[str], Schema]) -> Expr:
    """Return the expression of a query text.

    Parameters
    ----------
    text
        The query.
    schema
        Columns it may speak of.
    child
        Returns the columns of a child table, for ``count(defects, kind == "vacancy")``.

    Raises
    ------
    QuerySyntaxError
        The text cannot be read; the message names the position and what was expected.
    UnknownColumnError, UnitError, ExpressionError
        It can be read and makes no sense.
    """
    parser = _Parser(tokenize(text, schema), schema, child)
    try:
        found = parser.expression(0)
    except RecursionError:
        raise QuerySyntaxError(
            "the query is nested too deeply: use fewer parentheses, or several queries"
        ) from None
    if parser.token.kind != "end":
        raise parser.error("and, or, or the end of the query")
    return found


def tokenize(text: str, schema: Schema) -> list[Token]:
    """Split a query text into words; a unit becomes part of its number."""
    tokens: list[Token] = []
    position = 0
    end = len(text.rstrip())
    while position < end:
        found = _TOKEN.match(text, position)
        if found is None:
            at = position + len(text[position:]) - len(text[position:].lstrip())
            raise QuerySyntaxError(_unreadable(text[at], at + 1))
        kind = str(found.lastgroup)
        position = found.end()
        unit = None
        if kind == "number":
            unit, position = _read_unit(text, position, number=found["number"], schema=schema)
        tokens.append(Token(kind, found[kind], found.start(kind) + 1, unit))
    return [*tokens, Token("end", "the end", end + 1)]


def _read_unit(text: str, position: int, *, number: str, schema: Schema) -> tuple[str | None, int]:
    """Return the unit after a number and where it ends; the longest part that is a unit counts."""
    if number == "1" and text[position : position + 1] == "/":
        found = _UNIT.match(text, position + 1)  # 1/nm; but 1/area divides by a column
        if found and found[2] not in schema.fields and units.known(f"1/{found[0]}"):
            return f"1/{found[0]}", found.end()
    space = len(text[position:]) - len(text[position:].lstrip())
    found = _UNIT.match(text, position + space)
    if found is None or found[2] in KEYWORDS:
        return None, position
    parts = re.findall(rf"[*/]{_UNIT_NAME}", found[3])
    for count in range(len(parts), -1, -1):
        unit = f"{found[1] or ''}{found[2]}{''.join(parts[:count])}"
        if units.known(unit):
            return units.normalise(unit), position + space + len(unit)
    units.normalise(found[0])  # raises: what follows a number is a unit
    return None, position


def _unreadable(sign: str, at: int) -> str:
    if sign in "\"'`":
        return f"position {at}: the {sign} has no partner; close the text, for example {EXAMPLE}"
    hint = f"; {_HINTS[sign]}" if sign in _HINTS else ""
    return f"position {at}: {sign!r} means nothing here{hint}, for example {EXAMPLE}"


class _Parser:
    """The state of one parse: the words, and where it is."""

    def __init__(self, tokens: list[Token], schema: Schema, child: Callable[[str], Schema]) -> None:
        self.tokens = tokens
        self.schema = schema
        self.child = child
        self.index = 0

    @property
    def token(self) -> Token:
        return self.tokens[self.index]

    def error(self, expected: str) -> QuerySyntaxError:
        found = self.token
        shown = found.text if found.kind == "end" else repr(found.text)
        return QuerySyntaxError(
            f"position {found.at}: found {shown}, expected {expected}, for example {EXAMPLE}"
        )

    def take(self) -> Token:
        token = self.token
        self.index += 1
        return token

    def accept(self, *texts: str) -> bool:
        """Step over a sign or keyword if it comes next."""
        ahead = self.tokens[self.index : self.index + len(texts)]
        found = [token.text for token in ahead if token.kind in ("sign", "name")]
        if found != list(texts):
            return False
        self.index += len(texts)
        return True

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise self.error(repr(text))

    # ------------------------------------------------------------------ expressions

    def expression(self, binding: int) -> Expr:
        """Return the expression ahead whose operators bind tighter than `binding`."""
        left = self.prefix()
        while True:
            token = self.token
            strength = self.strength(token)
            if strength <= binding:
                return left
            if strength == BINDING["=="]:
                left = self.comparison(left)
            elif token.text in ("and", "or"):
                self.take()
                left = rules.combine(token.text, left, self.expression(strength))
            else:
                self.take()
                left = rules.arithmetic(token.text, left, self.expression(strength))

    def strength(self, token: Token) -> int:
        if token.kind not in ("sign", "name"):
            return 0
        if token.text in ("in", "is", "not"):  # not in
            return BINDING["=="]
        return BINDING.get(token.text, 0)

    def prefix(self) -> Expr:
        token = self.take()
        if token.kind == "number":
            return _number(token)
        if token.kind == "text":
            return literal(_unquoted(token.text))
        if token.kind == "quoted":
            return self.column(token.text[1:-1])
        if token.kind == "name" and token.text not in KEYWORDS:
            return self.call(token.text) if self.accept("(") else self.column(token.text)
        if token.text in ("true", "false"):
            return literal(token.text == "true")
        if token.text == "not":
            return rules.invert(self.expression(BINDING["not"] - 1))
        if token.text == "-":
            return rules.function("neg", self.expression(BINDING["neg"]))
        if token.text == "(":
            found = self.expression(0)
            self.expect(")")
            return found
        self.index -= 1
        raise self.error("a column, a number or a text in quotes")

    def column(self, name: str) -> Expr:
        try:
            return self.schema[name].expr()
        except UnknownColumnError as error:
            known = [*self.schema.fields, *(self.schema.names() if self.schema.names else ())]
            before = self.tokens[self.index - 2].text if self.index > 1 else ""
            if before in _COMPARISONS | {"[", ","}:
                where = f'{self.schema.where} (text needs quotes: "{name}")'
                raise UnknownColumnError(name, known, where) from error
            raise

    def comparison(self, left: Expr) -> Expr:
        """Return one comparison or a chain of them, ``a <= b < c``."""
        if self.accept("is", "not", "null"):
            return left.notna()
        if self.accept("is", "null"):
            return left.isna()
        if self.accept("not", "in"):
            return ~left.isin(self.constants())
        if self.accept("in"):
            return left.isin(self.constants())
        found: Expr | None = None
        while self.token.kind == "sign" and self.token.text in _COMPARISONS:
            op = self.take().text
            right = self.expression(BINDING["=="])
            one = rules.compare(op, left, right)
            found = one if found is None else found & one
            left = right
        if found is None:
            raise self.error("is null, is not null, in [...] or not in [...]")
        return found

    def constants(self) -> list[object]:
        self.expect("[")
        found: list[object] = []
        while not self.accept("]"):
            found.append(self.expression(0))
            if not self.accept(",") and self.token.text != "]":
                raise self.error("a comma or ]")
        return found

    # ------------------------------------------------------------------ functions

    def call(self, name: str) -> Expr:
        if self.token.text in CHILDREN:
            return self.children(name)
        if name == "within":
            return self.within()
        arguments = [self.expression(0)]
        while self.accept(","):
            arguments.append(self.expression(0))
        self.expect(")")
        if name in _FUNCTIONS and len(arguments) == 1:
            return rules.function(name, arguments[0])
        if name == "contains" and len(arguments) == 1:
            return holds(self.schema, _text(name, arguments[0]))
        if name in _SEARCHES and len(arguments) == 2:
            return rules.search(name, arguments[0], _text(name, arguments[1]))
        if name == "fillna" and len(arguments) == 2:
            return rules.fill(arguments[0], arguments[1])
        if name == "to" and len(arguments) == 2:
            return rules.convert(arguments[0], _text(name, arguments[1]))
        raise QuerySyntaxError(
            f"no function {name} of {len(arguments)} arguments; there are log(x), sqrt(x), abs(x), "
            'contains(x, "a"), contains("Ni"), startswith(x, "a"), endswith(x, "a"), fillna(x, 0), '
            'to(x, "um"), count(defects), count(defects, kind == "vacancy"), mean(defects, score), '
            "within(1 nm, defects)"
        )

    def children(self, function: str) -> Expr:
        """Return an aggregate over children: function(table[, column][, condition])."""
        table = self.take().text
        inside = _Parser(self.tokens, self.child(table), self.child)
        inside.index = self.index
        arguments = []
        while inside.accept(","):
            arguments.append(inside.expression(0))
        inside.expect(")")
        self.index = inside.index
        column = arguments.pop(0).args[0] if arguments and arguments[0].op == "column" else None
        if len(arguments) > 1:
            raise QuerySyntaxError(
                f"{function}({table}, ...) takes one column and one condition; join conditions with and"
            )
        return aggregate(self.child(table), function, column, arguments[0] if arguments else None)

    def within(self) -> Expr:
        """Return a condition on positions: within(1 nm, table[, condition])."""
        radius = self.expression(0)
        self.expect(",")
        if self.token.text not in CHILDREN:
            raise self.error(f"what is to be near: {', '.join(CHILDREN)}")
        table = self.take().text
        inside = _Parser(self.tokens, columns_of(self.schema, table), self.child)
        inside.index = self.index
        condition = inside.expression(0) if inside.accept(",") else None
        inside.expect(")")
        self.index = inside.index
        others = Others(table, None if condition is None else stated(condition, inside.schema))
        return within(self.schema, radius, others, its_schema=inside.schema)


def _number(token: Token) -> Expr:
    plain = token.text.isdecimal() and token.unit is None
    return literal(int(token.text) if plain else float(token.text), token.unit)


def _unquoted(text: str) -> str:
    if text[0] == "'":
        text = '"' + text[1:-1].replace("\\'", "'").replace('"', '\\"') + '"'
    try:
        return str(json.loads(text, strict=False))
    except ValueError:
        raise QuerySyntaxError(f'{text} is no text: write a backslash as \\\\ and a quote as \\"') from None


def _text(function: str, argument: Expr) -> str:
    if argument.op != "literal" or argument.kind != "text":
        raise ExpressionError(f"{function}() takes a text in quotes as its last argument, not {argument}")
    return str(argument.args[0])

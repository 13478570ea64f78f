"""Wilkinson formulas with ``embedding("name")`` and roll-ups, read without running anything the text says.

formulaic parses the algebra (Wilkinson & Rogers, J. R. Stat. Soc. C 22, 392 (1973)). It would also evaluate
any Python a term holds, so every term is checked first against a short list of row-wise functions:
a formula may come from a file or a network. Functions that learn from the whole column (``scale``,
``poly``, ``bs``) are refused because they would carry test rows into training folds.

Numbers per image that come from what is in it are written as in a query text, ``count(defects, kind ==
"vacancy")``, or shorter: ``defects("vacancy").count``, ``phases("pearlite").fraction`` (the mean of a
column), ``latent("rvae", 4)`` (the first four latent variables). A query reads them; here they are names.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from micdb.errors import UsageError, suggestion
from micdb.query.aggregate import FUNCTIONS as AGGREGATES
from micdb.query.columns import CHILDREN

CATEGORY = "C"
ROW_WISE = ("log", "log10", "log2", "log1p", "exp", "sqrt", "abs", "I")
FUNCTIONS = (CATEGORY, *ROW_WISE)

_EMBEDDING = re.compile(r"""embedding\(\s*(?:"([^"]+)"|'([^']+)')\s*\)""")
_PLACEHOLDER = "micdb_embedding_{}"
_ROLLUP = re.compile(rf"\b(?:{'|'.join(AGGREGATES)})\(\s*(?:{'|'.join(CHILDREN)})\s*[,)]")
_COMPUTED = "micdb_rollup_{}"
_NAMED = {"phases": "phase", "defects": "kind", "particles": "phase"}  # table -> what its rows are called by
_SHORT = re.compile(rf"""\b({"|".join(_NAMED)})\(\s*("[^"]+"|'[^']+')\s*\)\.(\w+)""")
_LATENT = re.compile(r"""\blatent\(\s*(?:"([^"]+)"|'([^']+)')\s*,\s*(\d+)\s*\)""")
_ARITHMETIC = (
    ast.Expression, ast.Name, ast.Load, ast.Constant, ast.BinOp, ast.UnaryOp, ast.Call,
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.USub, ast.UAdd,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Term:
    """One side's expression of table columns.

    Parameters
    ----------
    text
        As written, for example ``log(anneal_time)`` or ``density:C(cooling)``.
    code
        The same with roll-ups as names of columns.
    columns
        Table columns it reads.
    categories
        Those of them that stand inside ``C(...)`` or bare, and may hold text.
    """

    text: str
    code: str
    columns: tuple[str, ...]
    categories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LinkFormula:
    """A parsed formula: one target, column terms, embedding terms.

    Parameters
    ----------
    text
        The formula as typed.
    target
        Left side.
    terms
        Right side without the intercept and without embeddings.
    embeddings
        Names inside ``embedding(...)``, in order: ``texture`` or ``texture@256nm``.
    rollups
        Column that stands for a roll-up -> its query text.
    """

    text: str
    target: Term
    terms: tuple[Term, ...]
    embeddings: tuple[str, ...]
    rollups: Mapping[str, str]

    def shown(self, name: str) -> str:
        """Return a name of a column or feature with roll-ups as they are written."""
        return _written(name, self.rollups)

    @property
    def columns(self) -> tuple[str, ...]:
        """Return every table column the formula reads, the target's first, each once."""
        return tuple(dict.fromkeys(name for term in (self.target, *self.terms) for name in term.columns))


def parse(text: str) -> LinkFormula:
    """Read a formula such as ``'hardness ~ density + log(anneal_time) + embedding("texture")'``.

    Raises
    ------
    UsageError
        The text is no formula, names no feature, uses a function that is not allowed, multiplies an
        embedding, or has the target on both sides.
    """
    from formulaic import Formula

    names: list[str] = []

    def pull(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name not in names:
            names.append(name)
        return _PLACEHOLDER.format(names.index(name))

    plain, rollups = _without_rollups(text)
    try:
        parsed = Formula(_EMBEDDING.sub(pull, plain))
        sides = (list(parsed.lhs), list(parsed.rhs))
    except Exception as error:  # formulaic, ast and AttributeError ("no left side") all mean the same here
        raise UsageError(
            f"cannot read the formula {text!r}; write 'target ~ feature + feature', "
            """for example 'hardness ~ density + embedding("texture")'"""
        ) from error
    if not all(hasattr(term, "factors") for side in sides for term in side):
        raise UsageError(f"{text!r} has several parts; join the features with '+'")
    if len(sides[0]) != 1:
        raise UsageError(f"the formula {text!r} has {len(sides[0])} targets; write one before the '~'")
    target = _term(sides[0][0], rollups)
    placeholders = {_PLACEHOLDER.format(at) for at in range(len(names))}
    terms = [_term(term, rollups) for term in sides[1] if str(term) not in {"1", "0", *placeholders}]
    return _checked(LinkFormula(text, target, tuple(terms), tuple(names), rollups), placeholders)


def _without_rollups(text: str) -> tuple[str, dict[str, str]]:
    """Return a formula with columns in the place of roll-ups, and column -> query text."""
    rollups: dict[str, str] = {}

    def column(query: str) -> str:
        for name, known in rollups.items():
            if known == query:
                return name
        name = _COMPUTED.format(len(rollups))
        rollups[name] = query
        return name

    def short(found: re.Match[str]) -> str:
        table, value, what = found[1], found[2][1:-1], found[3]
        head = f"count({table}" if what == "count" else f"mean({table}, {what}"
        return column(f'{head}, {_NAMED[table]} == "{value}")')

    def latent(found: re.Match[str]) -> str:
        name, count = found[1] or found[2], int(found[3])
        if not count:
            raise UsageError(f"{found[0]} takes no latent variable: ask for at least 1")
        each = [column(f'mean(latents, value, name == "{name} {at}")') for at in range(count)]
        return f"({' + '.join(each)})"

    text = _LATENT.sub(latent, _SHORT.sub(short, text))
    while found := _ROLLUP.search(text):
        end = _closing(text, text.index("(", found.start()))
        text = text[: found.start()] + column(text[found.start() : end]) + text[end:]
    return text, rollups


def _closing(text: str, opening: int) -> int:
    """Return the place behind the bracket that closes the one at `opening`; those in quotes are text."""
    depth, quote = 0, ""
    for at in range(opening, len(text)):
        sign = text[at]
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        else:
            depth += (sign == "(") - (sign == ")")
            if not depth:
                return at + 1
    raise UsageError(f"cannot read the formula: a bracket never closes in {text[opening:]!r}")


def _written(name: str, rollups: Mapping[str, str]) -> str:
    for column in sorted(rollups, key=len, reverse=True):  # micdb_rollup_1 begins micdb_rollup_10
        name = name.replace(column, rollups[column])
    return name


def _checked(formula: LinkFormula, placeholders: set[str]) -> LinkFormula:
    if placeholders & set(formula.columns):
        raise UsageError(
            "embedding(...) can only be added with '+' on the right of '~', not multiplied or transformed"
        )
    if not formula.terms and not formula.embeddings:
        raise UsageError(f"the formula {formula.text!r} names no feature after the '~'")
    both = {name for term in formula.terms for name in term.columns} & set(formula.target.columns)
    if both:
        name = formula.shown(sorted(both)[0])
        raise UsageError(f"{name!r} stands on both sides of '~': a target cannot explain itself")
    return formula


def _term(term: Any, rollups: Mapping[str, str]) -> Term:
    columns: list[str] = []
    categories: list[str] = []
    for factor in term.factors:
        if factor.eval_method.value == "lookup":
            columns.append(factor.expr)
            categories.append(factor.expr)
        elif factor.eval_method.value == "python":
            read, text_allowed = _names(factor.expr)
            columns += read
            categories += text_allowed
    text = _written(str(term), rollups)
    return Term(text, str(term), tuple(dict.fromkeys(columns)), tuple(dict.fromkeys(categories)))


def _names(expression: str) -> tuple[list[str], list[str]]:
    """Return the columns an expression reads, and those inside ``C(...)``; refuse all but arithmetic."""
    columns: list[str] = []
    categories: list[str] = []
    called: set[int] = set()
    for node in ast.walk(ast.parse(expression, mode="eval")):
        if not isinstance(node, _ARITHMETIC):
            raise UsageError(f"{expression!r} in the formula is more than arithmetic; use {_allowed()}")
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
            if name not in FUNCTIONS or len(node.args) != 1 or node.keywords:
                hint = suggestion(name, FUNCTIONS) if name not in FUNCTIONS else "; it takes one column"
                raise UsageError(f"{ast.unparse(node)!r} cannot be used in a formula{hint}")
            called.add(id(node.func))
            if name == CATEGORY and isinstance(node.args[0], ast.Name):
                categories.append(node.args[0].id)
        elif isinstance(node, ast.Name) and id(node) not in called:
            columns.append(node.id)
    return columns, categories


def _allowed() -> str:
    return ", ".join(f"{name}(...)" for name in FUNCTIONS)

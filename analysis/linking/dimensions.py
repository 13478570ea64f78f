"""What may be added in a formula: numbers in one unit, and no length to a hardness."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from micdb import units
from micdb.analysis.linking.formula import CATEGORY, LinkFormula
from micdb.errors import UnitError

_ROOT = "sqrt"
_KEEPING = ("I", "abs")  # what leaves a unit as it is; logarithms and exponentials take the number


def check_dimensions(formula: LinkFormula, known: Mapping[str, str]) -> None:
    """Refuse a sum or difference of numbers in different units.

    Parameters
    ----------
    formula
        Its target and terms.
    known
        Column -> unit, where it has one; columns without a unit may be added to anything.

    Raises
    ------
    UnitError
        The text says which columns, and their units.
    """
    for term in (formula.target, *formula.terms):
        for factor in term.code.split(":"):
            if f"{CATEGORY}(" not in factor and "`" not in factor:  # a name in backticks stands alone
                _unit(ast.parse(factor, mode="eval").body, known, formula)


def _unit(node: ast.expr, known: Mapping[str, str], formula: LinkFormula) -> str | None:
    """Return the unit of an expression, None where it has none or it is not known."""
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.UnaryOp):
        return _unit(node.operand, known, formula)
    if isinstance(node, ast.Call):
        inner = _unit(node.args[0], known, formula)
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        return inner if name in _KEEPING else units.root(inner) if name == _ROOT else None
    if not isinstance(node, ast.BinOp):
        return None
    left, right = (_unit(side, known, formula) for side in (node.left, node.right))
    if isinstance(node.op, ast.Mult | ast.Div):
        return units.product(left, right, divide=isinstance(node.op, ast.Div))
    if isinstance(node.op, ast.Pow):
        return None
    if left and right and left != right:
        shown = formula.shown(ast.unparse(node))
        mend = "bring them to one unit" if units.compatible(left, right) else "give each a term of its own"
        raise UnitError(f"{shown!r} adds a number in {left} to one in {right}: {mend}")
    return left or right

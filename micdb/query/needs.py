"""What the verbs of a query speak of, found before any of them is compiled."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from micdb.query import verbs
from micdb.query.child_scope import nearby
from micdb.query.nodes import Node, columns_in
from micdb.query.verbs import Verb

_KEEPS = (
    verbs.Select, verbs.Assign, verbs.Sort, verbs.Using, verbs.WithProperty,
    verbs.Filter, verbs.Slice, verbs.Distinct, verbs.Sample,
)  # fmt: skip
Wanted = frozenset[str] | None  # names of columns; None for all
FEW = 4  # columns that are cheaper to hand over than to fetch afterwards


def needed(steps: Sequence[Verb], wanted: Wanted) -> list[Wanted]:
    """Return for each verb the columns before it that it or a later one speaks of; None for all.

    Parameters
    ----------
    steps
        The verbs.
    wanted
        Columns that are wanted of the last one's result.
    """
    found: list[Wanted] = []
    for step in reversed(steps):
        wanted = _before(step, wanted)
        found.append(wanted)
    return found[::-1]


def left_behind(steps: Sequence[Verb], columns: Collection[str], wanted: Wanted) -> frozenset[str]:
    """Return the columns that are cheaper to fetch for the images that are left after all verbs.

    There are some if the verbs may leave images out but make no new rows, and if the result shows several
    columns that no verb speaks of.

    Parameters
    ----------
    steps
        The verbs from here on.
    columns
        Visible columns.
    wanted
        Those that are needed from here on.
    """
    drops = any(
        isinstance(step, verbs.Filter | verbs.Slice | verbs.Distinct | verbs.Sample) for step in steps
    )
    if not drops or not all(isinstance(step, _KEEPS) for step in steps):
        return frozenset()
    quiet = frozenset(columns) if wanted is None else wanted & frozenset(columns)
    found = quiet - spoken(steps)
    return found if len(found) > FEW else frozenset()


def spoken(steps: Sequence[Verb]) -> frozenset[str]:
    """Return the columns before some verbs that these speak of; none where they may mean all."""
    return (needed(steps, frozenset())[0] if steps else None) or frozenset()


def _before(step: Verb, wanted: Wanted) -> Wanted:
    """Return the columns that are needed before a verb, given those that are needed after it."""
    if isinstance(step, verbs.Select):
        return frozenset(step.names) if wanted is None else wanted
    if isinstance(step, verbs.Group):
        return frozenset([*step.keys, *(column for _, column, _ in step.aggregates)])
    if wanted is None:
        return None
    if isinstance(step, verbs.Filter):
        return wanted | {*columns_in(step.mask)}
    if isinstance(step, verbs.Assign):
        for name, expr in reversed(step.columns):
            wanted = wanted - {name} | {*columns_in(expr)}
        return wanted
    if isinstance(step, verbs.Sort | verbs.Distinct):
        return wanted | {*step.by}
    if isinstance(
        step, verbs.Slice | verbs.Sample | verbs.Explode | verbs.WithProperty | verbs.Using | verbs.Similar
    ):
        return wanted
    return None  # renamed and joined columns change their names: everything is needed


def children_in(node: Node) -> Iterator[Node]:
    """Yield the aggregates over children in an expression."""
    if node.op == "child":
        yield node
    else:
        for arg in node.args:
            if isinstance(arg, Node):
                yield from children_in(arg)


def children_ahead(steps: Sequence[Verb]) -> Iterator[Node]:
    """Yield the aggregates over children in verbs, up to the one that makes them mean another run's."""
    for step in steps:
        if isinstance(step, verbs.Using):
            return
        for expr in _expressions(step):
            yield from children_in(expr)


def asks_near(step: Verb) -> bool:
    """Return whether a verb asks what lies near."""
    return any(True for expr in _expressions(step) for _ in nearby(expr))


def _expressions(step: Verb) -> list[Node]:
    if isinstance(step, verbs.Filter):
        return [step.mask]
    return [expr for _, expr in step.columns] if isinstance(step, verbs.Assign) else []


def conditions(mask: Node) -> Iterator[Node]:
    """Yield the conditions that a mask joins by ``and``."""
    if mask.op == "and":
        yield from conditions(mask.args[0])
        yield from conditions(mask.args[1])
    else:
        yield mask

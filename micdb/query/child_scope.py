"""What names mean among the children of images: columns, and what lies near."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from micdb.errors import ExpressionError, UsageError
from micdb.query import elements
from micdb.query.columns import PARTS
from micdb.query.elements import Element, Scope
from micdb.query.nodes import Node, columns_in
from micdb.query.spatial.near_sql import Rows, near
from micdb.query.spatial.within import POSITION, Others

Finder = Callable[[str, Sequence[str]], Rows]  # a child table and some of its columns -> its rows


class Place(NamedTuple):
    """Where rows stand, for conditions on what lies near.

    Parameters
    ----------
    image
        Local key of the micrograph they are in.
    key
        What tells a row from others of its table and image.
    find
        Gives the rows of another table, or of the same.
    many
        Whether a frame may hold thousands of them.
    """

    image: Element
    key: Sequence[Element]
    find: Finder
    many: bool


class Columns:
    """What names mean inside a condition on children.

    Parameters
    ----------
    found
        SQL of each column.
    place
        Where the rows stand; None where nothing may be asked about what lies near.
    """

    def __init__(self, found: Mapping[str, Element], place: Place | None = None) -> None:
        self.found = found
        self.place = place

    def column(self, name: str) -> Element:
        """Return the SQL of a column."""
        return self.found[name]

    def child(self, node: Node) -> Element:
        """Refuse: children have no children."""
        raise ExpressionError(f"{node.args[0]} belong to images: count them on the images")

    def near(self, node: Node) -> Element:
        """Return the SQL of a condition on what lies near."""
        if self.place is None:
            raise UsageError("within() cannot be used here: filter the children of images with it")
        return near_element(node, self, self.place)


def near_element(node: Node, scope: Scope, place: Place) -> Element:
    """Return the SQL of ``within``."""
    frame, x, y, radius, others = node.args
    spoken = () if others.condition is None else columns_in(others.condition)
    its = place.find(others.table, [*POSITION, *spoken])
    inside = Columns(its.columns, Place(its.image, its.key, place.find, place.many))
    return near(
        [elements.value(one, scope) for one in (frame, x, y)],
        place.image,
        its,
        [] if others.condition is None else [elements.mask(others.condition, inside)],
        radius=radius,
        key=place.key[-len(its.key) :] if x.args[1] == others.table else None,  # a column knows its table
        many=place.many,
    )


def nearby(node: Node | None) -> Iterator[Others]:
    """Yield what a condition asks to be near, however deep."""
    if node is None:
        return
    if node.op == "within":
        others: Others = node.args[4]
        yield others
        yield from nearby(others.condition)
    for arg in node.args:
        if isinstance(arg, Node):
            yield from nearby(arg)


def needs_big(node: Node | None) -> bool:
    """Return whether a condition asks what of a big table lies near."""
    return any(others.table in PARTS for others in nearby(node))


def is_big(leaf: Node) -> bool:
    """Return whether an aggregate over children needs a big table."""
    return leaf.args[0] in PARTS or needs_big(leaf.args[3])

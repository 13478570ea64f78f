"""Pages by key: the next page begins after the last row of the one before, whatever was added meanwhile.

A page number would skip or repeat rows as soon as rows come or go. A token holds the values that order the
last row, its unique key among them, and which query it belongs to.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import reduce
from hashlib import sha256
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import Boolean, String

from micdb.errors import UsageError
from micdb.query.dialect import ordered
from micdb.query.elements import Element
from micdb.query.relation import Order

VERSION = 1
DIGITS = 16  # of the query's hash: enough to notice a token of another query
Values = tuple[Any, ...]


def write_token(query: str, values: Sequence[Any]) -> str:
    """Return the token of a page: what orders its last row.

    Parameters
    ----------
    query
        Text of the query.
    values
        Values of its ordering.
    """
    plain = [int(value) if isinstance(value, Decimal) else value for value in values]
    text = json.dumps([VERSION, _mark(query), plain], separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_token(query: str, token: str) -> Values:
    """Return the values in a token.

    Raises
    ------
    UsageError
        It is no token, or one of another query.
    """
    mend = "pass what page() returned beside the page before, or None for the first page"
    try:
        padded = token + "=" * (-len(token) % 4)
        version, mark, values = json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
        found = tuple(values)
    except (binascii.Error, ValueError, TypeError, AttributeError):
        raise UsageError(f"after={token!r:.60} is no place in a query: {mend}") from None
    if version != VERSION or mark != _mark(query):
        raise UsageError(f"after={token!r:.60} is a place in another query: {mend}")
    return found


def beyond(ordering: Order, values: Values, certain: Callable[[Element], bool] = lambda _: False) -> Element:
    """Return the condition for rows that come after one, missing values last.

    Parameters
    ----------
    ordering, values
        What orders the rows, and its values in that one.
    certain
        Whether an element is never missing: an index leads to the place then.

    Raises
    ------
    UsageError
        There are not as many values as the ordering has.
    """
    if len(values) != len(ordering):
        raise UsageError("the place to go on from does not fit this query: begin with the first page")
    steps: list[Element] = []
    alike: list[Element] = []
    for (element, down), value in zip(ordering, values, strict=True):
        steps.append(sa.and_(*alike, _after(element, value, down, certain(element))))
        alike.append(element.is_(None) if value is None else element == _constant(value, element))
    return reduce(sa.or_, steps)


def _after(element: Element, value: Any, down: bool, certain: bool) -> Element:
    if value is None:  # nothing comes after missing
        return sa.false()
    key = ordered(element) if isinstance(element.type, String) else element
    if isinstance(element.type, Boolean):  # the two have no < in SQLAlchemy
        later = sa.false() if value != down else element == sa.literal(not down, Boolean())
    else:
        constant = _constant(value, element)
        later = key < constant if down else key > constant
    return later if certain else sa.or_(later, element.is_(None))


def _constant(value: Any, element: Element) -> Element:
    return sa.literal(value, element.type)


def _mark(query: str) -> str:
    return sha256(query.encode()).hexdigest()[:DIGITS]

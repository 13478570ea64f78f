"""Rows that stand for what another laboratory speaks of and did not send: just a name, its uid.

A stub is filled when a later bundle brings the row itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from micdb.errors import StoreError

_EMPTY: dict[str, dict[str, Any]] = {
    "lab": {},
    "person": {},
    "instrument": {"vendor": ""},
    "material": {},
    "sample": {},
}
_NAMELESS: dict[str, dict[str, Any]] = {"acquisition": {}}


def stub(table: str, uid: str) -> dict[str, Any]:
    """Return the values of a row that nothing is known of but its uid.

    Raises
    ------
    StoreError
        Rows of that table mean nothing without their values: the bundle is not whole.
    """
    if table in _NAMELESS:
        return dict(_NAMELESS[table])
    if table not in _EMPTY:
        raise StoreError(f"the bundle refers to the {table} {uid}, which is not in it: get the bundle again")
    return {"name": uid, **_EMPTY[table]}


def is_stub(row: Mapping[str, Any]) -> bool:
    """Return whether a row is a stub."""
    return row.get("name") is not None and row.get("name") == row.get("uid")

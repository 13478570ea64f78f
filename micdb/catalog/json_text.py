"""JSON as PostgreSQL keeps it: numbers there lose their exponent, and with it what makes them floats."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

_EXPONENT = re.compile(r"\de\+\d")


def dump_json(value: Any) -> str:
    """Return JSON from which JSONB gives back every number as it was.

    JSONB keeps ``1e+16`` as ``10000000000000000``, which is read back as an integer. Written in full, with
    a digit after the point, it stays a float.

    Raises
    ------
    ValueError
        A number is not finite: JSON has no word for it.
    """
    text = json.dumps(value, allow_nan=False)
    return _spell(value) if _EXPONENT.search(text) else text


def _spell(value: Any) -> str:
    if isinstance(value, float) and abs(value) >= 1e16:
        return f"{Decimal(repr(value)):f}.0"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)}: {_spell(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_spell, value)) + "]"
    return json.dumps(value, allow_nan=False)


def _key(key: Any) -> str:
    """Return a key as `json.dumps` writes it: numbers become text there."""
    return json.dumps({key: 0})[1:].rpartition(":")[0]

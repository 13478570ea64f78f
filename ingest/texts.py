"""What a reader says, fit for every catalog: text without characters that no catalog holds, finite numbers.

PostgreSQL has no place for NUL, neither in text nor in JSON; lone surrogates are no text anywhere; JSON has
no word for numbers that are not finite. micdb's own readers clean what they find (`micdb.ingest.metadata`);
this is for all of them, plug-ins too.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from micdb.ingest.metadata import plain
from micdb.records import Quantity, Scan

_UNFIT = re.compile("[\x00\ud800-\udfff]")
_PERHAPS_UNFIT = re.compile(r"\\u(0000|d[89a-f])")  # in JSON in ASCII, where pairs of surrogates are fine
_FIELDS = ("name", "channel", "intensity_unit", "acquired", "acquired_raw")


def fit(scan: Scan) -> Scan:
    """Return the scan with every text and number such that any catalog can keep it; changes are problems."""
    changed: list[str] = []
    facts: dict[str, Any] = {name: _text(getattr(scan, name), name, changed) for name in _FIELDS}
    facts["settings"] = _settings(scan.settings, changed)
    facts["original"] = _original(scan.original, changed)
    facts["axes"] = tuple(
        replace(axis, name=_text(axis.name, "axis", changed), unit=_text(axis.unit, "unit", changed))
        if _UNFIT.search(axis.name + (axis.unit or ""))
        else axis
        for axis in scan.axes
    )
    problems = tuple(plain(problem) for problem in scan.problems)
    if not changed and problems == scan.problems:
        return scan
    return replace(scan, **facts, problems=(*problems, *changed))


def _text(value: str | None, what: str, changed: list[str]) -> Any:
    if value is None or not _UNFIT.search(value):
        return value
    changed.append(f"{what}: characters that are no text (NUL, half a surrogate pair) were taken out")
    return plain(value)


def _settings(settings: Mapping[str, Quantity], changed: list[str]) -> Mapping[str, Quantity]:
    kept: dict[str, Quantity] = {}
    for name, quantity in settings.items():
        value = quantity.value
        if isinstance(value, float) and not math.isfinite(value):
            changed.append(f"{name} unknown: it would be {value}")
            continue
        parts = {part: getattr(quantity, part) for part in ("value", "unit", "raw")}
        texts: dict[str, Any] = {part: text for part, text in parts.items() if isinstance(text, str)}
        if any(_UNFIT.search(text) for text in texts.values()):
            texts = {part: _text(text, name, changed) for part, text in texts.items()}
            kept[name] = replace(quantity, **texts)
        else:
            kept[name] = quantity
    return kept


def _original(original: Mapping[str, Any], changed: list[str]) -> Mapping[str, Any]:
    try:
        if not _PERHAPS_UNFIT.search(json.dumps(original, allow_nan=False)):
            return original
    except (TypeError, ValueError):  # not JSON, or a number that is not finite
        pass
    cleaned: Mapping[str, Any] = plain(original)
    if cleaned != original:
        changed.append("original metadata: what JSON and text cannot hold was replaced")
    return cleaned

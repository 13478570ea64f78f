"""Works that methods of micdb rest on, with their full references: ``works.bib``.

The file is BibTeX with one field to a line. ``cited`` is what a card says of a work whose volume and page or
arXiv number it does not say; it is not written out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_ENTRY = re.compile(r"^@(\w+)\{([\w-]+),\n(.*?)^\}$", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^  (\w+) = \{(.*)\},$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Work:
    """A work: kind of entry, key, and fields as they are written."""

    kind: str
    key: str
    fields: Mapping[str, str]


@cache
def works() -> tuple[Work, ...]:
    """Return the works of the file."""
    text = Path(__file__).with_name("works.bib").read_text("utf-8")
    return tuple(Work(kind, key, dict(_FIELD.findall(body))) for kind, key, body in _ENTRY.findall(text))


def find(text: str, fields: Mapping[str, str]) -> Work | None:
    """Return the work that a part of a card's reference means; None where it is not known.

    Parameters
    ----------
    text
        The part.
    fields
        What it says: volume, first page and year, or an arXiv number, tell a work.
    """
    place = _place(fields)
    for work in works():
        said = "cited" in work.fields and text in work.fields["cited"].split(" | ")
        if said or (place is not None and place in (_place(work.fields), work.fields.get("eprint"))):
            return work
    return None


def _place(fields: Mapping[str, str]) -> tuple[str, ...] | str | None:
    if "volume" in fields and "pages" in fields:
        return fields["volume"], fields["pages"].partition("--")[0], fields.get("year", "")
    return fields.get("eprint")

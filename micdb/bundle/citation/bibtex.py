"""BibTeX of the methods behind cited rows: from the cards, nothing is made up.

A card's reference is a text: ``De Backer et al., Ultramicroscopy 171, 104 (2016): joint fit``. A work that is
known (`micdb.bundle.citation.works`) is written in full. Of others, where a part of the text has authors,
journal, volume, page and year in that order it becomes an ``@article``; an arXiv number becomes its
``eprint``; everything else is a ``@misc`` with the text as its note.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from micdb.bundle.citation import works
from micdb.provenance import package_version

_NAME = r"(?:(?:van|den|der|de|von|De|Van) )*[A-Z][\w'’-]+"
# Several names end in "and", "&" or "et al.": otherwise a title could be taken for a name.
_AUTHORS = rf"(?P<author>{_NAME}(?:(?:, {_NAME})*,? (?:and|&) {_NAME}|(?:, {_NAME})*,? et al\.)?)"
_NOTE = r"(?:: (?P<note>.+)| \((?P<aside>[^)]+)\))?"
_ARTICLE = re.compile(
    rf"{_AUTHORS}, (?P<journal>[A-Za-z][^,\d]*?) (?P<volume>\d+), (?P<pages>\w+) \((?P<year>\d{{4}})\){_NOTE}"
)
_ARXIV = re.compile(
    rf"{_AUTHORS},? arXiv[: ](?P<eprint>\d{{4}}\.\d{{4,5}})(?: \((?P<year>\d{{4}})\))?{_NOTE}"
)
_VENUE = re.compile(rf"{_AUTHORS},(?P<howpublished> [A-Z][^,;:()]*?) \(?(?P<year>\d{{4}})\)?{_NOTE}")
_YEAR = re.compile(rf"{_AUTHORS},? \(?(?P<year>\d{{4}})\)?{_NOTE}")
_PATTERNS = (("article", _ARTICLE), ("misc", _ARXIV), ("misc", _VENUE), ("misc", _YEAR))
_PARTED = re.compile(r";\s+(?=[A-Z]|van |de |von )")
_ORDER = (
    "author", "title", "journal", "booktitle", "publisher", "volume", "pages", "howpublished", "year", "doi",
    "eprint", "archiveprefix", "note",
)  # fmt: skip
_ESCAPED = {
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "\\": r"\textbackslash ",
}


def bibliography(cards: Iterable[Mapping[str, Any]]) -> str:
    """Return the BibTeX of every reference of some cards, each once, and of micdb itself.

    Parameters
    ----------
    cards
        Model cards as the catalog has them.
    """
    found: dict[tuple[str, ...], _Cited] = {}
    for card in cards:
        for part in _PARTED.split(str(card.get("reference") or "")):
            cited = _read(part.strip().rstrip("."), str(card.get("name", "method")))
            if cited is None:
                continue
            # what one card and another take of it
            notes = found.setdefault(cited.identity, cited).notes
            notes += [note for note in cited.notes if note not in notes]
    taken = {one.key for one in found.values() if one.key} | {"micdb"}
    entries = [_entry("misc", "micdb", _micdb())]
    for one in found.values():
        key = one.key or _key(one.fields, one.card, taken)
        taken.add(key)
        note = {"note": "; ".join(one.notes)} if one.notes else {}
        entries.append(_entry(one.kind, key, {**one.fields, **note}))
    return "\n".join(entries)


@dataclass(frozen=True, slots=True)
class _Cited:
    """A work as cards cite it: its key is None unless it is known, its notes say what they take of it."""

    kind: str
    fields: Mapping[str, str]
    notes: list[str]
    card: str
    key: str | None = None

    @property
    def identity(self) -> tuple[str, ...]:
        return (self.key,) if self.key else tuple(self.fields.values()) or tuple(self.notes)


def _read(text: str, card: str) -> _Cited | None:
    kind, fields = _parsed(text)
    if not fields:
        return None
    note = fields.pop("note", None)
    notes = [note] if note else []
    work = works.find(text, fields)
    if work is None:
        return _Cited(kind, fields, notes, card)
    return _Cited(work.kind, work.fields, notes, card, work.key)


def _micdb() -> dict[str, str]:
    return {
        "author": "{The micdb developers}",
        "title": "{micdb}: a database and query engine for micrographs",
        "note": f"Version {package_version()}",
    }


def _parsed(text: str) -> tuple[str, dict[str, str]]:
    """Return the kind of an entry and its fields, spelled for BibTeX; no fields where there is no text."""
    if not text or text.lower().startswith("none"):
        return "misc", {}
    for kind, pattern in _PATTERNS:
        found = pattern.fullmatch(text)
        if found:
            fields = {name: _escaped(value) for name, value in found.groupdict().items() if value}
            fields = {name: value.strip() for name, value in fields.items()}
            fields["author"] = _people(found["author"])
            aside = fields.pop("aside", None)
            if aside:
                fields["note"] = aside
            if "eprint" in fields:
                fields["archiveprefix"] = "arXiv"
            return kind, fields
    return "misc", {"note": _escaped(text)}


def _people(text: str) -> str:
    """Return names as BibTeX has them: ``A, B & C`` is ``A and B and C``, ``et al.`` is ``others``."""
    plain = re.sub(r",?\s+et al\.?$", ", others", text.strip())
    names = [name.strip() for name in re.split(r",\s*(?:and |& )?|\s+and\s+|\s*&\s*", plain) if name.strip()]
    # Braces keep a name of several words one family name.
    return " and ".join(_escaped(name) if " " not in name else f"{{{_escaped(name)}}}" for name in names)


def _key(fields: Mapping[str, str], fallback: str, taken: Collection[str]) -> str:
    name = fields.get("author", fallback).split(" and ")[0].split()[-1]
    stem = re.sub(r"[^A-Za-z0-9-]+", "", name) + fields.get("year", "")
    key, number = stem, 1
    while key in taken:
        number += 1
        key = f"{stem}-{number}"
    return key


def _entry(kind: str, key: str, fields: Mapping[str, str]) -> str:
    lines = [f"  {name} = {{{fields[name]}}}," for name in _ORDER if name in fields]
    return "\n".join([f"@{kind}{{{key},", *lines, "}", ""])


def _escaped(text: str) -> str:
    return "".join(_ESCAPED.get(sign, sign) for sign in text)

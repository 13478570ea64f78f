"""Who made it, what it is called, who publishes it: given with the call, else what the database knows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from micdb.errors import UsageError

_ORCID = re.compile(r"(?:https?://orcid\.org/)?(\d{4}-\d{4}-\d{4}-\d{3}[\dX])")
_WITH_ORCID = re.compile(rf"(.*?)\s*[(<\[]?\s*{_ORCID.pattern}\s*[)>\]]?")
_KEYS = ("name", "orcid", "affiliation", "organisation")


@dataclass(frozen=True, slots=True)
class Creator:
    """One author.

    Parameters
    ----------
    name
        ``Family, Given`` of a person; anything else is taken as it is.
    orcid
        Identifier at orcid.org; None when unknown.
    affiliation
        Where the person works; None when unknown.
    organisation
        Whether it is no person.
    """

    name: str
    orcid: str | None = None
    affiliation: str | None = None
    organisation: bool = False

    @property
    def parts(self) -> tuple[str, str] | None:
        """Family and given name; None where the name does not say which is which."""
        family, comma, given = (part.strip() for part in self.name.partition(","))
        return (family, given) if comma and family and given and not self.organisation else None


@dataclass(frozen=True, slots=True)
class Citation:
    """What a citation says besides what it is of."""

    title: str
    creators: tuple[Creator, ...]
    publisher: str
    year: int


@dataclass(frozen=True, slots=True)
class Known:
    """What the database knows: labs and operators of the images."""

    labs: tuple[str, ...]
    people: tuple[Creator, ...]


def settle(
    known: Known,
    *,
    title: str | None,
    creators: Sequence[str | Mapping[str, Any]] | None,
    publisher: str | None,
    year: int | None,
) -> Citation:
    """Return a citation in which nothing lacks.

    Without `creators` they are the operators of the images, else their labs; without `publisher` it is the
    lab of the images where that is one; without `year` it is this year.

    Raises
    ------
    UsageError
        Something lacks, everything that does named at once; or a creator is malformed.
    """
    given = (creator(one) for one in creators or ())
    who = tuple(replace(one, organisation=one.organisation or one.name in known.labs) for one in given)
    who = who or known.people
    who = who or tuple(Creator(lab, organisation=True) for lab in known.labs)
    of = " and ".join(known.labs) or "no lab that is named"
    single = known.labs[0] if len(known.labs) == 1 else None
    lacking = []
    if not (title or "").strip():
        lacking.append('a title (title="Vacancies in WS2 ...")')
    if not who:
        lacking.append('creators (creators=["Doe, Jane (0000-0002-1825-0097)"]): the images name no operator')
    if not (publisher or single):
        lacking.append(f'a publisher (publisher="..."): the images are of {of}')
    if lacking:
        raise UsageError(f"a citation needs {'; and '.join(lacking)}")
    return Citation(str(title).strip(), who, str(publisher or single), year or datetime.now(UTC).year)


def creator(given: str | Mapping[str, Any]) -> Creator:
    """Return a creator.

    Parameters
    ----------
    given
        ``"Doe, Jane"``, ``"Doe, Jane (0000-0002-1825-0097)"``; or a mapping with ``name`` and, where known,
        ``orcid``, ``affiliation``, ``organisation``.

    Raises
    ------
    UsageError
        It has no name, an unknown key, or an ORCID whose check digit is wrong.
    """
    if isinstance(given, str):
        found = _WITH_ORCID.fullmatch(given.strip())
        name, orcid = (found[1].rstrip(" ,"), found[2]) if found else (given.strip(), None)
        made = Creator(name, orcid)
    else:
        unknown = set(given) - set(_KEYS)
        if unknown:
            raise UsageError(f"a creator has {', '.join(_KEYS)}, not {', '.join(sorted(unknown))}")
        made = Creator(**{"name": "", **given})
    if not made.name.strip():
        raise UsageError(f"a creator has no name: {given!r}")
    if made.orcid is not None:
        _check(made.orcid)
    return made


def _check(orcid: str) -> None:
    """Refuse an ORCID with a wrong check digit (ISO 7064, MOD 11-2): a typing error names somebody else."""
    found = _ORCID.fullmatch(orcid)
    total = 0
    for digit in found[1].replace("-", "")[:-1] if found else "":
        total = 2 * (total + int(digit))
    expected = "0123456789X"[(12 - total % 11) % 11]
    if found is None or found[1][-1] != expected:
        raise UsageError(f"{orcid!r} is no ORCID; it looks like 0000-0002-1825-0097 and has a check digit")

"""What a check found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Engine

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    Parameters
    ----------
    severity
        ``error``: something committed is missing or wrong. ``warning``: garbage or an interrupted
        piece of work. ``info``: in order, and worth knowing.
    code
        Fixed name of the kind of finding, for programs: ``object-missing``.
    subject
        File or row concerned.
    message
        What was found, what was expected, and how to mend it.
    repaired
        Whether it has been mended by this very check.
    """

    severity: Severity
    code: str
    subject: str
    message: str
    repaired: bool = False

    def mended(self) -> Finding:
        """Return the same finding, repaired."""
        return replace(self, repaired=True)


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """The result of `micdb.fsck.check`.

    Parameters
    ----------
    findings
        In the order they were found.
    counts
        How much was looked at, by name.
    """

    findings: tuple[Finding, ...]
    counts: Mapping[str, int]

    @property
    def open(self) -> tuple[Finding, ...]:
        """Errors and warnings that are left."""
        return tuple(one for one in self.findings if one.severity != "info" and not one.repaired)

    @property
    def clean(self) -> bool:
        """Whether no error and no warning is left."""
        return not self.open

    @property
    def exit_code(self) -> int:
        """0 when clean, 1 when findings are left."""
        return 0 if self.clean else 1

    def __repr__(self) -> str:
        looked = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in self.counts.items())
        lines = [
            f"{'repaired' if one.repaired else one.severity}: {one.code}: {one.subject}: {one.message}"
            for one in self.findings
        ]
        verdict = "clean" if self.clean else f"{len(self.open)} findings left; try: micdb fsck --repair"
        return "\n".join([*lines, f"{verdict} (looked at {looked})"])

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        severities = Counter(one.severity for one in self.open)
        return {
            "clean": self.clean,
            "errors": severities["error"],
            "warnings": severities["warning"],
            "repaired": sum(one.repaired for one in self.findings),
            "findings": [asdict(one) for one in self.findings],
            "counts": dict(self.counts),
        }


@dataclass(frozen=True, slots=True)
class Scope:
    """What to check and how far to go; handed to every single check.

    Parameters
    ----------
    engine, root
        Catalog and folder of the database.
    deep
        Whether to read every byte.
    repair
        Whether to mend what can be mended without losing anything.
    grace
        How long a pending object is left alone when its publisher may be on another machine.
    """

    engine: Engine
    root: Path
    deep: bool
    repair: bool
    grace: timedelta

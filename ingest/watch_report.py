"""What a watch has to tell: a notice of each file, and a summary at its end."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from micdb.ingest.outcome import Became


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing a watch has to tell.

    Parameters
    ----------
    at
        When.
    outcome
        What became of a file, see `micdb.ingest.outcome.FileResult`; ``trouble`` concerns them all.
    path
        The file, or None.
    images
        Its new images.
    latency
        Time from the last change of the file until its rows were live [s]; None for files that changed
        before the watch began.
    reason
        Why it was refused, or what the trouble is.
    notes
        What the samples sheet said and could not be applied.
    """

    at: datetime
    outcome: Became | Literal["trouble"]
    path: Path | None = None
    images: int = 0
    latency: float | None = None
    reason: str | None = None
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            "at": self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "outcome": self.outcome,
            "path": str(self.path) if self.path else None,
            "images": self.images,
            "latency": self.latency,
            "reason": self.reason,
            "notes": list(self.notes),
        }


Teller = Callable[[Notice], None]


@dataclass(frozen=True, slots=True)
class Watched:
    """What a watch did, from its beginning to its end.

    Parameters
    ----------
    files, images
        Files brought in, and new images in them.
    known, skipped, refused
        Files that were here already, are no microscope files, and cannot be read.
    waiting
        Files that were not complete; the next watch, or `ingest`, brings them in.
    latencies
        Of each file that came while watching, in order [s].
    """

    files: int
    images: int
    known: int
    skipped: int
    refused: int
    waiting: int
    latencies: tuple[float, ...] = ()

    def latency(self, share: float) -> float | None:
        """Return the latency that a share of the files did not exceed [s]: 0.5 is the median."""
        ordered = sorted(self.latencies)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        counts = {name: getattr(self, name) for name in self.__slots__ if name != "latencies"}
        shares = {"median": 0.5, "95_percent": 0.95, "maximum": 1.0}
        return {**counts, "latency": {name: self.latency(share) for name, share in shares.items()}}

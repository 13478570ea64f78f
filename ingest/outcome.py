"""What became of the files of one ingest, as callers see it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Became = Literal["added", "completed", "known", "merged", "refused", "skipped", "part"]
OUTCOMES: tuple[Became, ...] = ("added", "completed", "known", "merged", "refused", "skipped", "part")

_TOLD = 5  # files whose reason is shown


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file.

    Parameters
    ----------
    path
        The file.
    outcome
        ``added`` new images; ``completed`` the pixels of images that were here without; ``known`` the same
        bytes are here; ``merged`` all its pixels were here under another file; ``refused`` it cannot be read;
        ``skipped`` it is no microscope file; ``part`` it was read together with another file.
    images
        ``micrograph.pk`` of its images.
    n_new, n_filled
        How many of them are new, and how many were here without pixels and have them now.
    reason
        Why it was refused or skipped.
    notes
        What the sheet said and could not be applied, one sentence each.
    """

    path: Path
    outcome: Became
    images: tuple[int, ...] = ()
    n_new: int = 0
    n_filled: int = 0
    reason: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class Ingested:
    """What one call of ingest did, file by file."""

    files: tuple[FileResult, ...]
    unmatched_rows: tuple[int, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Files by outcome; ``new_images`` and ``filled_images`` count images."""
        outcomes = Counter(result.outcome for result in self.files)
        return {
            "files": len(self.files),
            "new_images": sum(result.n_new for result in self.files),
            "filled_images": sum(result.n_filled for result in self.files),
            **{name: outcomes.get(name, 0) for name in OUTCOMES},
        }

    def __repr__(self) -> str:
        counts = self.counts
        told = [f"{counts['new_images']} new images from {counts['files']} files"]
        told += [f"{counts[name]} {name}" for name in OUTCOMES[1:] if counts[name]]
        left = [*self.of("refused"), *self.of("skipped")]
        lines = [f"{one.outcome}: {one.path.name}: {one.reason}" for one in left[:_TOLD]]
        return "\n".join(["; ".join(told), *lines])

    def of(self, outcome: Became) -> list[FileResult]:
        """Return the files with that outcome."""
        return [result for result in self.files if result.outcome == outcome]

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            **self.counts,
            "unmatched_rows": list(self.unmatched_rows),
            "details": [
                {
                    "path": str(result.path),
                    "outcome": result.outcome,
                    "images": result.n_new,
                    "reason": result.reason,
                    "notes": list(result.notes),
                }
                for result in self.files
                if result.outcome in ("refused", "skipped") or result.notes
            ],
        }

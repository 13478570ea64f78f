"""How much to do at a time, and what a compaction did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from micdb.errors import UsageError

MB = 1 << 20
Watcher = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Budget:
    """Sizes [byte] a compaction works with.

    Parameters
    ----------
    part
        Aim for the length of a part; one of at least half of it is left as it is.
    memory
        About how much of the rows of parts to hold in memory.
    pack
        Aim for the length of a pack.
    small
        A micrograph file up to this length goes into a pack.

    Raises
    ------
    UsageError
        One of them is not positive.
    """

    part: int = 256 * MB
    memory: int = 512 * MB
    pack: int = 256 * MB
    small: int = 4 * MB

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 1:
                raise UsageError(f"the size {name!r} is {value} byte; it must be at least 1")


@dataclass(frozen=True, slots=True, repr=False)
class Compacted:
    """What a compaction did.

    Parameters
    ----------
    parts_before, parts_after
        Number of live parts.
    part_bytes_before, part_bytes_after
        Their length [byte].
    loose_before, loose_after
        Live objects that are a file of their own, packs not counted.
    packed
        Objects that went into packs.
    packs
        Live packs afterwards.
    repacked
        Packs that were written anew without what had been purged from them.
    purged, purged_bytes
        Objects whose grace was over, and their length [byte].
    skipped
        What was left as it is, and why, one sentence each.
    """

    parts_before: int
    parts_after: int
    part_bytes_before: int
    part_bytes_after: int
    loose_before: int
    loose_after: int
    packed: int
    packs: int
    repacked: int
    purged: int
    purged_bytes: int
    skipped: tuple[str, ...]

    def __repr__(self) -> str:
        bytes_ = f"{self.part_bytes_before / 1e6:,.1f} -> {self.part_bytes_after / 1e6:,.1f} MB"
        lines = [
            f"parts: {self.parts_before:,} -> {self.parts_after:,} ({bytes_})",
            f"loose files: {self.loose_before:,} -> {self.loose_after:,}; {self.packed:,} went into packs, "
            f"of which there are {self.packs:,}",
        ]
        if self.repacked:
            lines.append(f"packs written anew: {self.repacked:,}")
        if self.purged:
            lines.append(f"purged: {self.purged:,} objects ({self.purged_bytes / 1e6:,.1f} MB)")
        return "\n".join([*lines, *(f"skipped: {reason}" for reason in self.skipped)])

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return asdict(self)

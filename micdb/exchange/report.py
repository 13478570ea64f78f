"""What an import found and did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One row of which two laboratories have different versions.

    Parameters
    ----------
    entity, row
        Table and uid of the row here.
    columns
        What differs, each as it is here and there.
    kept
        ``ours`` or ``theirs``: which version is current now.
    known
        Whether an earlier import found it already.
    """

    entity: str
    row: str
    columns: dict[str, tuple[Any, Any]]
    kept: str
    known: bool = False


@dataclass(frozen=True, slots=True)
class Mapped:
    """A name of a vocabulary, ``material`` or ``property_def``, and what it became here: for review."""

    entity: str
    theirs: str
    ours: str
    how: str


@dataclass(slots=True, repr=False)
class Imported:
    """What one import did, or would do.

    Parameters
    ----------
    source
        Name of the database or laboratory that the rows came from.
    dry_run
        Whether all of it was taken back.
    added
        Rows that were unknown here, by table.
    filled
        Rows some of whose unknown values are known now, by table.
    known
        Rows that were here already, by table.
    files, bytes
        Micrograph files that came, and their length.
    conflicts
        Rows that the two sides have differently.
    names
        Names of materials and properties that are new here, or were mapped to others.
    stubs
        Rows that stand for what was not sent: table and uid.
    left_out
        Results that were not taken over, with the reason.
    """

    source: str
    dry_run: bool = False
    added: Counter[str] = field(default_factory=Counter)
    filled: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    files: int = 0
    bytes: int = 0
    conflicts: list[Disagreement] = field(default_factory=list)
    names: list[Mapped] = field(default_factory=list)
    stubs: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether anything was written."""
        new = any(not one.known for one in self.conflicts)
        return bool(self.added.total() or self.filled.total() or new)

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            "source": self.source,
            "dry_run": self.dry_run,
            "added": dict(self.added),
            "filled": dict(self.filled),
            "known": dict(self.known),
            "files": self.files,
            "bytes": self.bytes,
            "conflicts": [
                {"entity": one.entity, "row": one.row, "kept": one.kept, "known": one.known,
                 "columns": {name: {"ours": a, "theirs": b} for name, (a, b) in one.columns.items()}}
                for one in self.conflicts
            ],
            "names": [
                {"entity": one.entity, "theirs": one.theirs, "ours": one.ours, "how": one.how}
                for one in self.names
            ],
            "stubs": [list(pair) for pair in self.stubs],
            "left_out": list(self.left_out),
        }  # fmt: skip

    def __repr__(self) -> str:
        verb = "would come" if self.dry_run else "came"
        rows = self.added.total()
        told = f"{rows:,} rows {verb} from {self.source}, of {self.added['micrograph']:,} new images"
        told += f" and {self.added['run_item']:,} results; {self.known.total():,} rows were here already"
        lines = [told]
        new = sum(not one.known for one in self.conflicts)
        if self.conflicts:
            lines.append(f"{len(self.conflicts)} conflicts, {new} of them new: see db.conflicts()")
        lines += [
            f"{one.entity} {one.theirs!r} is new here"
            if one.how == "new"
            else f"{one.entity} {one.theirs!r} is {one.ours!r} here ({one.how})"
            for one in self.names
        ]
        lines += self.left_out
        return "\n".join(lines)

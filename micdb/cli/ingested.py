"""What `micdb ingest` and `micdb fetch` tell of the files they met."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from micdb.cli import output

if TYPE_CHECKING:
    from micdb.ingest.pipeline import Ingested, Watcher

SHOWN = 10  # rows of a sheet that are named one by one


def watcher(advance: output.Advance | None) -> Watcher:
    """Return what moves the progress bar, if there is one."""

    def watch(number: int, total: int, path: Path) -> None:
        if advance:
            advance(output.short(path), number, total)

    return watch


def print_ingested(result: Ingested, *, as_json: bool) -> None:
    """Print counts, and a line for each file that was refused or has something to note."""
    if as_json:
        output.print_json(result.as_json())
        return
    counts = result.counts
    title = f"{counts['new_images']} new images"
    if counts["completed"]:
        title = f"pixels of {counts['completed']} files brought in, {title}"
    output.print_pairs(title, {name: number for name, number in counts.items() if number})
    for file in result.files:
        if file.outcome in ("refused", "skipped"):
            # which readers there are is told once, for a file that was named: not for every text in a folder
            _warn(f"{file.outcome}: {file.path}: {str(file.reason).partition('; installed readers')[0]}")
        for note in file.notes:
            _warn(f"note: {file.path.name}: {note}")
    if result.unmatched_rows:
        rows = ", ".join(str(number) for number in result.unmatched_rows[:SHOWN])
        more = ", ..." if len(result.unmatched_rows) > SHOWN else ""
        _warn(f"note: {len(result.unmatched_rows)} rows of the sheet match no file: {rows}{more}")


def _warn(line: str) -> None:
    output.console().print(line, style="yellow", markup=False)

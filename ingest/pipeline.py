"""Files in: discover, read, publish, and say what became of each.

Files are prepared (read, hashed, compressed, staged) here or by worker processes, in whatever order, and
brought into the catalog by this process alone, in the order they were found, a few to a transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from micdb.catalog.engine import reading
from micdb.errors import NotFoundError, UsageError
from micdb.ingest import commit
from micdb.ingest.discovery import Entry, discover
from micdb.ingest.intake import Delivery, Intake, Watcher, mark_parts
from micdb.ingest.outcome import FileResult, Ingested

__all__ = ["Delivery", "FileResult", "Ingested", "Watcher", "fetch", "ingest"]


def ingest(delivery: Delivery, paths: Sequence[Path], *, watch: Watcher | None = None) -> Ingested:
    """Bring files, folders and archives in; what is here already is recognised and left alone.

    Parameters
    ----------
    delivery
        Database, lab and samples sheet.
    paths
        Files, and folders to search.
    watch
        Called before each file is brought in with its number, the number of files, and its path.

    Raises
    ------
    NotFoundError
        A path does not exist, or a folder holds no file.
    ReadError
        A single file was named and cannot be read; in folders that is a row of the result instead.
    SheetError
        The sheet contradicts itself.
    """
    entries = list(discover(paths, delivery.own))
    if not entries:
        raise NotFoundError(f"{_named(paths)} holds no file; name a folder with micrographs, or the files")
    # before anything is written: a row that fits two files is an error
    files = [entry.path for entry in entries]
    unmatched = delivery.sheet.unmatched(files) if delivery.sheet else ()
    results = Intake(delivery, entries, watch).run()
    if len(entries) == 1 and [entries[0].path] == list(paths) and results[0].error is not None:
        raise results[0].error
    found = [result.public() for result in mark_parts(results)]
    if all(result.outcome in ("skipped", "refused") for result in found):
        first = found[0]
        raise UsageError(
            f"{_named(paths)} holds no image micdb can read, among {len(files)} "
            f"{'file' if len(files) == 1 else 'files'}; the first, {first.path.name}: {first.reason}"
        )
    return Ingested(tuple(found), tuple(unmatched))


def fetch(
    delivery: Delivery, images: Sequence[int] | None = None, *, watch: Watcher | None = None
) -> Ingested:
    """Bring in deferred pixels from the original files; one that is gone is refused.

    Parameters
    ----------
    delivery
        The database.
    images
        ``micrograph.pk`` of the images wanted; None for all. All images of a file come together.
    watch
        As for `ingest`.
    """
    with reading(delivery.engine) as connection:
        files = [Path(path) for path in commit.deferred_paths(connection, images)]
    gone = "the original file is gone: put it back, or ingest it from where it is now"
    lost = [FileResult(path, "refused", reason=gone) for path in files if not path.is_file()]
    there = [Entry(path, str(path)) for path in files if path.is_file()]
    return Ingested((*(result.public() for result in Intake(delivery, there, watch).run()), *lost))


def _named(paths: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in paths)

"""What an export can make of an image, and the folder it goes to."""

from __future__ import annotations

import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from micdb.bundle.image import StoredImage
from micdb.errors import UsageError

PART = ".part"  # suffix of a file that is being written; what a killed export leaves is named so


@dataclass(frozen=True, slots=True)
class Written:
    """One exported image.

    Parameters
    ----------
    image
        The image.
    files
        Names of its files in the folder, in order of frames.
    notes
        What of it the format cannot say, one sentence each.
    """

    image: StoredImage
    files: tuple[str, ...]
    notes: tuple[str, ...] = ()


class Folder:
    """Where files go. A file has its name only when it is whole.

    Parameters
    ----------
    path
        The folder; made when there is none.
    overwrite
        Whether files that are there may be replaced.
    """

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        self.path = path
        self.overwrite = overwrite

    def check(self, names: Sequence[str]) -> None:
        """Refuse names that are taken, before anything is written; make the folder."""
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"{self.path} is a file; name a folder to export to")
        self.path.mkdir(parents=True, exist_ok=True)
        here = {entry.name for entry in os.scandir(self.path)}
        taken = [] if self.overwrite else [name for name in names if name in here]
        if taken:
            more = f" and {len(taken) - 1} more files" if taken[1:] else ""
            raise UsageError(
                f"{self.path / taken[0]}{more} would be overwritten; give another folder, or --overwrite"
            )

    @contextmanager
    def new(self, name: str) -> Iterator[Path]:
        """Yield a path to write to; the file takes its name when the block ends well, else it is removed."""
        part = self.path / f".micdb-{uuid.uuid4().hex[:12]}{PART}"
        try:
            yield part
            final = self.path / name
            if final.exists() and not self.overwrite:
                raise UsageError(f"{final} was made by somebody else meanwhile; it is kept: export again")
            part.replace(final)
        finally:
            part.unlink(missing_ok=True)


class Form(ABC):
    """One format of an export."""

    #: What ``--as`` says.
    name: ClassVar[str]
    #: Files it writes once, beside those of the images.
    tables: ClassVar[tuple[str, ...]] = ("images.csv",)
    #: Whether an image without pixels cannot be written.
    needs_pixels: ClassVar[bool] = True

    @abstractmethod
    def files(self, stem: str, n_frames: int) -> list[str]:
        """Return the names of an image's files."""

    def prepare(self, frame: Any) -> None:  # noqa: B027 (most need nothing)
        """Look up what is needed of the catalog, before anything is written."""

    def refusal(self, image: StoredImage) -> str | None:  # noqa: ARG002 (most take every image)
        """Return why the format cannot hold an image, or None."""
        return None

    @abstractmethod
    def write(self, image: StoredImage, names: Sequence[str], folder: Folder) -> Written:
        """Write an image under the names of `files`.

        Raises
        ------
        StoreError
            Its file in the database is missing or damaged.
        """

    def finish(self, frame: Any, written: Sequence[Written], folder: Folder) -> None:  # noqa: ARG002
        """Write what belongs to all images together; `frame` is what was exported."""
        from micdb.bundle.table import write_listing

        write_listing(written, folder)

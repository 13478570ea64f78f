"""Names of files below the database folder, and the steps that make them survive a power cut."""

from __future__ import annotations

import os
from pathlib import Path

OBJECTS = "objects"
PARTS = "parts"
PACKS = "packs"
STAGING = "staging"
QUARANTINE = "quarantine"

MEDIA_TYPES = {
    ".nxs": "application/x-hdf5",
    ".parquet": "application/vnd.apache.parquet",
    ".tar": "application/x-tar",
}


def object_path(sha256: str) -> str:
    """Return where a micrograph file lies: ``objects/ab/<sha256>.nxs``."""
    return f"{OBJECTS}/{sha256[:2]}/{sha256}.nxs"


def part_path(table: str, uid: str) -> str:
    """Return where a Parquet part lies: ``parts/<table>/<uid>.parquet``."""
    return f"{PARTS}/{table}/{uid}.parquet"


def pack_path(sha256: str) -> str:
    """Return where a pack of small objects lies: ``packs/<sha256>.tar``."""
    return f"{PACKS}/{sha256}.tar"


def fsync_file(path: Path) -> None:
    """Return once the bytes of a file are on the disk."""
    _fsync(path, os.O_RDONLY)


def fsync_folder(path: Path) -> None:
    """Return once the names in a folder are on the disk: a rename is lasting only after this."""
    _fsync(path, os.O_RDONLY | os.O_DIRECTORY)


def make_folder(path: Path) -> None:
    """Create a folder and its parents, each name flushed to the disk; an existing one is left alone."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    fsync_folder(path.parent)


def move(path: Path, target: Path) -> None:
    """Rename a flushed file to its lasting place, in one step that a crash cannot halve."""
    make_folder(target.parent)
    path.replace(target)
    fsync_folder(target.parent)


def _fsync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

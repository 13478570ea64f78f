"""The manifest of a bundle: what it is, whose it is, and the hash of every file in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from micdb.catalog.schema import HEAD, REVISIONS
from micdb.errors import ForeignDatabaseError, NewSchemaError, StoreError
from micdb.exchange.shape import LEVELS
from micdb.provenance import file_hash, package_version

FORMAT = "micdb-bundle"
VERSION = 1  # raised when a reader of the old layout could no longer read the new one
NAME = "manifest.json"


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a bundle: sha256 of its bytes, and their number."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says of itself.

    Parameters
    ----------
    source
        Name of the database or laboratory that it comes from.
    labs
        Laboratories of the images.
    schema
        Revision of the catalog that its rows were written from.
    event
        Number of the last event of that catalog: the bundle is its state then.
    level
        What of each image is in it.
    created_at
        When it was written.
    query
        The query whose images it holds, as `Frame.to_json` gives it.
    images
        How many.
    withheld
        How many images of the query were left out, by reason.
    members
        Every file but this one, by its name.
    """

    source: str
    labs: tuple[str, ...]
    schema: str
    event: int
    level: str
    created_at: str
    query: Mapping[str, Any] | None
    images: int
    withheld: Mapping[str, int]
    members: Mapping[str, Member]

    def write(self, folder: Path) -> Path:
        """Write ``manifest.json``; return its path."""
        path = folder / NAME
        head = {"format": FORMAT, "version": VERSION, "micdb": package_version()}
        path.write_text(json.dumps({**head, **asdict(self)}, indent=1, ensure_ascii=False) + "\n", "utf-8")
        return path


def read(folder: Path) -> Manifest:
    """Return the manifest of a bundle.

    Raises
    ------
    ForeignDatabaseError
        The folder is no bundle.
    NewSchemaError
        A newer micdb wrote it; the message says how to upgrade.
    StoreError
        The manifest is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        raise ForeignDatabaseError(f"{folder} is no bundle: it has no {NAME}; make one with: micdb export")
    try:
        found = json.loads(path.read_text("utf-8"))
        if found.get("format") != FORMAT:
            raise ForeignDatabaseError(f"{path} is of the format {found.get('format')!r}, not of {FORMAT!r}")
        _check_age(path, found)
        members = {name: Member(**one) for name, one in found["members"].items()}
        names = Manifest.__slots__
        said = {**{name: found[name] for name in names}, "labs": tuple(found["labs"]), "members": members}
        made = Manifest(**said)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{path} cannot be read ({type(error).__name__}: {error}); get the bundle again"
        ) from error
    for name in members:
        _check_name(path, name)
    if made.level not in LEVELS:
        raise StoreError(f"{path} speaks of a level {made.level!r}; there are {', '.join(LEVELS)}")
    return made


def verify(folder: Path, manifest: Manifest) -> None:
    """Read every file of a bundle and compare it with the manifest.

    Raises
    ------
    StoreError
        A file is missing, or has other bytes; all such files are counted, the first is named.
    """
    wrong = [name for name, member in sorted(manifest.members.items()) if not _whole(folder / name, member)]
    if wrong:
        state = "has other bytes than the manifest says" if (folder / wrong[0]).is_file() else "is missing"
        more = f", and {len(wrong) - 1} more files" if wrong[1:] else ""
        raise StoreError(f"{folder / wrong[0]} {state}{more}; nothing was imported: get the bundle again")


def _whole(path: Path, member: Member) -> bool:
    return path.is_file() and path.stat().st_size == member.size and file_hash(path) == member.sha256


def _check_age(path: Path, found: Mapping[str, Any]) -> None:
    known = found["version"] <= VERSION and found["schema"] in REVISIONS
    if not known:
        raise NewSchemaError(
            f"{path}: a bundle of format {found['version']} and schema {found['schema']}, newer than this "
            f"micdb ({package_version()}) knows ({VERSION} and {HEAD}); upgrade the program with: "
            "pip install --upgrade micdb"
        )


def _check_name(path: Path, name: str) -> None:
    """Refuse a file that would lie outside of the bundle."""
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or "\\" in name or not parts.parts:
        raise StoreError(f"{path} names the file {name!r}, which is not below the bundle; do not trust it")

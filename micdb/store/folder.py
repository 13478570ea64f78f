"""The folder of a database's files, and the note that says whose they are when the catalog is on a server."""

from __future__ import annotations

import json
from pathlib import Path

from micdb.errors import NotFoundError, StoreError, UsageError
from micdb.store.files import OBJECTS, PARTS, STAGING, fsync_file

FOLDERS = (OBJECTS, PARTS, "indexes", STAGING)
NOTE = "catalog.json"  # address of the catalog and identity of the database; only where it is on a server


def make_folders(root: Path) -> None:
    """Make the folders of a new database.

    Raises
    ------
    UsageError
        `root` exists and has something in it; nothing of that is touched.
    """
    if root.exists() and not (root.is_dir() and _unused(root)):
        what = "a folder with files in it" if root.is_dir() else "a file"
        raise UsageError(f"{root} is {what} already; give a new name, or open it with --db {root}")
    for name in FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)


def _unused(root: Path) -> bool:
    """Whether a folder is empty, or has just what an interrupted `make_folders` leaves."""
    names = {path.name for path in root.iterdir()}
    return names <= set(FOLDERS) and not any(any((root / name).iterdir()) for name in names - {STAGING})


def remove_folders(root: Path) -> None:
    """Undo `make_folders` and `write_note`; a folder with anything else in it stays."""
    (root / NOTE).unlink(missing_ok=True)
    for folder in (*(root / name for name in FOLDERS), root):
        try:
            folder.rmdir()
        except OSError:
            continue


def write_note(root: Path, *, address: str, identity: str) -> None:
    """Write whose files these are.

    Parameters
    ----------
    root
        The folder.
    address
        Of the catalog, without a password: for people who find the folder.
    identity
        The same text is in the catalog: the two belong together.
    """
    path = root / NOTE
    path.write_text(json.dumps({"catalog": address, "identity": identity}, indent=1) + "\n", encoding="utf-8")
    fsync_file(path)


def read_note(root: Path) -> dict[str, str] | None:
    """Return address and identity of the catalog on a server, or None where there is no note.

    Raises
    ------
    StoreError
        It cannot be read.
    """
    try:
        found = json.loads((root / NOTE).read_text(encoding="utf-8"))
        return {"catalog": str(found["catalog"]), "identity": str(found["identity"])}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{root / NOTE} cannot be read ({error}); restore it from a backup") from error


def check_note(root: Path, *, address: str, identity: str) -> None:
    """Refuse a folder that does not hold the files of a catalog.

    Raises
    ------
    NotFoundError
        There is no such folder.
    UsageError
        It is another database's.
    """
    mend = 'say where they are on this machine with folder="DIR", or in MICDB_FOLDER'
    if not root.is_dir():
        raise NotFoundError(f"{address} keeps its files in {root}, which is not there: mount it, or {mend}")
    note = read_note(root)
    if note is None:
        raise UsageError(f"{root} does not hold the files of {address}: there is no {NOTE} in it; {mend}")
    if note["identity"] != identity:
        raise UsageError(f"{root} holds the files of {note['catalog']}, not those of {address}; {mend}")

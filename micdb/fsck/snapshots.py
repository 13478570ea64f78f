"""Checks of snapshots: each row has its file, each file its row, and the files are whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from micdb import snapshots
from micdb.catalog.engine import frozen_engine, reading
from micdb.errors import CatalogError
from micdb.fsck.report import Finding, Scope
from micdb.fsck.storage import quarantine
from micdb.store.files import QUARANTINE


def check_snapshots(scope: Scope) -> Iterator[Finding]:
    """Find snapshots without a file (deep: with a damaged one) and files that are no snapshot's."""
    folder = scope.root / snapshots.SNAPSHOTS
    files = sorted(folder.iterdir()) if folder.is_dir() else []  # before the rows: see `check_files`
    known = {snapshots.path_of(scope.root, one.name): one.name for one in snapshots.listed(scope.engine)}
    for path in files:
        if path not in known:
            yield _unknown(scope, path)
    for path, name in known.items():
        if not path.is_file():
            message = f"the snapshot {name!r} has lost its file; restore it from a backup, or drop it"
            yield Finding("error", "snapshot-missing", _named(scope, path), message)
        elif scope.deep and (trouble := _trouble(path, name)) is not None:
            message = f"the snapshot {name!r} is damaged ({trouble}); restore it from a backup, or drop it"
            yield Finding("error", "snapshot-damaged", _named(scope, path), message)


def _unknown(scope: Scope, path: Path) -> Finding:
    name = _named(scope, path)
    message = f"no row names this file; move it to {QUARANTINE}/ with: micdb fsck --repair"
    found = Finding("warning", "unknown-file", name, message)
    return found.mended() if scope.repair and quarantine(scope, name) else found


def _named(scope: Scope, path: Path) -> str:
    return path.relative_to(scope.root).as_posix()


def _trouble(path: Path, name: str) -> str | None:
    engine = frozen_engine(path, name)
    try:
        with reading(engine) as connection:
            said = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        return None if said == "ok" else str(said)
    except CatalogError as error:
        return str(error)
    finally:
        engine.dispose()

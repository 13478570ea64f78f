"""Queries as JSON files: written in one step, read by this micdb and later ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from micdb.errors import NotFoundError, UsageError
from micdb.provenance import uuid7
from micdb.store.files import fsync_file, move

FORMAT = "micdb query"
VERSION = 1


def write(query: Mapping[str, Any], path: str | PathLike[str]) -> Path:
    """Write a query tree to a file, replacing what was there; returns the file.

    Raises
    ------
    NotFoundError
        The folder is not there.
    """
    target = Path(path).absolute()
    if not target.parent.is_dir():
        raise NotFoundError(f"no folder {target.parent} to save the query in; make it first")
    text = json.dumps({"format": FORMAT, "version": VERSION, **query}, ensure_ascii=False, indent=1)
    part = target.with_name(f".{target.name}.{uuid7()}")
    try:
        part.write_text(f"{text}\n", encoding="utf-8")
        fsync_file(part)
        move(part, target)
    finally:
        part.unlink(missing_ok=True)
    return target


def read(source: str | PathLike[str] | Mapping[str, Any]) -> dict[str, Any]:
    """Return the query tree of a file, or of what such a file holds.

    Raises
    ------
    NotFoundError
        There is no such file.
    UsageError
        It holds no query, or one of a later micdb.
    """
    if isinstance(source, Mapping):
        tree, name = dict(source), "this mapping"
    else:
        path = Path(source)
        name = str(path)
        if not path.is_file():
            raise NotFoundError(f"no file {path}; save a query with: frame.save({str(path)!r})")
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path} is no JSON ({error}); save a query with: frame.save(path)") from None
    if not isinstance(tree, dict) or not {"base", "verbs"} <= set(tree):
        raise UsageError(f"{name} holds no query, which has base and verbs; save one with: frame.save(path)")
    found, version = tree.pop("format", FORMAT), tree.pop("version", VERSION)
    if found != FORMAT:
        raise UsageError(f"{name} says that it is {found!r}, not {FORMAT!r}")
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise UsageError(
            f"{name} is a query of version {version!r} and this micdb reads up to {VERSION}: upgrade micdb"
        )
    return tree

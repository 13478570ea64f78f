"""The index of motif search in ``indexes/``: atoms with their neighbours, derived from the parts of a run.

A run has several index files, each with all the atoms of some parts, which it names: that is its water-mark.
What no file covers is read from its parts and written as one more file; many small files become one. A file
that is damaged, or names a part that is gone, is not used. A folder that cannot be written costs time only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from micdb.errors import StoreError
from micdb.query.context import Context
from micdb.query.facts.parts import Part, holding
from micdb.query.motif.atoms import ARRAYS, Atoms, collect, read_atoms
from micdb.store.files import PARTS
from micdb.store.indexes import INDEXES, SUFFIX, index_path, read_index, write_index
from micdb.store.parts import read_metadata

TABLE = "atoms"
KIND = "motif"
LAYOUT = 1  # of the arrays; a file of another layout is made again
LARGEST = 2_000_000  # atoms in a file, unless one part has more
SMALL = LARGEST // 4
MANY = 8  # small files before they become one


@dataclass(frozen=True, slots=True)
class Held:
    """What an index file says of itself.

    Parameters
    ----------
    path
        The file.
    parts
        Names of the parts whose atoms it has.
    rows
        How many atoms.
    """

    path: Path
    parts: frozenset[str]
    rows: int


def load(context: Context, run: str, parts: Sequence[Part], images: npt.NDArray[np.int64]) -> list[Atoms]:
    """Return the atoms of some images, and of others, from index files; make the files that are missing.

    Parameters
    ----------
    context
        Surroundings of the query.
    run
        ``uid`` of the run.
    parts
        All live parts with its atoms.
    images
        ``pk`` of micrographs; what has none of them is not read.

    Raises
    ------
    StoreError
        A part is missing or damaged.
    """
    live = {one.path.name: one.path for one in parts}
    asked = {one.path.name for one in holding(parts, np.unique(images))}
    held = _usable(context.root, run, live.keys())
    small = [one for one in held if one.rows < SMALL]
    if len(small) < MANY:
        small = []
    asked |= {name for one in small for name in one.parts}
    found, covered = [], set[str]()
    for one in held:
        if one in small:
            continue
        atoms = None if asked.isdisjoint(one.parts) else _opened(one.path)
        if atoms is not None or asked.isdisjoint(one.parts):
            covered |= one.parts
        found += [] if atoms is None else [atoms]
    missing = [path for name, path in live.items() if name in asked - covered]
    found += [_made(context, run, group) for group in _groups(missing)]
    for one in small:
        _remove(one.path)
    return found


def _usable(root: Path, run: str, live: Iterable[str]) -> list[Held]:
    """Return the index files of a run that share no part; those whose parts are gone are removed."""
    found: list[Held] = []
    covered: set[str] = set()
    for path in sorted((root / INDEXES).glob(f"{run}.{TABLE}.*.{KIND}{SUFFIX}")):
        try:
            held = _header(path, *_state(path))
        except (OSError, StoreError):
            continue
        if held is None or not all((root / PARTS / TABLE / name).is_file() for name in held.parts):
            _remove(path)
        elif covered.isdisjoint(held.parts) and held.parts <= set(live):
            found.append(held)
            covered |= held.parts
    return found


def _state(path: Path) -> tuple[int, int, int]:
    state = path.stat()
    return state.st_mtime_ns, state.st_size, state.st_ino


@lru_cache(maxsize=1024)
def _header(path: Path, *_: int) -> Held | None:
    """Return what a file says of itself, without reading it; None where it has another layout."""
    about = read_index(path, unchecked=ARRAYS).about
    if about.get("layout") != LAYOUT:
        return None
    return Held(path, frozenset(about["parts"]), about["rows"])


def _opened(path: Path) -> Atoms | None:
    """Return the atoms of a file; None where it is damaged."""
    try:
        return _read(path, *_state(path))
    except (OSError, StoreError):
        return None


@lru_cache(maxsize=256)
def _read(path: Path, *_: int) -> Atoms:
    """Return the atoms of a file; its checksums are compared once in the life of a process."""
    file = read_index(path)
    return Atoms(file.arrays, tuple(file.about["species"]), tuple(file.about["parts"]))


def _groups(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Yield the parts that go into one file."""
    group: list[Path] = []
    rows = 0
    for path in paths:
        more = read_metadata(path).num_rows
        if group and rows + more > LARGEST:
            yield group
            group, rows = [], 0
        group.append(path)
        rows += more
    if group:
        yield group


def _made(context: Context, run: str, paths: Sequence[Path]) -> Atoms:
    names = [path.name for path in paths]
    atoms = collect(read_atoms(paths), names)
    about = {
        "kind": KIND, "layout": LAYOUT, "run": run, "table": TABLE, "parts": names, "rows": atoms.n,
        "species": list(atoms.species),
    }  # fmt: skip
    path = index_path(context.root, run, TABLE, "\n".join(names), KIND)
    try:
        write_index(context.root, path, about, atoms.arrays)
    except OSError:
        return atoms  # it is in memory anyway
    return _opened(path) or atoms


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return

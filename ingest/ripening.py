"""When is a file that an instrument writes complete? Pure logic: no clock, no disk, no threads.

A file is taken for complete when its length and time of change have stayed the same for `settle` seconds
and no other part of it changed meanwhile: a ``.tif`` waits for the ``.txt`` that is written after it. A kind
of file that never comes in parts need not wait so long where the system told that its writer closed it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from micdb.ingest.arrival import State

# Hold all there is to know of an image, whoever writes them; a .tif or .mrc may have a text beside it.
SINGLE = frozenset(
    (
        ".czi", ".dm3", ".dm4", ".dm5", ".emd", ".gwy", ".hspy", ".ibw", ".jpk", ".jpk-qi-image",
        ".nd2", ".prz", ".sm4", ".spm", ".stp", ".sxm", ".top", ".zip", ".tgz",
    )
)  # fmt: skip
QUICK = 0.25  # [s] a closed file of those kinds must stay unchanged
PATIENCE = 10  # times `settle` a complete file waits for parts that keep changing
PAUSES = (5.0, 15.0, 45.0)  # [s] after which a file that cannot be read is tried again
_TEMPORARY = re.compile(
    r"\A(\.|~\$)|(~|\.(tmp|temp|part|partial|filepart|crdownload|download|swp|lock))\Z", re.IGNORECASE
)


def is_single(path: Path) -> bool:
    """Return whether a kind of file never comes in parts."""
    return path.suffix.lower() in SINGLE


def is_temporary(name: str) -> bool:
    """Return whether a file's name says that it is hidden, or still has to get its real name."""
    return _TEMPORARY.search(name) is not None


@dataclass(slots=True)
class _Waiting:
    state: State
    since: float  # [s] of the caller's clock: when it was last seen to change
    closed: bool = False  # by its writer, and not changed since
    tries: int = 0
    due: float = 0.0  # [s] of the caller's clock: not to be tried before


class Ripening:
    """The files that are not in yet, and what is known of each.

    Parameters
    ----------
    settle
        How long a file must stay unchanged [s].
    """

    def __init__(self, settle: float) -> None:
        self._settle = settle
        self._waiting: dict[Path, _Waiting] = {}
        self._done: dict[str, State] = {}  # as it was when it was taken

    def __len__(self) -> int:
        return len(self._waiting)

    def look(self, path: Path, state: State | None, now: float, *, age: float = 0.0) -> bool:
        """Note how a file looks; return whether it looks as it did.

        Parameters
        ----------
        path
            The file.
        state
            Its length and time of change; None where it is gone.
        now
            The clock [s], any that never goes back.
        age
            How long ago it changed last, as far as is known when it is first seen [s].
        """
        if state is None:
            self._waiting.pop(path, None)
            return False
        one = self._waiting.get(path)
        if one is not None and one.state == state:
            return True
        if one is None and self._done.get(str(path)) == state:
            return True
        since = now - age if one is None else now
        self._waiting[path] = _Waiting(state, since)
        return False

    def tell(self, path: Path, state: State | None, now: float, *, closed: bool) -> None:
        """Note that the system told of a change `now`, or that a writer closed the file."""
        self.look(path, state, now)
        one = self._waiting.get(path)
        if one is not None:
            one.since, one.closed = max(one.since, now), closed

    def ripe(self, now: float) -> list[Path]:
        """Return the files that are complete, the parts of one beside each other."""
        quiet = [path for path, one in self._waiting.items() if self._is_quiet(path, one, now)]
        if not quiet:
            return []
        moving = _Parts(path for path, one in self._waiting.items() if now - one.since < self._settle)
        return sorted(path for path in quiet if self._is_whole(path, moving, now))

    def _is_quiet(self, path: Path, one: _Waiting, now: float) -> bool:
        quick = one.closed and is_single(path)
        return now >= one.due and now - one.since >= (min(QUICK, self._settle) if quick else self._settle)

    def _is_whole(self, path: Path, moving: _Parts, now: float) -> bool:
        long = now - self._waiting[path].since >= PATIENCE * self._settle
        return long or is_single(path) or not moving.has_part_of(path)

    def done(self, path: Path) -> None:
        """Note that a file was taken: it comes again only when it changes."""
        one = self._waiting.pop(path, None)
        if one is not None:
            self._done[str(path)] = one.state

    def failed(self, path: Path, now: float) -> bool:
        """Note that a file could not be read; return whether that is final, until it changes."""
        one = self._waiting.get(path)
        if one is not None and one.tries < len(PAUSES):
            one.due = now + PAUSES[one.tries]
            one.tries += 1
            return False
        self.done(path)
        return True

    def forget(self, paths: Iterable[Path]) -> None:
        """Forget that files were taken: they come again when they are looked at."""
        for path in paths:
            self._done.pop(str(path), None)

    def doubtful(self) -> list[Path]:
        """Return the files that could not be read and would be tried again."""
        return sorted(path for path, one in self._waiting.items() if one.tries)


class _Parts:
    """Files in which the parts of a file are found by name.

    Parts lie in one folder, differ in extension, and the stem of one is that of the other, or its beginning
    up to a sign: ``a.tif`` and ``a.txt``, ``a.emi`` and ``a_1.ser``, ``a.tif`` and ``a-tif.hdr``.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._by_stem: dict[tuple[Path, str], set[str]] = {}
        self._by_beginning: dict[tuple[Path, str], set[str]] = {}
        for path in paths:
            kind, names = path.suffix.lower(), beginnings(path.name)
            self._by_stem.setdefault((path.parent, names[0]), set()).add(kind)
            for name in names:
                self._by_beginning.setdefault((path.parent, name), set()).add(kind)

    def has_part_of(self, path: Path) -> bool:
        """Return whether there is another part of a file."""
        names = beginnings(path.name)
        kinds = set(self._by_beginning.get((path.parent, names[0]), ()))
        kinds.update(*(self._by_stem.get((path.parent, name), ()) for name in names))
        return bool(kinds - {path.suffix.lower()})


@lru_cache(maxsize=1024)
def beginnings(name: str) -> tuple[str, ...]:
    """Return the stem of a file's name, and each beginning of it that ends before a sign."""
    stem = os.path.splitext(name)[0]
    signs = [found.start() for found in re.finditer(r"[\W_]+", stem)]
    return (stem, *(stem[:at] for at in reversed(signs) if at))


def batches(paths: Iterable[Path], size: int) -> Iterator[list[Path]]:
    """Yield sorted files a few at a time; what may be parts of one file is not torn apart."""
    batch: list[Path] = []
    for path in paths:
        if len(batch) >= size and not _may_belong(batch[-1], path):
            yield batch
            batch = []
        batch.append(path)
    if batch:
        yield batch


def _may_belong(one: Path, other: Path) -> bool:
    first, second = beginnings(one.name), beginnings(other.name)
    same = first[0] in second or second[0] in first
    return same and one.parent == other.parent and one.suffix.lower() != other.suffix.lower()

"""Databases of images that a test describes itself: a reader of a made-up format takes any scan in."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pytest

import micdb
from micdb.database import Database
from micdb.ingest.reader import Format, Reader, readers
from micdb.records import Axis, Pixels, Scan, Source

MAGIC = b"described scan\n"


class Described(Reader):
    """Reads files that hold the fields of a `Scan`, pickled."""

    name = "described"
    formats = (Format("described", "a test's own words", (".described",)),)

    @classmethod
    def sniff(cls, path, head):
        return 3 if head.startswith(MAGIC) else 0

    def read(self, path):
        given = dict(_given(path))
        pixels = given.pop("pixels")
        held = Pixels(pixels.shape, str(pixels.dtype), partial(_load, path), partial(_frame, path))
        return [Scan(pixels=held, source=Source(str(path), "described", self.name, "1"), **given)]


@lru_cache(maxsize=1)  # frame by frame, a stack would be unpickled as often as it has frames
def _given(path):
    return pickle.loads(Path(path).read_bytes().removeprefix(MAGIC))


def _load(path):
    return _given(path)["pixels"]


def _frame(path, i):
    pixels = _load(path)
    last = 3 if _given(path)["axes"][-1].name == "colour" else 2
    return pixels.reshape(-1, *pixels.shape[-last:])[i]


@dataclass
class Lab:
    """A database, and a folder of files that went into it."""

    db: Database
    folder: Path
    count: int = field(default=0)

    def add(self, pixels, *, axes=None, leading=(), colour=False, name="grain boundary", **given):
        """Ingest one described image; return its uid."""
        if axes is None:
            names = [*leading, "y", "x", *(["colour"] if colour else [])]
            axes = tuple(Axis(named, size) for named, size in zip(names, pixels.shape, strict=True))
        self.count += 1
        path = self.folder / f"scan{self.count}.described"
        content = {"pixels": pixels, "axes": axes, "name": name, **given}
        path.write_bytes(MAGIC + pickle.dumps(content))
        before = set(self.uids())
        self.db.ingest(path)
        (new,) = set(self.uids()) - before
        return new

    def uids(self):
        return self.db.images.to_pandas()["uid"].tolist()

    def image(self, pixels, **given):
        """Ingest one described image; return it as stored."""
        return self.db.image(self.add(pixels, **given))


@pytest.fixture(scope="session")
def empty(tmp_path_factory):
    """Return an empty database to copy: making one takes longer than most tests."""
    root = tmp_path_factory.mktemp("empty") / "empty.micdb"
    micdb.init(root).close()
    return root


@pytest.fixture
def lab(empty, tmp_path, monkeypatch):
    monkeypatch.setitem(readers()._loaded, "described", Described)
    scans = tmp_path / "scans"
    scans.mkdir()
    shutil.copytree(empty, tmp_path / "lab.micdb")
    with micdb.open(tmp_path / "lab.micdb") as db:
        yield Lab(db, scans)


@pytest.fixture
def nm():
    """Return ``nm(48, 64)``: calibrated axes, by default 0.5 nm along y and 0.25 nm along x."""

    def made(*sizes, steps=(0.5, 0.25), names=("y", "x"), unit="nm", offset=0.0):
        return tuple(
            Axis(name, size, step, offset, unit) for name, size, step in zip(names, sizes, steps, strict=True)
        )

    return made


@pytest.fixture
def ramp():
    """Return ``ramp(shape, dtype)``: an array whose values are all different where the type allows."""

    def made(shape, dtype="uint16"):
        count = int(np.prod(shape))
        values = np.arange(count).reshape(shape)
        values = values + 1j * values[..., ::-1] if np.dtype(dtype).kind == "c" else values
        return values.astype(dtype)

    return made

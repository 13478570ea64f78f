"""A small populated place: images of two sizes and the fake extractor."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest

from micdb import fsck
from micdb.populate.extractor import extractors
from micdb.testing.fakes import FakeExtractor

emd = SimpleNamespace(**run_path(str(Path(__file__).parents[2] / "data" / "emd" / "make.py")))
SMALL, LARGE = (6, 9), (12, 10)


def write_images(path: Path, count: int, *, first: int = 0) -> Path:
    """Write one file with `count` images; every fourth is too small for the fake extractor."""
    random = np.random.default_rng(first)
    groups = {}
    for number in range(first, first + count):
        shape = SMALL if number % 4 == 3 else LARGE
        pixels = random.integers(0, 4000, shape).astype(np.int16)
        axes = [(name, "[n_m]", np.arange(size) * 0.5) for name, size in zip("yx", shape, strict=True)]
        groups[f"image{number:03d}"] = (pixels, axes)
    return emd.write_ncem(path, groups)


@pytest.fixture
def write():
    return write_images


@pytest.fixture(autouse=True)
def fake():
    return extractors().register(FakeExtractor, name="fake")


@pytest.fixture
def db(tmp_path, new_database):
    """A database of eight images, two of them too small; once in a folder, once on a server."""
    with new_database(tmp_path / "lab.micdb") as opened:
        opened.ingest(write_images(tmp_path / "first.emd", 8))
        yield opened
        report = fsck.check(opened.engine, opened.root, deep=True)
        assert report.clean, report.open

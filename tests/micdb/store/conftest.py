"""One way to make a scan and its file, for every test of the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from micdb.records import Axis, Pixels, Scan, Source
from micdb.store.nexus import write_micrograph
from micdb.store.thumbnail import thumbnail

Write = Callable[..., Path]
LEADING = ("time", "scan_y", "scan_x")


def make_scan(pixels: np.ndarray, source: Path, **given: Any) -> Scan:
    colour = given.pop("colour", False)
    names = [*LEADING[: pixels.ndim - (3 if colour else 2)], "y", "x", *(["colour"] if colour else [])]
    axes = given.pop("axes", None) or tuple(
        Axis(name, size) for name, size in zip(names, pixels.shape, strict=True)
    )
    return Scan(
        Pixels(pixels.shape, str(pixels.dtype), lambda: pixels),
        axes,
        given.pop("name", "grain boundary"),
        Source(str(source), "dm3", "dm", "15.4.0"),
        **given,
    )


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "scan.dm3"
    path.write_bytes(b"the vendor's bytes")
    return path


@pytest.fixture(scope="session")
def write(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Write:
    """Return ``write(pixels, **scan fields)``: the path of a new micrograph file."""
    folder = tmp_path_factory.mktemp("written")
    count = iter(range(1_000_000))

    def written(pixels: np.ndarray, **given: Any) -> Path:
        scan = make_scan(pixels, source, **given)
        path = folder / f"{next(count)}.nxs"
        write_micrograph(path, scan, pixels, thumbnail=thumbnail(pixels, colour=scan.colour))
        return path

    return written

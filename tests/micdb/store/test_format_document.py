"""docs/format.md and a written file say the same, in both directions."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import numpy as np

from micdb.records import SETTINGS, Axis, Quantity
from micdb.store import layout

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "format.md"


def documented() -> dict[str, bool]:
    """Return every path of the table, and whether it may be absent."""
    rows = re.findall(r"^\| `(/[^`]*)` \| ([^|]*) \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    return {path: "optional" in kind for path, kind in rows}


def walked(path: Path) -> set[str]:
    """Return every group, dataset and attribute, the names of axes and settings generalised."""
    found: set[str] = set()
    with h5py.File(path) as file:
        axes = list(file[layout.IMAGE].attrs["axes"])

        def visit(name: str, item: h5py.HLObject) -> None:
            name = f"/{name}".rstrip("/") or "/"
            folder, _, last = name.rpartition("/")
            if folder == "/entry/image" and (last in axes or re.fullmatch(r"dim\d+", last)):
                name = f"{folder}/{'<axis>' if last in axes else 'dim<n>'}"
            elif folder == "/entry/instrument":
                name = f"{folder}/<setting>"
            found.add(name)
            if not name.endswith("dim<n>"):  # the same object as its axis
                found.update(f"{name}@{attribute(key)}" for key in item.attrs)

        def attribute(key: str) -> str:
            return "<axis>_indices" if key.removesuffix("_indices") in axes else key

        def descend(group: h5py.Group, prefix: str) -> None:
            for key in group:  # every link, where visititems shows an object once
                visit(f"{prefix}{key}", group[key])
                if isinstance(group[key], h5py.Group):
                    descend(group[key], f"{prefix}{key}/")

        visit("", file)
        descend(file, "")
    return {path.replace("//", "/") for path in found}


def full(write):
    axes = (Axis("time", 2, 0.5, 0.0, "s"), Axis("y", 4, 1.0, 0.0, "nm"), Axis("x", 5, 1.0, 0.0, "nm"))
    return write(
        np.ones((2, 4, 5), np.complex64),
        axes=axes,
        channel="Z",
        modality="STM",
        intensity_unit="V",
        acquired="2020-01-01T00:00:00",
        acquired_raw="1.1.20",
        settings={name: Quantity(1.0, unit, "file", "k = v") for name, unit in SETTINGS.items()},
        original={"a": 1},
        problems=("no scale",),
    )


def test_everything_in_a_full_file_is_documented_and_the_reverse(write):
    assert walked(full(write)) == set(documented())


def test_a_bare_file_lacks_exactly_what_is_optional(write):
    found = walked(write(np.ones((4, 5), np.uint8)))
    assert found <= set(documented())
    missing = {path for path, optional in documented().items() if not optional} - found
    assert {path for path in missing if "<setting>" not in path and "imaginary" not in path} == set()


def test_the_session_of_the_document_reads_a_file(write):
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    names: dict = {}
    exec(code, names)
    pixels = np.arange(20, dtype=np.uint16).reshape(4, 5)
    read, axes = names["read"](write(pixels, axes=(Axis("y", 4), Axis("x", 5, 0.1, 2.0, "um"))))
    np.testing.assert_array_equal(read, pixels)
    np.testing.assert_allclose(axes["x"][0], 2.0 + 0.1 * np.arange(5))
    assert (axes["x"][1], axes["y"][1]) == ("um", None)


def test_the_version_is_the_one_documented():
    assert f"version of this layout: {layout.FORMAT_VERSION} |" in DOCUMENT.read_text(encoding="utf-8")

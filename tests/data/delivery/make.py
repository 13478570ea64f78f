"""A small delivery: microscope files of three formats, a samples sheet and its map."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np

DATA = Path(__file__).parents[1]
tiff, mrc, emd = (
    SimpleNamespace(**run_path(str(DATA / name / "make.py"))) for name in ("tiff", "mrc", "emd")
)

MAP = """
file = "file"
sample = "sample"
material = { value = "WS2" }

[pixel_size]
column = "pixel"
unit = "nm"

[[step]]
kind = "anneal"
temperature = { column = "T", unit = "degC" }

[property.hardness]
column = "HV"
unit = "GPa"

[label.grade]
column = "grade"
"""


def pixels(seed: int, shape: tuple[int, ...] = (16, 20)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4000, shape).astype(np.int16)


def sheet(rows: list[str]) -> str:
    return "\n".join(["file,sample,pixel,T,HV,grade", *rows, ""])


def write(folder: Path, *, files: int, images: int) -> Path:
    """Write files, every third an EMD of `images` images, and samples.csv with map.toml beside them."""
    folder.mkdir()
    rows = []
    for number in range(files):
        name = f"{number:02d}"
        if number % 3 == 0:
            name += ".emd"
            groups = {f"image{i:02d}": (pixels(1000 * number + i), _axes()) for i in range(images)}
            emd.write_ncem(folder / name, groups)
        elif number % 3 == 1:
            name += ".tif"
            tiff.write(folder / name, pixels(1000 * number).astype(np.uint16))
        else:
            name += ".mrc"
            mrc.write(folder / name, pixels(1000 * number))
        rows.append(f"{name},s{number % 2},0.2,{800 + number % 2},{number % 2 + 1}.5,g{number}")
    (folder / "samples.csv").write_text(sheet(rows))
    (folder / "map.toml").write_text(MAP)
    return folder


def _axes() -> list[tuple[str, str, np.ndarray]]:
    return [("y", "[n_m]", np.arange(16) * 0.2), ("x", "[n_m]", np.arange(20) * 0.2)]

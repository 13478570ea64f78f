"""Simulated graphene in a database, and a detector that says what is planted, well or badly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from scipy.spatial import cKDTree

from micdb.embed import graph
from micdb.embed.motif_key import motif_key
from micdb.embed.simulate.graphene import graphene
from micdb.embed.simulate.stem import StemImage, adf_image
from micdb.populate.extractor import Card, Extraction, Extractor
from micdb.populate.facts import DEFECTS
from micdb.records import Picture

emd = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "emd" / "make.py")))

PIXEL = 0.02  # [nm]
SYMBOL = {6: "C", 14: "Si"}


class PlantedDetector(Extractor):
    """Answers with the defects of simulated images; `truth` maps an image to its rows."""

    card: ClassVar[Card] = Card(
        name="planted",
        version="1",
        summary="Says what is planted",
        parameters={"edition": 1},
        licence="CC0-1.0",
        reference="none",
        scale="any",
        planted={
            kind: {"planted": 400, "found": 380, "false": 4, "area_nm2": 40000.0}
            for kind in ("substitution", "vacancy")
        },
    )
    schemas: ClassVar = {"defects": DEFECTS}
    truth: ClassVar[dict[bytes, list[dict[str, Any]]]] = {}  # by the bytes of the pixels

    def extract(self, pictures: Iterable[Picture]) -> Iterator[Extraction]:
        """Yield the rows of each picture."""
        for picture in pictures:
            known = self.truth[picture.pixels.tobytes()]
            rows = [{"image": picture.image, "frame": 0, **row} for row in known]
            height, width = picture.pixels.shape[-2:]
            area = height * width * PIXEL**2
            tables = {"defects": pa.Table.from_pylist(rows, schema=DEFECTS)}
            yield Extraction(
                picture.image, tables, {"n_defects": (len(rows), None), "analysed_area": (area, "nm**2")}
            )


def sheets(path: Path, planted: list[dict[str, int]], *, first: int = 0, counts: float = 40.0) -> list[str]:
    """Write one file with an image for each set of defects; return the names of the images."""
    groups = {}
    for number, defects in enumerate(planted, start=first):
        sheet = graphene((4.0, 4.0), seed=number, rotation=17.0 * number, defects=defects)
        image = adf_image(sheet, (200, 200), pixel_size=PIXEL, seed=number, counts=counts)
        axes = [(name, "[n_m]", np.arange(200) * PIXEL) for name in "yx"]
        name = f"sheet{number:03d}"
        groups[name] = (image.image, axes)
        PlantedDetector.truth[image.image.tobytes()] = rows_of(image)
    emd.write_ncem(path, groups)
    return list(groups)


def rows_of(image: StemImage) -> list[dict[str, Any]]:
    """Return what a perfect detector says of an image."""
    species = np.array([SYMBOL[int(one)] for one in image.number])
    i, j, _ = graph.neighbours(image.xy, 0.21)
    return [_row(image, one, species, (i, j)) for one in image.defects]


def _row(image, planted, species, bonds):
    (i, j), centre, atoms = bonds, np.array(planted.xy), planted.atoms
    near = cKDTree(image.xy).query_ball_point(centre, 0.45)
    foreign = [atom for atom in atoms if species[atom] != "C"] or list(atoms)
    touching = set(foreign) | {int(b) for a, b in zip(i, j, strict=True) if a in foreign}
    touching |= {int(a) for a, b in zip(i, j, strict=True) if b in foreign}
    members = sorted(touching)
    place = {atom: number for number, atom in enumerate(members)}
    kept = [(place[a], place[b]) for a, b in zip(i.tolist(), j.tolist(), strict=True) if {a, b} <= touching]
    ends = np.array(kept, int).reshape(-1, 2).T
    core = [atom in foreign for atom in members]
    key = motif_key([str(species[atom]) for atom in members], *ends, core)
    n_foreign = sum(species[atom] != "C" for atom in members)
    formula = f"Si{n_foreign}C{len(members) - n_foreign}" if n_foreign else "V1"
    sites = [
        {"x_nm": float(x), "y_nm": float(y), "species": str(species[atom])}
        for atom, (x, y) in zip(near, image.xy[near] - centre, strict=True)
    ]
    x_px, y_px = (centre / image.pixel_size).tolist()
    vector = np.zeros(8)
    vector[:3] = len(foreign), len(members), n_foreign
    return {
        "kind": planted.kind, "x_px": x_px, "y_px": y_px, "x_nm": float(centre[0]), "y_nm": float(centre[1]),
        "box": [x_px - 12, y_px - 12, 24.0, 24.0], "score": 0.9, "atoms": foreign, "formula": formula,
        "key": key, "descriptor": (vector + 0.01 * np.sin(np.arange(8) * (x_px + y_px))).tolist(),
        "structure": sites,
    }  # fmt: skip

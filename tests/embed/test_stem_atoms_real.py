"""`stem-atoms` on real images of silicon in graphene, none of which it was trained on.

The whole set is scored by ``benchmarks/atoms_real.py``; here every sixth image of 256 pixels.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.spatial import cKDTree

from micdb.embed.extractors.stem_atoms import StemAtoms
from micdb.records import Picture


@pytest.fixture(scope="module")
def matched(shared):
    folder = shared / "data" / "micrographs" / "graphene_si_library"
    labels = pd.read_csv(folder / "labels.csv").query("size_px == 256").iloc[::6].set_index("image")
    atoms = pd.read_csv(folder / "atoms.csv")
    extractor, rows = StemAtoms(species="C Si"), []
    for name, label in labels.iterrows():
        pitch = label["pm_per_px"] / 1e3
        pixels = np.asarray(Image.open(folder / name), dtype=np.float32)
        (answer,) = extractor.extract([Picture(0, pixels[None], (pitch, pitch), "STEM", None, name)])
        found = answer.tables["atoms"].to_pandas()
        truth = atoms[atoms.image == name]
        off, nearest = cKDTree(found[["x_nm", "y_nm"]]).query(truth[["x", "y"]].to_numpy() * pitch)
        rows.append(truth.assign(off=off, said=found["species"].to_numpy()[nearest]))
    return pd.concat(rows)


def test_labelled_atoms_are_found(matched):
    assert len(matched) > 100
    assert (matched.off < 0.05).mean() > 0.9  # [nm]
    assert matched.off.median() < 0.012


def test_silicon_and_carbon_are_told_apart(matched):
    found = matched[matched.off < 0.05]
    right = (found.said == found.element).groupby(found.element).mean()
    assert set(right.index) == {"C", "Si"}
    assert right.min() > 0.93

"""Score `stem-atoms` on real images of silicon in graphene: ``python benchmarks/atoms_real.py FOLDER``.

The folder holds ``labels.csv`` (image, pm_per_px), ``atoms.csv`` (image, x, y, element) and the images: the
library of Ziatdinov et al., Sci. Adv. 5, eaaw8989 (2019), whose labels are of the atoms of defects only.
Nothing was trained on it. Wrong atoms cannot be counted, since most atoms carry no label.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from scipy.spatial import cKDTree

from micdb.embed.extractors.stem_atoms import StemAtoms
from micdb.records import Picture, Refusal

NEAR = 0.05  # [nm]
BONDED = 0.21  # [nm] silicon and carbon: well below the 0.246 nm of second neighbours


def measure(folder: Path) -> pd.DataFrame:
    """Return one row per labelled atom: its element, the one found for it, and their distance [nm]."""
    labels = pd.read_csv(folder / "labels.csv").set_index("image")
    extractor = StemAtoms(species="C Si")
    rows: list[dict[str, object]] = []
    pairs: list[pd.DataFrame] = []
    for name, atoms in pd.read_csv(folder / "atoms.csv").groupby("image"):
        pitch = labels.loc[name, "pm_per_px"] / 1e3
        pixels = np.asarray(Image.open(folder / str(name)), dtype=np.float32)
        (answer,) = extractor.extract([Picture(0, pixels[None], (pitch, pitch), "STEM", None, str(name))])
        if isinstance(answer, Refusal):
            print(f"{name}: {answer.reason}")
            rows += [{"image": name, "element": one, "off": np.inf} for one in atoms["element"]]
            continue
        found = answer.tables["atoms"].to_pandas()
        off, nearest = cKDTree(found[["x_nm", "y_nm"]]).query(atoms[["x", "y"]].to_numpy() * pitch)
        species = found["species"].to_numpy()[nearest]
        rows += [
            {"image": name, "element": true, "found": said, "off": distance, "side": pixels.shape[0]}
            for true, said, distance in zip(atoms["element"], species, off, strict=True)
        ]
        place = found[["x_nm", "y_nm"]].to_numpy()[nearest]
        place[off > NEAR] = np.nan
        pairs.append(_silicon_bonds(atoms, pitch, place).assign(side=pixels.shape[0]))
    for side, part in pd.concat(pairs).groupby("side"):
        _print_bonds(f"{side}: {len(part)} labelled Si-C pairs", part)
    return pd.DataFrame(rows)


def _silicon_bonds(atoms: pd.DataFrame, pitch: float, place: np.ndarray) -> pd.DataFrame:
    """Return the labelled bonds of silicon in an image: ``labelled`` and ``found`` length [nm]."""
    xy, element = atoms[["x", "y"]].to_numpy() * pitch, atoms["element"].to_numpy()
    near = [(i, j) for i, j in cKDTree(xy).query_pairs(BONDED) if {element[i], element[j]} == {"Si", "C"}]
    i, j = np.array(near, dtype=int).reshape(-1, 2).T
    lengths = {"labelled": np.hypot(*(xy[i] - xy[j]).T), "found": np.hypot(*(place[i] - place[j]).T)}
    return pd.DataFrame(lengths)


def _print_bonds(head: str, part: pd.DataFrame) -> None:
    for name in ("labelled", "found"):
        known = part[name].dropna()
        inside = known.between(0.15, 0.20).mean()
        low, middle, high = known.quantile([0.05, 0.5, 0.95])
        print(
            f"{head}, {name}: median {middle:.3f} nm, 5 to 95 % {low:.3f} to {high:.3f}, "
            f"{inside:.3f} of {len(known)} between 0.15 and 0.20"
        )


def main() -> None:
    """Print recall and balanced accuracy."""
    torch.set_num_threads(1)
    rows = measure(Path(sys.argv[1]))
    for side, part in [("all", rows), *rows.groupby("side")]:
        hit = part[part["off"] <= NEAR]
        right = (hit["found"] == hit["element"]).groupby(hit["element"]).mean()
        print(
            f"{side}: {len(part)} atoms in {part['image'].nunique()} images, "
            f"recall {len(hit) / len(part):.3f}, median distance {hit['off'].median() * 1e3:.0f} pm, "
            f"right species {right.round(3).to_dict()}, balanced {right.mean():.3f}"
        )


if __name__ == "__main__":
    main()

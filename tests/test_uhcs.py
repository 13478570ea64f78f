"""424 real SEM micrographs of ultrahigh-carbon steel, through the whole path. Run with -rP to read the table.

The images state no scale; a sheet does. Nothing here was used to choose a feature or a parameter.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pandas as pd
import pytest

import micdb as mdb

MAP = """
file = "file"
sample = "sample_key"
material = { value = "UHCS" }
[pixel_size]
column = "um_per_px"
unit = "um"
[[step]]
kind = "anneal"
temperature = { column = "anneal_temperature_C", unit = "degC" }
time = { column = "anneal_minutes", unit = "min" }
cooling = { column = "cool_method" }
[label.primary_microconstituent]
column = "primary_microconstituent"
"""


@pytest.fixture(scope="module")
def folder(shared):
    return shared / "data" / "micrographs" / "uhcs_micrographs"


@pytest.fixture(scope="module")
def labels(folder):
    return pd.read_csv(folder / "labels.csv", dtype={"sample_key": str})


@pytest.fixture(scope="module")
def db(folder, tmp_path_factory):
    work = tmp_path_factory.mktemp("uhcs")
    (work / "map.toml").write_text(MAP)
    base = mdb.init(work / "uhcs.micdb")
    result = base.ingest(folder / "images", lab="CMU", sheet=folder / "labels.csv", map=work / "map.toml")
    assert result.counts["new_images"] == 424
    assert result.unmatched_rows == ()
    base.populate("texture", workers=1)
    return base


def ask(db, text):
    command = [
        sys.executable,
        "-m",
        "micdb",
        "query",
        text,
        "--db",
        str(db.root),
        "--json",
        "--columns",
        "file",
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return {row["file"] for row in json.loads(run.stdout)["rows"]}


def names(rows):
    return {path.rpartition("/")[2] for path in rows["file"]}


def test_424_real_micrographs(db, labels):
    """One test, since bringing them in takes longer than all questions: no other process does it again."""
    queries_by_class_treatment_and_scale_equal_pandas(db, labels)
    neighbours_from_other_specimens(db)
    the_link_says_what_it_is_worth(db)


def queries_by_class_treatment_and_scale_equal_pandas(db, at):
    assert ask(db, 'primary_microconstituent == "pearlite"') == names(
        at[at.primary_microconstituent == "pearlite"]
    )
    hot = at[(at.anneal_temperature_C > 900) & (at.anneal_minutes <= 480)]
    assert ask(db, "anneal_temperature > 900 degC and anneal_time <= 8 h") == names(hot)
    assert ask(db, "anneal_temperature > 1173.15 K and anneal_time <= 480 min") == names(hot)
    fine = at[(at.um_per_px < 0.2) & (at.cool_method == "Q")]
    assert ask(db, 'pixel_size < 0.2 um and anneal_cooling == "Q"') == names(fine)
    assert ask(db, 'pixel_size < 200 nm and anneal_cooling == "Q"') == names(fine)


QUERIES = 150  # of the 424, seed 0; all of them: make bench


def nearest(matrix, specimens, classes, queries, k=5):
    """Share of the k nearest from other specimens that have the same class, and chance, over some rows."""
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    likeness = unit @ unit.T
    likeness[specimens[:, None] == specimens[None, :]] = -np.inf
    order = np.argsort(-likeness, axis=1, kind="stable")[:, :k]
    other = specimens[:, None] != specimens[None, :]
    same = classes[:, None] == classes[None, :]
    hits = classes[order] == classes[:, None]
    return float(hits[queries].mean()), float((same & other)[queries].sum() / other[queries].sum())


def retrieve(db, frame, k=5):
    """Share over every image as a query through the engine: nearest from other specimens, same class."""
    hits = []
    for row in frame.itertuples():
        others = db.images.query(f'sample != "{row.sample}"')
        found = others.similar_to(row.uid, k=k)[["primary_microconstituent"]].to_pandas()
        hits += [label == row.primary_microconstituent for label in found["primary_microconstituent"]]
    return float(np.mean(hits))


def local_binary_patterns(db, frame):
    from skimage.feature import local_binary_pattern

    rows = []
    for picture in db.pictures(frame["uid"]):
        codes = local_binary_pattern(picture.pixels[0].astype(np.uint8), 8, 1, method="uniform")
        rows.append(np.bincount(codes.astype(int).ravel(), minlength=10) / codes.size)
    return np.array(rows)


def neighbours_from_other_specimens(db):
    columns = ["uid", "sample", "primary_microconstituent"]
    frame = db.images[columns].to_pandas()
    classes = frame["primary_microconstituent"].to_numpy(str)
    specimens = frame["sample"].to_numpy(str)
    queries = np.random.default_rng(0).choice(len(frame), QUERIES, replace=False)
    lbp, chance = nearest(local_binary_patterns(db, frame), specimens, classes, queries)
    texture = retrieve(db, frame.iloc[queries])
    print("\nshare of the 5 nearest from other specimens with the same primary microconstituent")
    print(f"  texture   {texture:.3f}   ({QUERIES} queries, at the finest common scale)")
    print(f"  LBP       {lbp:.3f}")
    print(f"  chance    {chance:.3f}")
    assert texture > chance


def the_link_says_what_it_is_worth(db):
    fit = db.images.link('anneal_temperature ~ embedding("texture")', groups=("sample",))
    print("\n" + repr(fit))
    table = fit.table.set_index("model")
    assert np.isfinite(table["r2_grouped"]).all()
    assert (table["mae_baseline"] > 0).all()
    assert fit.n_groups >= 5
    dropped = Counter(fit.dropped)
    assert fit.n_rows + sum(dropped.values()) == 424

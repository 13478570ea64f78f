"""Rows cross over from either catalog: the answers of SQLite and PostgreSQL are the same."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import pytest

from micdb.query.context import Context

plant = SimpleNamespace(**run_path(str(Path(__file__).with_name("conftest.py"))))


@pytest.fixture
def home(new_catalog, tmp_path):
    root = tmp_path / "db"
    root.mkdir()
    return plant.planted(Context(new_catalog(root), root, None, None))


def test_what_is_asked_of_atoms_is_the_same_from_both_catalogs(home):
    plant.add_property(home, "strength", {1: 3.0, 5: 9.0})
    plant.add_rollups(home, home.run, "n_atoms", {1: 2.0, 2: 1.0})
    plant.add_defects(home, home.run, (1, "vacancy"), (1, "loop"))
    im, atoms = home.im, home.atoms
    near = im.atoms[im.atoms.x_nm < "2 nm"]
    asked = im.assign(n=im.atoms.count(), near=near.count(), d=im.defects.count(), s=im.strength * 2)
    found = asked[["uid", "n", "near", "d", "s"]].to_arrow().to_pydict()
    assert found == {
        "uid": ["u1", "u2", "u3", "u4"], "n": [1, None, 2, 0], "near": [0, None, 1, 0],
        "d": [0, None, 2, 0], "s": [None, None, 6.0, None],
    }  # fmt: skip
    assert "2 of 4 counts are the roll-up n_atoms" in im.assign(n=im.atoms.count()).explain()
    top = im.assign(m=im.atoms.max("x_nm")).sort_values("m", ascending=False).head(1)
    assert top.to_pandas()["name"].tolist() == ["image u3"]  # a column that was fetched in the end
    rows = im[im.height < 30].explode("atoms")
    assert rows[rows.strength > 2].to_arrow()["x_nm"].to_pylist() == [1.0, 2.5]
    assert rows.explode("defects").count() == 4
    merged = atoms.merge(im[["uid", "height"]], left_on="image", right_on="uid", validate="m:1")
    assert merged.to_arrow()["height"].to_pylist() == [20, 10, 10]
    assert atoms.groupby("image").agg(n=("idx", "size")).to_arrow()["n"].to_pylist() == [1, 2]
    assert atoms.sample(2, seed=1).count() == 2
    assert atoms.with_property("strength", level="image").count() == 3

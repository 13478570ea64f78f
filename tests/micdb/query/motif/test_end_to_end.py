"""From pixels to places: simulated images through `peaks`, asked in Python and on the command line."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import tifffile

import micdb
from micdb import cli
from micdb.embed.simulate.lattices import crystal
from micdb.embed.simulate.stem import adf_image

SIDE = 4.0  # [nm]
SCALES = {"one": 0.02, "two": 0.016}  # [nm per pixel]


@pytest.fixture(scope="module")
def vacancies(tmp_path_factory):
    """A database of two images of graphene, turned differently, and where atoms were taken away [nm]."""
    folder = tmp_path_factory.mktemp("lab")
    scans, truth = folder / "scans", {}
    scans.mkdir()
    for seed, (name, pixel) in zip((3, 5), SCALES.items(), strict=True):
        columns = crystal("graphene", (SIDE, SIDE), seed=seed, rotation=11.0 + 17 * seed, vacancies=3)
        count = round(SIDE / pixel)
        seen = adf_image(columns, (count, count), pixel_size=pixel, seed=seed, counts=200.0)
        tifffile.imwrite(
            scans / f"{name}.tif", np.clip(seen.image, 0, 65535).astype(np.uint16), imagej=True,
            resolution=(1 / pixel, 1 / pixel), metadata={"unit": "nm"},
        )  # fmt: skip
        truth[name] = columns.vacancies
    with micdb.init(folder / "lab.micdb") as db:
        db.ingest(scans)
        assert db.populate("peaks").progress.done == 2
        yield db, truth


def clear(places, others):
    """Return the places that are 0.5 nm from the rim, and as far from all others."""
    inside = ((places > 0.5) & (places < SIDE - 0.5)).all(axis=1)
    far = np.hypot(*(places[:, None] - others[None]).transpose(2, 0, 1))
    return places[inside & ((far > 0.5) | (far == 0)).all(axis=1)]


def test_a_vacancy_of_one_image_finds_those_of_the_other(vacancies):
    db, truth = vacancies
    names = db.images.to_pandas().set_index("uid")["name"]
    uids = {name: uid for uid, name in names.items()}
    example = clear(truth["one"], truth["one"])[0]
    motif = micdb.Motif.from_image(db, uids["one"], centre=example, radius="0.3 nm")
    assert len(motif) == 12
    found = db.images.find_motif(motif)
    assert found["image"][0] == uids["one"]
    assert found["rmsd_nm"][0] < 1e-6
    assert (found["x_nm"][0], found["y_nm"][0]) == pytest.approx(tuple(example), abs=0.01)
    assert found["rmsd_nm"].max() < 0.015
    for name, places in truth.items():
        rows = found[found["image"] == uids[name]][["x_nm", "y_nm"]].to_numpy(float)
        expected = clear(places, places)
        assert len(expected) >= 1
        near = np.hypot(*(expected[:, None] - rows[None]).transpose(2, 0, 1)).min(axis=1)
        assert near.max() < 0.02  # every one of them
        back = np.hypot(*(rows[:, None] - places[None]).transpose(2, 0, 1)).min(axis=1)
        assert back.max() < 0.02  # and nothing else
    assert found.attrs["n_images"] == 2


def test_the_command_line_answers_the_same(vacancies, capsys, monkeypatch, tmp_path):
    db, truth = vacancies
    uid = db.images[db.images.name == "one"].to_pandas()["uid"][0]
    x, y = clear(truth["one"], truth["one"])[0]

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["micdb", "motif", *arguments, "--db", str(db.root)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    motif = micdb.Motif.from_image(db, uid, centre=(x, y), radius="0.3 nm")
    expected = db.images.find_motif(motif, k=20)
    region = (uid, "--centre", f"{x},{y}", "--radius", "0.3 nm")
    code, out, _ = run(*region, "--json")
    told = json.loads(out)
    assert code == 0
    assert [row["image"] for row in told["rows"]] == expected["image"].tolist()
    assert [row["atoms"] for row in told["rows"]] == [list(one) for one in expected["atoms"]]
    assert told["n_places"] == expected.attrs["n_places"]
    assert told["units"]["rmsd_nm"] == "nm"
    code, out, _ = run(*region, "-k", "1")
    assert f"{expected.attrs['n_places']} places in 2 images" in out
    path = tmp_path / "vacancy.csv"
    path.write_text("x_nm,y_nm\n" + "\n".join(f"{a},{b}" for a, b in motif.positions_nm))
    code, out, _ = run(str(path), "--format", "csv", "--where", 'name == "one"')
    assert out.splitlines()[0].startswith("image,frame,x_nm [nm],y_nm [nm]")
    assert len(out.splitlines()) == 1 + (expected["image"] == uid).sum()
    code, _, err = run(str(path), "--box", "1,2,3,4")
    assert code == 2
    assert "a CSV file is a whole motif: leave --box, --centre and --radius out" in err
    code, _, err = run(uid, "--centre", "1,2")
    assert "either box=" in err

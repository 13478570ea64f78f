"""`Frame.find_motif` as a user meets it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from micdb.errors import UnitError, UsageError
from micdb.query.frame import Frame
from micdb.query.motif.motif import Motif

CHIRAL = np.array([(0, 0), (0.15, 0), (0.3, 0.02), (0.31, 0.17), (0.1, 0.2), (-0.05, 0.33)])


@pytest.fixture
def motif():
    return Motif(CHIRAL)


@pytest.fixture
def planted(plane, lab):
    """One motif in each of three images: turned, turned over, off; the last image has no scale."""
    rng = np.random.default_rng(0)
    off = rng.normal(0, 0.004, CHIRAL.shape)
    lab.add(
        plane.rows(lab.keys[0], plane.turned(CHIRAL, 30, shift=(1, 2))),
        plane.rows(lab.keys[1], plane.turned(CHIRAL, -75, mirror=True, shift=(3, 4)), frame=2, pixel=0.05),
    )
    lab.add(
        plane.rows(lab.keys[2], (plane.turned(CHIRAL, 170, shift=(2, 2)) + off)[::-1]),
        plane.rows(lab.keys[3], CHIRAL, scaled=False),
    )
    lab.off = np.sqrt((off**2).sum(axis=1).mean())
    return lab


def test_one_row_for_each_place(planted, plane, motif):
    found = planted.images.find_motif(motif)
    assert found.columns.tolist() == [
        "image", "frame", "x_nm", "y_nm", "x_px", "y_px", "rotation", "mirrored", "rmsd_nm", "n_matched",
        "atoms",
    ]  # fmt: skip
    assert found["image"].tolist() == planted.uids[:3]
    assert found["frame"].tolist() == [0, 2, 0]
    middle = CHIRAL.mean(axis=0)
    for row, angle, mirror, shift, pixel in [(0, 30, False, (1, 2), 0.02), (1, -75, True, (3, 4), 0.05)]:
        x, y = plane.turned(middle[None], angle, mirror=mirror, shift=shift)[0]
        one = found.loc[row]
        assert (one["x_nm"], one["y_nm"]) == pytest.approx((x, y), abs=1e-6)
        assert (one["x_px"], one["y_px"]) == pytest.approx((x / pixel, y / pixel), rel=1e-6)
        assert one["rotation"] == pytest.approx(angle, abs=1e-4)
        assert one["mirrored"] == mirror
        assert one["rmsd_nm"] == pytest.approx(0, abs=1e-6)
        assert list(one["atoms"]) == list(range(6))
        assert one["n_matched"] == 6
    assert list(found["atoms"][2]) == [5, 4, 3, 2, 1, 0]
    assert 0 < found["rmsd_nm"][2] <= planted.off + 1e-6
    assert all(isinstance(kind, pd.ArrowDtype) for kind in found.dtypes)
    assert found.attrs["units"] == {
        "x_nm": "nm", "y_nm": "nm", "x_px": "pixel", "y_px": "pixel", "rotation": "deg", "rmsd_nm": "nm",
    }  # fmt: skip
    told = {
        name: found.attrs[name] for name in ("n_places", "n_images", "n_without_scale", "n_without_atoms")
    }
    assert told == {"n_places": 3, "n_images": 3, "n_without_scale": 1, "n_without_atoms": 0}
    assert found.attrs["run"].startswith("peaks@")
    assert 0 < found.attrs["complete_to_nm"] <= found.attrs["max_rmsd_nm"] == 0.03
    assert found.attrs["species_compared"] is False


def test_mirror_and_limits(planted, motif):
    assert planted.images.find_motif(motif, mirror=False)["image"].tolist() == [
        planted.uids[0],
        planted.uids[2],
    ]
    assert planted.images.find_motif(motif, max_rmsd="1 pm").attrs["n_places"] == 2
    first = planted.images.find_motif(motif, k=1)
    assert len(first) == 1
    assert first.attrs["n_places"] == 3


def test_only_the_images_of_the_frame(planted, motif):
    some = planted.images[planted.images.uid.isin([planted.uids[1], planted.uids[3]])]
    found = some.find_motif(motif)
    assert found["image"].tolist() == [planted.uids[1]]
    assert found.attrs["n_images"] == 1
    assert found.attrs["n_without_scale"] == 1
    none = planted.images[planted.images.uid == "none"].find_motif(motif)
    assert len(none) == 0
    assert none.attrs["n_places"] == none.attrs["n_images"] == 0
    assert none.dtypes.equals(found.dtypes)


def test_equally_good_places_stand_in_the_order_of_the_frame(plane, lab, motif):
    lab.add(*(plane.rows(key, plane.turned(CHIRAL, 20 * key, shift=(1, 1))) for key in lab.keys))
    up = lab.images.find_motif(motif)
    assert up["image"].tolist() == lab.uids
    down = lab.images.sort_values("uid", ascending=False).find_motif(motif, k=3)
    assert down["image"].tolist() == lab.uids[::-1][:3]


def test_a_symmetric_motif_is_not_turned_over_without_need(plane, lab):
    star = plane.honeycomb(1.0)[0]
    star = star[np.hypot(*star.T) < 0.25]
    lab.add(plane.rows(lab.keys[0], plane.turned(star, 50, mirror=True, shift=(1, 1))))
    found = lab.images.find_motif(Motif(star))
    assert len(found) == 1
    assert not found["mirrored"][0]
    assert abs(found["rotation"][0]) <= 60
    laid = plane.turned(star - star.mean(axis=0), found["rotation"][0])
    atoms = plane.turned(star, 50, mirror=True, shift=(1, 1))[list(found["atoms"][0])]
    centre = np.array([found["x_nm"][0], found["y_nm"][0]])
    assert laid + centre == pytest.approx(atoms, abs=1e-5)


def test_another_run_is_pinned(plane, planted, motif):
    other = planted.make.add_run(planted.context, "peaks", version="2", current=False)
    planted.add(plane.rows(planted.keys[3], CHIRAL), run=other)
    assert planted.images.find_motif(motif).attrs["n_places"] == 3
    pinned = planted.images.using("peaks@2").find_motif(motif)
    assert pinned["image"].tolist() == [planted.uids[3]]
    assert pinned.attrs["n_without_atoms"] == 3


def test_species_come_from_the_parts(plane, lab):
    kinds = ["Mo", "S", "S", "Mo", None, "S"]
    lab.add(plane.rows(lab.keys[0], CHIRAL + 1, species=kinds))
    lab.add(plane.rows(lab.keys[1], CHIRAL + 1))
    right, wrong = Motif(CHIRAL, kinds), Motif(CHIRAL, ["S", *kinds[1:]])
    assert lab.images.find_motif(right)["image"].tolist() == lab.uids[:2]
    assert lab.images.find_motif(right).attrs["species_compared"] is True
    assert lab.images.find_motif(wrong)["image"].tolist() == [lab.uids[1]]
    blind = lab.images.find_motif(wrong, species=False)
    assert blind["image"].tolist() == lab.uids[:2]
    assert blind.attrs["species_compared"] is False


def test_a_database_without_atoms_says_so(lab, motif):
    empty = lab.images[lab.images.uid == "none"]
    assert len(empty.find_motif(motif)) == 0
    with pytest.raises(UsageError, match="no atoms have been found .* yet; .* micdb populate peaks"):
        lab.images.find_motif(motif)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"k": 0}, UsageError, "k is 0; it must be at least 1"),
        ({"k": 1.5}, UsageError, "whole number"),
        ({"max_rmsd": "0.03 kg"}, UnitError, "cannot compare kg"),
        ({"max_rmsd": -1}, UsageError, "max_rmsd is -1; it must be above zero"),
        (
            {"max_rmsd": "0.1 nm"},
            UsageError,
            "half the motif's shortest distance, 0.075 nm, nothing tells",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(planted, motif, options, error, message):
    with pytest.raises(error, match=message):
        planted.images.find_motif(motif, **options)


def test_it_needs_a_motif_and_images(planted, motif):
    with pytest.raises(UsageError, match="find_motif takes a Motif, not ndarray"):
        planted.images.find_motif(CHIRAL)
    with pytest.raises(UsageError, match="rows that are images"):
        Frame(planted.context, "runs").find_motif(motif)


def test_it_answers_the_same_on_both_engines(new_catalog, lab, plane, motif, tmp_path):
    root = tmp_path / "other"
    root.mkdir()
    context = replace(lab.context, engine=new_catalog(root), root=root)
    keys = lab.make.images(context, 2)
    run = lab.make.add_run(context, "peaks")
    table = plane.rows(keys[1], plane.turned(CHIRAL, 30, mirror=True, shift=(1, 2)))
    lab.make.add_part(context, run, "atoms", rows=table)
    images = Frame(context, "images")
    for _ in range(2):  # without an index, and with one
        found = images.find_motif(motif)
        assert found["image"].tolist() == [lab.make.uid(context, keys[1])]
        assert found["mirrored"].tolist() == [True]
        assert found.attrs["n_without_atoms"] == 1
    cut = Motif.from_image(images, found["image"][0], centre=(found["x_nm"][0], found["y_nm"][0]), radius=1)
    assert len(cut) == 6

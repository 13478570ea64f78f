"""Search by a region: what is in the box decides, at one scale, whatever the file keeps its numbers as."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

import micdb as mdb
from micdb.embed.simulate.microstructures.scenes import SCENES
from micdb.embed.simulate.microstructures.sem import Detector, scan
from micdb.embed.simulate.microstructures.view import View
from micdb.errors import UsageError

LENGTHS = {"spheroidite": 260.0, "pearlite": 260.0}
PIXEL = 20.0  # [nm]


def render(kind, seed, shape, pixel=PIXEL):
    scene = SCENES[kind](View(shape, pixel), LENGTHS[kind], seed)
    return scan(scene, Detector(electrons=2000.0, shading=0.0), seed=seed)


def write(path, image, pixel=PIXEL, **more):
    tifffile.imwrite(
        path, image, imagej=True, resolution=(1e3 / pixel, 1e3 / pixel), metadata={"unit": "um", **more}
    )


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Return a database with one scene of two halves in every kind of file, and each half by itself."""
    work = tmp_path_factory.mktemp("regions")
    (work / "scans").mkdir()
    left, right = render("spheroidite", 1, (224, 224)), render("pearlite", 2, (224, 224))
    both = np.concatenate((left, right), axis=1)
    files = {
        "uint8": both,
        "uint16": both.astype(np.uint16) * 200 + 3000,
        "float32": both.astype(np.float32) * 1e-3 - 5,
        "rgb": np.stack([both] * 3, axis=-1),
        "stack": np.stack([both, both[::-1], both]),
    }
    for name, image in files.items():
        write(work / "scans" / f"{name}.tif", image, **({"axes": "TYX"} if name == "stack" else {}))
    write(work / "scans" / "left.tif", left)
    write(work / "scans" / "right.tif", right)
    base = mdb.init(work / "regions.micdb")
    result = base.ingest(work / "scans")
    assert (result.counts["new_images"], result.counts["refused"]) == (7, 0)
    assert base.populate("texture").progress.done == 7
    table = base.images.to_pandas()
    assert set(table["dtype"]) == {"uint8", "uint16", "float32"}
    assert table.set_index("name").loc["stack", "n_frames"] == 3
    uids = dict(zip(table["name"], table["uid"], strict=True))
    return SimpleNamespace(work=work, db=base, uids=uids)


HALVES = {"left": (0, 0, 224, 224), "right": (224, 0, 224, 224)}


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32", "rgb", "stack"])
def test_the_box_decides_whatever_the_numbers_are_kept_as(planted, kind, half):
    two = planted.db.images[planted.db.images.name.isin(["left", "right"])]
    for query in (planted.uids[kind], planted.work / "scans" / f"{kind}.tif"):
        found = two.similar_to(query, box=HALVES[half], by="texture@32nm", k=2).to_pandas()
        assert found["name"].tolist() == [half, "left" if half == "right" else "right"]
        assert found["similarity"][0] == pytest.approx(1, abs=5e-3)
        assert found["similarity"][1] < 0.7


def test_whole_images_are_not_their_regions(planted):
    two = planted.db.images[planted.db.images.name.isin(["left", "right"])]
    whole = two.similar_to(planted.uids["uint8"], by="texture@32nm", k=2).to_pandas()
    assert whole["similarity"].max() < 0.95


@pytest.mark.parametrize("pixel", [12.8, 20.0, 32.0])
def test_a_region_is_compared_at_the_scale_it_has_in_nanometres(planted, pixel):
    """The same 4.5 um of another specimen, recorded with other pixels: the same texture comes first."""
    side = round(4480 / pixel)
    image = np.full((side + 60, side + 90), 90, np.uint8)
    image[20 : 20 + side, 70 : 70 + side] = render("pearlite", 9, (side, side), pixel=pixel)
    write(planted.work / "query.tif", image, pixel)
    frame = planted.db.images[planted.db.images.name.isin(["left", "right"])]
    found = frame.similar_to(planted.work / "query.tif", box=(70, 20, side, side), k=2)
    table = found.to_pandas()
    assert table["name"].tolist() == ["right", "left"]
    assert table["similarity"][0] > table["similarity"][1] + 0.3
    assert "2 vectors in texture@32nm" in found.explain()


def test_a_region_without_the_scale_asked_for_is_refused(planted):
    frame = planted.db.images
    with pytest.raises(UsageError, match="80 x 80 pixels of 20 x 20 nm cannot give 64 pixels at any"):
        frame.similar_to(planted.uids["uint8"], box=(0, 0, 80, 80)).count()
    with pytest.raises(UsageError, match="in texture@32nm.*the search is in texture@64nm.*cannot give"):
        frame.similar_to(planted.uids["uint8"], box=(0, 0, 128, 128), by="texture@64nm").count()
    with pytest.raises(UsageError, match="60 x 60 pixels scanned; at least 64 x 64 are needed"):
        frame.similar_to(planted.uids["stack"], box=(0, 0, 60, 60)).count()


def test_two_regions_of_one_image_are_two_examples(planted):
    frame = planted.db.images[planted.db.images.name.isin(["left", "right", "uint8"])]
    uid = planted.uids["uint8"]
    both = frame.similar_to([uid, uid], box=[HALVES["left"], HALVES["right"]], by="texture@32nm", k=3)
    assert both.to_pandas()["similarity"].min() > 0.6
    turned = frame.similar_to(
        uid, box=[HALVES["left"], HALVES["right"]], negative=uid, by="texture@32nm", k=3
    ).to_pandas()
    assert turned["name"][0] == "left"
    assert turned["name"][2] == "right"

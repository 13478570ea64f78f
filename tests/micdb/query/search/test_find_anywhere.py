"""Find this texture anywhere: planted ones with known places, and crops of real micrographs."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tifffile

import micdb as mdb
from micdb.embed.extractors.texture_patches import TexturePatches
from micdb.embed.simulate.microstructures.scenes import SCENES
from micdb.embed.simulate.microstructures.sem import Detector, scan
from micdb.embed.simulate.microstructures.view import View
from micdb.errors import UsageError
from micdb.populate.extractor import extractors

LENGTHS = {"spheroidite": 260.0, "pearlite": 260.0, "network": 1600.0, "porous": 500.0}
PIXEL = 32.0  # [nm]
SIDE, PLANT = 192, 112  # [pixel] of an image, and of the square that shows another texture
OTHER = dict(zip(LENGTHS, [*list(LENGTHS)[1:], "spheroidite"], strict=True))  # what is planted in what


@pytest.fixture(scope="module", autouse=True)
def _registered():
    if "texture-patches" not in extractors().names():
        extractors().register(TexturePatches, name="texture-patches")


def render(kind, seed, shape, pixel=PIXEL):
    scene = SCENES[kind](View(shape, pixel), LENGTHS[kind], seed)
    return scan(scene, Detector(electrons=300.0, shading=0.1), seed=seed)


def write(path, image, pixel=PIXEL):
    """Write a TIFF whose pixel size is in its tags, as ImageJ does."""
    per_um = 1e3 / pixel
    tifffile.imwrite(path, image, imagej=True, resolution=(per_um, per_um), metadata={"unit": "um"})


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Return a database of 16 images, every second of which has a square of another texture in it."""
    work = tmp_path_factory.mktemp("planted")
    (work / "scans").mkdir()
    rng, truth = np.random.default_rng(0), {}
    for number in range(16):
        kind = list(LENGTHS)[number // 2 % 4]
        image = render(kind, 100 + number, (SIDE, SIDE))
        truth[f"im{number:02}"] = SimpleNamespace(kind=kind, plant=None)
        if number % 2:
            x, y = rng.integers(0, SIDE - PLANT, 2).tolist()
            image[y : y + PLANT, x : x + PLANT] = render(OTHER[kind], 500 + number, (PLANT, PLANT))
            truth[f"im{number:02}"].plant = (OTHER[kind], x, y)
        write(work / "scans" / f"im{number:02}.tif", image)
    base = mdb.init(work / "planted.micdb")
    assert base.ingest(work / "scans").counts["new_images"] == 16
    done = base.populate("texture-patches", parameters={"nm_per_pixel": PIXEL})
    assert (done.progress.done, done.progress.refused) == (16, 0)
    return SimpleNamespace(work=work, db=base, truth=truth)


def box_of(text):
    return tuple(map(int, text.split(",")))


def shows(truth, box):
    """Return what is at the centre of a box: the planted texture or the image's own."""
    x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
    if truth.plant is not None:
        kind, left, top = truth.plant
        if left <= x < left + PLANT and top <= y < top + PLANT:
            return kind
    return truth.kind


class TestPlanted:
    def test_there_are_as_many_windows_as_half_steps_give(self, planted):
        assert planted.db.images.explode("patches").count() == 16 * 5 * 5

    @pytest.mark.parametrize("kind", LENGTHS)
    def test_a_texture_is_found_where_it_was_planted(self, planted, kind):
        """The example is another piece of the same texture; 2 of 16 images have it in a square."""
        write(planted.work / "query.tif", render(kind, 900, (PLANT, PLANT)))
        hosts = [name for name, one in planted.truth.items() if one.plant and one.plant[0] == kind]
        assert len(hosts) == 2
        frame = planted.db.images
        for name in hosts:
            found = frame[frame.name == name].find_patches(planted.work / "query.tif", k=1).to_pandas()
            box = box_of(found["match_box"][0])
            assert shows(planted.truth[name], box) == kind, (name, box)

    @pytest.mark.parametrize("kind", LENGTHS)
    def test_recall_over_all_images(self, planted, kind):
        """4 images show the texture throughout or around a square, 2 in a square: all 6 come first."""
        write(planted.work / "query.tif", render(kind, 901, (96, 96)))
        found = planted.db.images.similar_to(planted.work / "query.tif", level="patch", k=16).to_pandas()
        assert len(found) == 16
        first = set(found["name"][:6])
        have = {
            n for n, one in planted.truth.items() if kind == one.kind or (one.plant and one.plant[0] == kind)
        }
        assert len(have) == 6
        assert len(first & have) >= 5
        right = [
            shows(planted.truth[name], box_of(box)) == kind
            for name, box in zip(found["name"][:5], found["match_box"][:5], strict=True)
        ]
        assert np.mean(right) >= 0.8

    def test_a_crop_finds_its_own_place(self, planted):
        frame = planted.db.images
        rng, hits = np.random.default_rng(5), []
        for uid, name in frame.to_pandas()[["uid", "name"]].itertuples(index=False):
            x, y = rng.integers(0, SIDE - 128, 2).tolist()
            best = frame.find_patches(uid, box=(x, y, 128, 128), k=1).to_pandas().iloc[0]
            left, top, width, height = box_of(best["match_box"])
            inside = x <= left + width / 2 < x + 128 and y <= top + height / 2 < y + 128
            hits.append(best["name"] == name and inside)
        assert np.mean(hits) >= 0.9

    def test_the_same_texture_at_another_magnification(self, planted):
        """An example with pixels of 12.8 nm shows the same nanometres, and finds the same places."""
        write(planted.work / "fine.tif", render("pearlite", 902, (240, 240), pixel=12.8), pixel=12.8)
        found = planted.db.images.find_patches(planted.work / "fine.tif", k=8).to_pandas()
        right = [
            shows(planted.truth[name], box_of(box)) == "pearlite"
            for name, box in zip(found["name"], found["match_box"], strict=True)
        ]
        assert np.mean(right) >= 0.8

    def test_a_region_larger_than_a_window_is_answered_by_regions_as_large(self, planted):
        uid = planted.db.images.to_pandas()["uid"][0]
        found = planted.db.images.find_patches(uid, box=(10, 20, 128, 96), k=3).to_pandas()
        assert {box_of(box)[2:] for box in found["match_box"]} == {(128, 96)}

    def test_a_crop_smaller_than_a_window_says_what_it_needs(self, planted):
        uid = planted.db.images.to_pandas()["uid"][0]
        with pytest.raises(UsageError, match="80 x 50 pixels scanned; a window needs at least 64 x 64"):
            planted.db.images.find_patches(uid, box=(0, 0, 80, 50)).count()
        write(planted.work / "fine.tif", render("pearlite", 902, (140, 140), pixel=12.8), pixel=12.8)
        with pytest.raises(
            UsageError, match="140 x 140 pixels of 12.8 x 12.8 nm: no window of 64 x 32 nm fits"
        ):
            planted.db.images.find_patches(planted.work / "fine.tif").count()

    def test_a_scale_the_example_cannot_give_is_refused(self, planted):
        write(planted.work / "coarse.tif", render("pearlite", 903, (128, 128), pixel=50.0), pixel=50.0)
        with pytest.raises(UsageError, match="cannot give 32 nm/pixel without upsampling"):
            planted.db.images.find_patches(planted.work / "coarse.tif").count()

    def test_an_unwanted_texture_goes_to_the_end(self, planted):
        uids = planted.db.images.to_pandas().set_index("name")["uid"]
        wanted, unwanted = uids["im00"], uids["im02"]  # spheroidite, pearlite
        plain = planted.db.images.find_patches(wanted, box=(0, 0, 96, 96), k=300)
        turned = planted.db.images.find_patches(
            wanted, box=[(0, 0, 96, 96), (0, 0, 96, 96)], negative=unwanted, k=300
        )

        def mean_rank(frame):
            table = frame.to_pandas()
            kinds = [
                shows(planted.truth[name], box_of(box))
                for name, box in zip(table["name"], table["match_box"], strict=True)
            ]
            return np.mean(np.flatnonzero(np.array(kinds) == "pearlite")) / len(kinds)

        assert mean_rank(turned) > mean_rank(plain)


@pytest.fixture(scope="module")
def real(shared, tmp_path_factory):
    """Return a database of SEM micrographs of one steel, 8 of them with patches; a sheet has their scale."""
    folder = shared / "data" / "micrographs" / "uhcs_segment"
    if not folder.is_dir():
        pytest.skip("the micrographs are not beside this checkout")
    work = tmp_path_factory.mktemp("real")
    (work / "map.toml").write_text('file = "image"\n[pixel_size]\ncolumn = "um_per_px"\nunit = "um"\n')
    base = mdb.init(work / "real.micdb")
    result = base.ingest(folder / "images", sheet=folder / "labels.csv", map=work / "map.toml")
    assert result.counts["new_images"] == len(pd.read_csv(folder / "labels.csv"))
    done = base.populate("texture-patches", where=base.images.head(8), parameters={"most": 128})
    assert done.progress.done == 8
    return base


def test_crops_of_real_micrographs_find_their_image_and_place(real):
    """Crops of about 2.2 windows at random places: their image comes first, its centre inside the crop."""
    frame, rng = real.images, np.random.default_rng(0)
    table = frame.head(8).to_pandas()[["uid", "pixel_size", "width", "height"]]
    images, place = [], []
    for uid, pixel_size, width, height in table.itertuples(index=False):
        scale = 2.0 ** np.ceil(np.log2(pixel_size / 1.05))
        side = int(np.ceil(64 * scale / pixel_size * 2.2))
        for _ in range(3):
            x, y = int(rng.integers(0, width - side + 1)), int(rng.integers(0, height - side + 1))
            best = frame.find_patches(uid, box=(x, y, side, side), k=1).to_pandas().iloc[0]
            left, top, across, down = box_of(best["match_box"])
            inside = x <= left + across / 2 < x + side and y <= top + down / 2 < y + side
            images.append(best["uid"] == uid)
            place.append(best["uid"] == uid and inside)
    print(json.dumps({"image": np.mean(images), "place": np.mean(place), "crops": len(images)}))
    assert len(images) == 24
    assert np.mean(images) >= 0.85
    assert np.mean(place) >= 0.75

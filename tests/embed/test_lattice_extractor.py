"""`lattice` against drawn crystals, and what it must refuse."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

import micdb
from micdb.embed.extractors.lattice import Lattice
from micdb.embed.simulate.lattices import crystal
from micdb.embed.simulate.plane_lattices import blobs, lattice_points
from micdb.errors import UsageError
from micdb.records import Picture, Refusal
from micdb.testing import ExtractorContract

PIXEL = 0.02  # [nm]


def image(material="graphene", *, side=128, seed=3):
    columns = crystal(material, (side * PIXEL, side * PIXEL), seed=seed, rotation=11, jitter=0.002)
    drawn = blobs(columns.xy / PIXEL, (side, side), sigma=2.0)
    return np.random.default_rng(seed).poisson(10 * drawn + 2)


def picture(pixels, pixel_size=PIXEL, *, modality="STEM", number=9):
    size = None if pixel_size is None else tuple(np.broadcast_to(pixel_size, 2).astype(float))
    pixels = np.asarray(pixels, np.float32)
    return Picture(number, pixels.reshape(-1, *pixels.shape[-2:]), size, modality, None, "p")


def extract(pixels, pixel_size=PIXEL, *, modality="STEM", **parameters):
    (answer,) = Lattice(**parameters).extract([picture(pixels, pixel_size, modality=modality)])
    return answer


def rows(answer):
    assert not isinstance(answer, Refusal), answer.reason
    return answer.tables["lattices"].to_pandas()


class TestLatticeContract(ExtractorContract):
    extractor = Lattice

    @pytest.fixture
    def picture(self):
        return picture(image(side=96))


@pytest.mark.parametrize(
    ("material", "bravais", "a", "gamma"),
    [("graphene", "hexagonal", 0.246, 120), ("Au[001]", "square", 0.2884, 90)],
)
def test_crystals(material, bravais, a, gamma):
    answer = extract(image(material))
    (row,) = rows(answer).to_dict("records")
    assert (row["bravais"], row["region"], row["frame"]) == (bravais, 0, 0)
    assert row["a_nm"] == pytest.approx(a, rel=0.005)
    assert row["a_px"] == pytest.approx(a / PIXEL, rel=0.005)
    assert row["gamma_deg"] == pytest.approx(gamma, abs=0.5)
    assert 0 < row["a_sd_nm"] < 0.01 * a
    assert row["probability"] > 0.8
    assert row["share"] > 0.95
    value = {name: number for name, (number, _) in answer.rollups.items()}
    assert value["lattice_a"] == pytest.approx(row["a_nm"])
    assert value["n_lattices"] == 1
    assert answer.rollups["lattice_a"][1] == "nm"


def test_two_grains_are_two_rows_with_their_boxes():
    square = np.array([[11.0, 0.0], [0.0, 11.0]])
    turn = np.radians(20)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    left, _ = lattice_points(square, (128, 192), seed=0)
    right, _ = lattice_points(square @ rotation, (128, 192), seed=1)
    xy = np.vstack((left[left[:, 0] < 80], right[right[:, 0] >= 80]))
    table = rows(extract(blobs(xy, (128, 192), sigma=2.0) + 0.2))
    assert table.bravais.tolist() == ["square", "square"]
    assert table.x_px.tolist()[1] == 0  # the smaller region is the left one
    assert table.x_px.tolist()[0] == pytest.approx(80, abs=8)
    assert table.share.sum() == pytest.approx(1, abs=0.02)
    assert abs(table.angle_deg.diff().iloc[1]) % 90 == pytest.approx(70, abs=1) or abs(
        table.angle_deg.diff().iloc[1]
    ) % 90 == pytest.approx(20, abs=1)


def test_without_a_scale_lengths_are_in_pixels_only():
    answer = extract(image(), None, modality=None)
    (row,) = rows(answer).to_dict("records")
    assert row["a_nm"] is None or np.isnan(row["a_nm"])
    assert row["a_px"] == pytest.approx(12.3, rel=0.005)
    assert answer.rollups["lattice_a"] == (None, "nm")


def test_pixels_need_not_be_square():
    full = image("Au[001]", side=160)
    halved = full.reshape(80, 2, 160).sum(axis=1)
    (row,) = rows(extract(halved, (2 * PIXEL, PIXEL))).to_dict("records")
    assert row["bravais"] == "square"
    assert row["a_nm"] == pytest.approx(0.2884, rel=0.01)


def test_unscanned_parts_shift_the_box():
    pixels = np.full((128, 160), np.nan)
    pixels[:, 32:] = image(side=128)
    (row,) = rows(extract(pixels)).to_dict("records")
    assert row["x_px"] == pytest.approx(32, abs=4)


@pytest.mark.parametrize(
    ("pixels", "keywords", "message"),
    [
        (np.zeros((64, 64)), {}, "the image is blank"),
        (np.full((64, 64), np.nan), {}, "only 0 of 4096 pixels were scanned"),
        (np.ones((30, 90)), {}, "90 x 30 pixels; at least 40 are needed each way"),
        (np.random.default_rng(0).normal(size=(96, 96)), {}, "no lattice: no two directions"),
        (np.ones((64, 64)), {"modality": "diffraction"}, "a diffraction pattern shows no lattice"),
        (np.ones((64, 64)), {"modality": "SEM"}, "modality SEM does not resolve lattices"),
        (np.ones((64, 64)), {"pixel_size": -1}, "positive numbers are needed"),
        (np.ones((64, 64)), {"pixel_size": None, "window_nm": 2.0}, "so window_nm cannot be used"),
    ],
)
def test_refusals(pixels, keywords, message):
    answer = extract(pixels, **keywords)
    assert isinstance(answer, Refusal)
    assert message in answer.reason


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"window_nm": -1}, "window_nm is -1; expected a length in nm"),
        ({"window_nm": "wide"}, "window_nm is 'wide'"),
        ({"distortion": 2.0}, "distortion is 2.0; expected a strain"),
    ],
)
def test_wrong_parameters(parameters, message):
    with pytest.raises(UsageError, match=message):
        Lattice(**parameters)


def test_lattices_are_a_frame(tmp_path):
    (tmp_path / "scans").mkdir()
    for name in ("graphene", "Au[001]"):
        tifffile.imwrite(
            tmp_path / "scans" / f"{name}.tif", image(name, side=96).astype(np.uint16), imagej=True,
            resolution=(1 / PIXEL, 1 / PIXEL), metadata={"unit": "nm"},
        )  # fmt: skip
    with micdb.init(tmp_path / "lab.micdb") as db:
        db.ingest(tmp_path / "scans")
        assert db.populate("lattice").progress.done == 2
        im = db.images
        square = im.lattices[im.lattices.bravais == "square"]
        assert im[square.count() > 0].to_pandas()["name"].tolist() == ["Au[001]"]
        assert db.lattices.count() == 2
        a = im[im.lattices.mean("a_nm") < "0.26 nm"].assign(a=im.lattices.mean("a_nm")).to_pandas()
        assert a["name"].tolist() == ["graphene"]
        assert a["a"][0] == pytest.approx(0.246, rel=0.01)
        assert im[im.lattice_a > "0.28 nm"].count() == 1

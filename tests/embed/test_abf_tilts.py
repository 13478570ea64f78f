"""`abf-tilts` against crystals that neither taught nor calibrated it, and what it must refuse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tifffile

import micdb
from micdb.embed.extractors.abf_tilts import AbfTilts
from micdb.embed.simulate.perovskites import perovskite
from micdb.embed.simulate.stem import adf_image
from micdb.embed.tilts import bank
from micdb.embed.tilts.scene import scene
from micdb.errors import UsageError
from micdb.records import Picture, Refusal
from micdb.testing.extractors import ExtractorContract

PIXEL = 0.025  # [nm]
SIDE = 320


@pytest.fixture(scope="module")
def crystal():
    return bank.element("held", 100, draws=3)


def simulate(crystal, index=0, *, counts=300.0, seed=1):
    return scene(
        crystal.images[index], crystal.kind.constant, (SIDE, SIDE),
        pixel_size=PIXEL, seed=seed, counts=counts, rotation=20.0, drift=(0.03, -0.02), line_jitter=0.002,
    )  # fmt: skip


def picture(image):
    return Picture(1, image[None], (PIXEL, PIXEL), "STEM", None, "film")


def answer(asked, **parameters):
    (given,) = AbfTilts(**parameters).extract([asked])
    return given


class TestContract(ExtractorContract):
    extractor = AbfTilts

    @pytest.fixture
    def picture(self, crystal):
        return picture(simulate(crystal))


def test_rotations_are_those_of_the_crystal(crystal):
    for index in range(3):
        given = answer(picture(simulate(crystal, index)), window_nm=8.0)
        rows = given.tables["tilts"].to_pandas()
        assert len(rows) == 1
        value = rows[["beam_deg", "cross_deg", "c_deg"]].to_numpy()[0]
        sd = rows[["beam_sd_deg", "cross_sd_deg", "c_sd_deg"]].to_numpy()[0]
        assert (np.abs(value - crystal.tilts) < 3 * sd).all()
        assert abs(value[0] - crystal.tilts[0]) < 1.5
        assert (sd < 4).all()
        assert given.rollups["tilt_beam"] == (pytest.approx(value[0]), "deg")
        constant, unit = given.rollups["pseudocubic_constant"]
        assert (constant, unit) == (pytest.approx(crystal.kind.constant, rel=0.01), "nm")


def test_a_map_has_places_and_wider_intervals(crystal):
    asked = picture(simulate(crystal))
    whole = answer(asked, window_nm=8.0).tables["tilts"].to_pandas()
    rows = answer(asked, window_nm=4.0).tables["tilts"].to_pandas()
    assert len(rows) == 4
    assert rows.idx.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(rows.x_px, [79.5, 239.5, 79.5, 239.5])
    np.testing.assert_allclose(rows.y_nm, rows.y_px * PIXEL)
    np.testing.assert_allclose(rows.side_px, 160)
    assert rows.beam_sd_deg.mean() > whole.beam_sd_deg[0]


def test_regions_are_as_large_as_their_noise_asks_for(crystal):
    clear = answer(picture(simulate(crystal, counts=2000.0)))
    faint = answer(picture(simulate(crystal, counts=15.0)))
    assert clear.rollups["n_tilts"][0] > faint.rollups["n_tilts"][0]


def test_what_is_no_annular_bright_field_of_a_perovskite_is_refused(crystal):
    asked = picture(simulate(crystal))
    unscaled = answer(replace(asked, pixel_size=None))
    assert isinstance(unscaled, Refusal)
    assert "no pixel size" in unscaled.reason
    assert "correct the pixel size" in answer(replace(asked, pixel_size=(0.05, 0.05))).reason
    coarse = answer(replace(asked, pixel_size=(0.06, 0.06)))
    assert coarse.reason == "pixel size 0.06 nm; columns of oxygen need 0.05 nm or finer"
    assert "modality SEM" in answer(replace(asked, modality="SEM")).reason
    field = (SIDE * PIXEL,) * 2
    options = {"pixel_size": PIXEL, "seed": 1, "counts": 200.0}
    along = perovskite("SrTiO3", field, seed=1, axis=(1, 1, 0))
    dark = adf_image(along, (SIDE, SIDE), **options).image
    assert "its columns are bright" in answer(picture(dark)).reason
    other = perovskite("SrTiO3", field, seed=1)
    assert (
        "no perovskite along [110]"
        in answer(picture(-adf_image(other, (SIDE, SIDE), **options).image)).reason
    )
    assert "the image is blank" in answer(picture(np.ones((SIDE, SIDE)))).reason


def test_wrong_parameters_are_refused():
    with pytest.raises(UsageError, match="window_nm is -1.0; expected a length in nm, for example 4"):
        AbfTilts(window_nm=-1.0)


def test_tilts_are_a_frame(tmp_path, crystal):
    (tmp_path / "scans").mkdir()
    for number, index in enumerate((0, 1)):
        tifffile.imwrite(
            tmp_path / "scans" / f"film{number}.tif", simulate(crystal, index).astype(np.uint16), imagej=True,
            resolution=(1 / PIXEL, 1 / PIXEL), metadata={"unit": "nm"},
        )  # fmt: skip
    with micdb.init(tmp_path / "lab.micdb") as db:
        db.ingest(tmp_path / "scans")
        assert db.populate("abf-tilts").progress.done == 2
        im = db.images
        least = f"{crystal.tilts[0] - 3:.1f} deg"
        assert im[im.tilts.mean("beam_deg") > least].count() == 2
        assert db.tilts[db.tilts.mistilt_c_mrad < "10 mrad"].count() == db.tilts.count()
        assert im[im.pseudocubic_constant > "0.35 nm"].count() == 2

"""`micro`: patterns that stay when the microscope changes, spectra in 1/nm, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

import micdb as mdb
from micdb.embed.extractors.micro import Micro, MicroPatches
from micdb.embed.extractors.micro_pattern import LENGTH, WEIGHTS, patterns
from micdb.embed.nets import weights
from micdb.embed.simulate.microstructures.scenes import SCENES
from micdb.embed.simulate.microstructures.sem import Detector, scan
from micdb.embed.simulate.microstructures.view import View
from micdb.errors import UsageError
from micdb.records import Picture, Refusal
from micdb.testing import ExtractorContract

LENGTHS = {"spheroidite": 260.0, "pearlite": 260.0, "network": 1600.0, "porous": 500.0}
STEP = 20.0  # [nm]


def render(kind, *, seed=1, side=256, scale=1.0, **detector):
    scene = SCENES[kind](View((side, side), STEP), LENGTHS[kind] * scale, seed)
    return scan(scene, Detector(**detector), seed=seed).astype(np.float32)


def picture(image, pixel_size=(STEP, STEP), *, modality="SEM"):
    pixels = np.asarray(image, np.float32).reshape(-1, *np.shape(image)[-2:])
    return Picture(7, pixels, pixel_size, modality, None, "p")


def found(image, pixel_size=(STEP, STEP), **parameters):
    (answer,) = Micro(**parameters).extract([picture(image, pixel_size)])
    assert not isinstance(answer, Refusal), answer.reason
    return answer


def vectors(answer):
    return {row["space"]: np.array(row["vector"]) for row in answer.tables["embeddings"].to_pylist()}


class TestMicroContract(ExtractorContract):
    extractor = Micro

    @pytest.fixture
    def picture(self):
        return picture(render("pearlite", side=160))


class TestPatchesContract(ExtractorContract):
    extractor = MicroPatches
    parameters = {"most": 16}  # noqa: RUF012 (the contract's own class attribute)

    @pytest.fixture
    def picture(self):
        return picture(render("pearlite", side=160))


class TestPattern:
    @settings(max_examples=8, deadline=None)
    @given(st.sampled_from(sorted(LENGTHS)), st.integers(0, 3), st.booleans(), st.floats(0.2, 50))
    def test_turns_mirrors_and_gain_change_nothing(self, kind, turns, mirrored, gain):
        image = render(kind, side=192)
        other = gain * np.rot90(image[:, ::-1] if mirrored else image, turns) - 3
        np.testing.assert_allclose(*patterns([image, other]), atol=2e-3)

    @pytest.mark.parametrize("kind", LENGTHS)
    def test_another_detector_changes_little_and_another_structure_much(self, kind):
        here, elsewhere = (
            render(kind, electrons=800.0),
            render(kind, seed=2, electrons=80.0, contrast=70.0, shading=0.4, gamma=1.2),
        )
        others = [render(one) for one in LENGTHS if one != kind]
        one, same, *rest = patterns([here, elsewhere, *others])
        assert one @ same >= 0.6
        assert max(one @ other for other in rest) <= one @ same - 0.1

    def test_magnification_changes_little(self):
        one, other = patterns([render("pearlite"), render("pearlite", scale=1.5, seed=3)])
        assert one @ other >= 0.7

    def test_the_card_tells_what_the_shipped_file_is(self):
        card = Micro.card
        assert card.weights_hash == weights.card(WEIGHTS).sha256
        assert card.validated
        assert Micro().spaces[-1].name == "micro@px"
        assert {space.dim for space in Micro().spaces} == {LENGTH}


class TestSpectra:
    def test_lengths_follow_the_size_in_nm_and_not_the_pixels(self):
        image = render("pearlite", scale=1.0)
        lengths = found(image).rollups
        twice = found(image, (2 * STEP, 2 * STEP)).rollups
        for name in ("peak_wavelength", "mean_wavelength"):
            assert lengths[name][1] == "nm"
            assert twice[name][0] == pytest.approx(2 * lengths[name][0])
        assert lengths["peak_wavelength"][0] == pytest.approx(LENGTHS["pearlite"], rel=0.15)

    def test_without_a_pixel_size_there_are_patterns_and_no_spectrum(self):
        answer = found(render("porous"), None)
        assert set(answer.tables) == {"embeddings"}
        assert set(vectors(answer)) == {"micro@px"}
        assert not answer.rollups

    def test_a_stack_has_the_spectrum_of_its_first_frame(self):
        one, other = render("porous"), render("pearlite")
        assert found(np.stack([one, other])).tables["spectra"].equals(found(one).tables["spectra"])


def test_a_file_is_compared_in_nm_with_what_the_database_holds(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for name, scale in {"fine": 1.0, "coarse": 2.0}.items():
        image = render("porous", scale=scale, side=192, seed=int(scale)).astype(np.uint8)
        tifffile.imwrite(
            folder / f"{name}.tif", image, imagej=True, resolution=(50, 50), metadata={"unit": "um"}
        )
    query = tmp_path / "query.tif"
    tifffile.imwrite(query, render("porous", scale=2.0, side=192, seed=9).astype(np.uint8))
    with mdb.init(tmp_path / "lab.micdb") as db:
        db.ingest(folder)
        db.populate("micro", workers=1)
        asked = {"scale": "physical", "by": "micro"}

        def nearer(pixel_size):
            """How much more alike the coarse one is than the fine one."""
            found = db.images.similar_to(query, pixel_size=pixel_size, **asked)
            like = found[["name", "similarity"]].to_pandas().set_index("name")["similarity"]
            return like["coarse"] - like["fine"]

        assert nearer("20 nm") > 0.3
        assert nearer("10 nm") < nearer("20 nm") - 0.3  # the same pixels, half the size
        with pytest.raises(UsageError, match="the example has no spectrum in 1/nm"):
            db.images.similar_to(query, **asked).to_pandas()
        bands = db.images[db.images.spectra[db.images.spectra.power > 0.5].count() > 0]
        assert bands.count() == 2

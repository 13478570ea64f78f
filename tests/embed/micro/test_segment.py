"""`segment` learns phases from one annotated image or a few strokes, and counts them honestly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from micdb.embed.extractors.particles import Particles
from micdb.embed.extractors.segment import Segment, uncertainty
from micdb.embed.micro.segmenter import voted
from micdb.embed.nets import weights
from micdb.embed.simulate.microstructures.fields import two_phase
from micdb.embed.simulate.microstructures.sem import Detector, scan
from micdb.embed.simulate.microstructures.view import View
from micdb.embed.train.segment import Example, teach
from micdb.errors import UsageError
from micdb.masks import Mask
from micdb.records import Picture, Refusal
from micdb.testing.extractors import ExtractorContract

CLASSES = ("matrix", "second phase")


def scene(seed, shape=(160, 192), fraction=0.3):
    return two_phase(View(shape, 10.0), length=200.0, seed=seed, fraction=fraction)


def image(made, seed=0):
    return scan(made, Detector(electrons=60.0), seed=seed).astype(np.float64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Weights taught with strokes: every tenth row of one image."""
    made, path = scene(1), tmp_path_factory.mktemp("taught")
    labels = np.full(made.label.shape, -1)
    labels[::10] = made.label[::10]
    with pytest.MonkeyPatch.context() as smaller:
        smaller.setattr("micdb.embed.train.segment.SIDE", 64)  # a quarter of the time
        teach([Example(image(made), Mask(labels, CLASSES))], path, steps=30, seed=1)
    return path


def picture(pixels, **changed):
    return replace(
        Picture(1, np.asarray(pixels, np.float32)[None], (10.0, 10.0), "SEM", None, "steel"), **changed
    )


def answer(folder, asked, **parameters):
    (given,) = Segment(weights=str(folder / "segment.safetensors"), **parameters).extract([asked])
    return given


class TestContract(ExtractorContract):
    extractor = Segment

    @pytest.fixture(autouse=True)
    def taught(self, folder, monkeypatch):
        monkeypatch.setattr(
            type(self), "parameters", {"weights": str(folder / "segment.safetensors"), "turned": False}
        )

    @pytest.fixture
    def picture(self):
        return picture(image(scene(2, (96, 96))))


def test_an_image_it_never_saw_is_segmented(folder):
    made = scene(7)
    given = answer(folder, picture(image(made, 3)))
    (mask,) = given.tables["masks"].to_pylist()
    found = Mask.of_runs(
        mask["labels"], mask["lengths"], (mask["height_px"], mask["width_px"]), mask["classes"]
    )
    assert found.classes == CLASSES
    both = ((found.labels == 1) & (made.label == 1)).sum()
    assert both / ((found.labels == 1) | (made.label == 1)).sum() > 0.85
    phases = {row["phase"]: row for row in given.tables["phases"].to_pylist()}
    truth = made.fractions()["second phase"]
    assert phases["second phase"]["fraction"] == pytest.approx(truth, abs=0.03)
    assert 0.01 < phases["second phase"]["fraction_sd"] < 0.1
    assert sum(row["fraction"] for row in phases.values()) == pytest.approx(1.0)
    assert phases["matrix"]["boundary_nm"] == pytest.approx(phases["second phase"]["boundary_nm"])
    assert given.rollups["fraction_second_phase"][0] == phases["second phase"]["fraction"]
    regions = given.tables["regions"].to_pandas()
    assert regions[regions.phase == "second phase"].area_px.sum() == pytest.approx(found.count(1), rel=0.01)
    assert regions.idx.tolist() == list(range(len(regions)))


def test_what_was_not_scanned_is_of_no_phase(folder):
    pixels = image(scene(7))
    pixels[120:] = np.nan
    (mask,) = answer(folder, picture(pixels)).tables["masks"].to_pylist()
    found = Mask.of_runs(mask["labels"], mask["lengths"], pixels.shape, mask["classes"])
    assert (found.labels[120:] == -1).all()
    assert (found.labels[:120] >= 0).all()


def test_without_a_scale_there_are_pixels_only(folder):
    given = answer(folder, picture(image(scene(7)), pixel_size=None), turned=False)
    phases = given.tables["phases"].to_pandas()
    assert phases.area_nm2.isna().all()
    assert phases.fraction.notna().all()
    assert given.tables["regions"].to_pandas().x_nm.isna().all()


def test_fractions_say_how_sure_they_are_and_phases_what_lies_between(folder):
    given = answer(folder, picture(image(scene(7))))
    for row in given.tables["phases"].to_pylist():
        assert row["fraction_low"] < row["fraction"] < row["fraction_high"]
        assert 10 < row["thickness_nm"] < 1000
    one, other = given.tables["interfaces"].to_pylist()
    assert (one["phase"], one["other"]) == ("second phase", "matrix")
    assert one["length_nm"] == other["length_nm"]
    assert one["distance_nm"] == one["distance_px"] == 0  # they touch all along
    (phase, _) = given.tables["phases"].to_pylist()
    assert one["length_nm"] == pytest.approx(phase["boundary_nm"])


def test_objects_are_of_one_phase_each_when_a_background_is_named(folder):
    share = np.full((3, 20, 60), 0.1, np.float32)
    share[0] = 0.8  # background
    share[:, 2:18, 5:25] = np.array([0.1, 0.6, 0.3])[:, None, None]
    share[:, 2:3, 5:9] = np.array([0.3, 0.2, 0.5])[:, None, None]  # pixels at the rim, less sure
    share[:, 2:18, 35:45] = np.array([0.0, 0.2, 0.8])[:, None, None]
    share[:, 2:18, 45:55] = np.array([0.0, 0.7, 0.3])[:, None, None]  # another object beside it
    share[:, 8:9, 38:39] = np.array([0.0, 0.9, 0.1])[:, None, None]  # pixels that look otherwise
    found = voted(share, 0)
    assert (found.argmax(axis=0)[2:18, 5:25] == 1).all()
    assert (found.argmax(axis=0)[2:18, 35:45] == 2).all()
    assert (found.argmax(axis=0)[2:18, 45:55] == 1).all()
    assert np.allclose(found.sum(axis=0)[2:18, 5:25], 1)
    np.testing.assert_array_equal(found[:, :2], share[:, :2])
    np.testing.assert_array_equal(voted(share[:, :2], 0), share[:, :2])  # there is no object
    with pytest.raises(UsageError, match="background is 'ferrite'; expected one of matrix, second phase"):
        Segment(weights=str(folder / "segment.safetensors"), background="ferrite")
    given = answer(folder, picture(image(scene(7))), background="matrix")
    assert {row["phase"] for row in given.tables["regions"].to_pylist()} == set(CLASSES)


def test_another_magnification_is_refused(tmp_path):
    made = scene(1)
    teach([Example(image(made), Mask(made.label, CLASSES), 10.0)], tmp_path, steps=1)
    atoms = answer(tmp_path, picture(image(scene(7)), pixel_size=(0.02, 0.02)))
    assert isinstance(atoms, Refusal)
    assert atoms.reason.startswith("0.02 nm per pixel; the phases were drawn at 10 to 10 nm per pixel")
    assert not isinstance(answer(tmp_path, picture(image(scene(7)), pixel_size=(25.0, 25.0))), Refusal)
    assert not isinstance(answer(tmp_path, picture(image(scene(7)), pixel_size=None)), Refusal)


def test_particles_are_found_as_segment_was_taught(folder):
    made, given = scene(7, fraction=0.15), {"weights": str(folder / "segment.safetensors")}
    (found,) = Particles(**given, phase="second phase").extract([picture(image(made))])
    rows = found.tables["particles"].to_pandas()
    assert rows.area_px.sum() == pytest.approx((made.label == 1).sum(), rel=0.2)
    assert ((rows.score > 0.5) & (rows.score <= 1)).all()
    with pytest.raises(UsageError, match="phase is 'pearlite'; expected one of matrix, second phase"):
        Particles(**given, phase="pearlite")
    with pytest.raises(UsageError, match="weights and phase go together"):
        Particles(**given)


def test_what_it_cannot_do_is_said(folder, tmp_path):
    with pytest.raises(UsageError, match="segment knows no phases yet: draw some"):
        next(Segment().extract([picture(image(scene(7)))]))
    with pytest.raises(UsageError, match="expected a file segment.safetensors that micdb train"):
        Segment(weights=str(tmp_path / "segment.safetensors"))
    with pytest.raises(UsageError, match="least_region_px is 0; expected 1 or more"):
        Segment(least_region_px=0)
    given = answer(folder, picture(image(scene(7)), modality="diffraction"))
    assert isinstance(given, Refusal)
    assert "diffraction pattern" in given.reason


def test_what_teaches_nothing_is_refused(tmp_path):
    pixels = image(scene(1))
    one = Example(pixels, Mask(np.zeros(pixels.shape, int), CLASSES))
    with pytest.raises(UsageError, match="1 annotated images show only matrix; two classes at least"):
        teach([one], tmp_path)
    with pytest.raises(UsageError, match="0 annotated images show none"):
        teach([], tmp_path)
    with pytest.raises(UsageError, match="holds the weights that micdb ships"):
        teach([one], weights.FOLDER)


def test_teaching_again_gives_the_same_weights(folder, tmp_path):
    made = scene(1)
    example = Example(image(made), Mask(made.label.astype(int), CLASSES))
    first, second = (teach([example], tmp_path / name, steps=2, seed=5) for name in "ab")
    assert first.sha256 == second.sha256
    assert first.recipe["pixels"] == {
        "matrix": int((made.label == 0).sum()),
        "second phase": int(made.label.sum()),
    }


def test_pixels_that_could_be_either_make_an_image_uncertain(folder):
    clear = answer(folder, picture(image(scene(7)))).rollups["segment_uncertainty"][0]
    mixed = np.random.default_rng(0).normal(120, 40, (160, 192))
    vague = answer(folder, picture(mixed)).rollups["segment_uncertainty"][0]
    assert 0 < clear < vague <= 1


def test_uncertainty_is_none_where_sure_and_full_where_all_are_alike():
    sure = np.zeros((3, 4, 5), np.float32)
    sure[1] = 1
    assert uncertainty(sure) == pytest.approx(0, abs=1e-6)
    assert uncertainty(np.full((3, 4, 5), 1 / 3, np.float32)) == pytest.approx(1)

"""`texture`: what may not change a vector, what must, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from micdb.embed.extractors.texture import UNSCALED, Texture, space_name
from micdb.embed.extractors.texture_features import DIM, features
from micdb.embed.extractors.texture_reference import MEAN, SPREAD
from micdb.embed.simulate.microstructures.scenes import SCENES
from micdb.embed.simulate.microstructures.sem import Detector, scan
from micdb.embed.simulate.microstructures.view import View
from micdb.embed.simulate.textures import KINDS, reference_textures
from micdb.errors import UsageError
from micdb.records import Picture, Refusal
from micdb.testing import ExtractorContract

LENGTHS = {"spheroidite": 260.0, "pearlite": 260.0, "network": 1600.0, "porous": 500.0}
CLEAN = Detector(electrons=2000.0, shading=0.0)


def render(kind, *, seed=1, pixel_size=20.0, shape=(384, 384), detector=CLEAN):
    scene = SCENES[kind](View(shape, pixel_size), LENGTHS[kind], seed)
    return scan(scene, detector, seed=seed).astype(np.float32)


def picture(image, pixel_size=20.0, *, modality="SEM"):
    size = None if pixel_size is None else tuple(np.broadcast_to(pixel_size, 2).astype(float))
    return Picture(
        7, np.asarray(image, np.float32).reshape(-1, *np.shape(image)[-2:]), size, modality, None, "p"
    )


def vectors(image, pixel_size=20.0, **parameters):
    (answer,) = Texture(**parameters).extract([picture(image, pixel_size)])
    assert not isinstance(answer, Refusal), answer.reason
    return {row["space"]: np.array(row["vector"]) for row in answer.tables["embeddings"].to_pylist()}


def refusal(image, pixel_size=20.0, *, modality="SEM", **parameters):
    (answer,) = Texture(**parameters).extract([picture(image, pixel_size, modality=modality)])
    assert isinstance(answer, Refusal)
    return answer.reason


def cosine(one, other, space="texture@32nm"):
    return float(one[space] @ other[space])


class TestTextureContract(ExtractorContract):
    extractor = Texture

    @pytest.fixture
    def picture(self):
        return picture(render("pearlite", shape=(128, 160)))


class TestInvariance:
    @pytest.mark.parametrize("turned", [np.rot90, np.flipud, np.fliplr, np.transpose])
    def test_right_angles_and_mirrors_change_nothing(self, turned):
        image = render("pearlite")
        one, other = vectors(image), vectors(turned(image))
        for space, vector in one.items():
            np.testing.assert_allclose(other[space], vector, atol=1e-4)

    @pytest.mark.parametrize("turned", [np.rot90, np.flipud])
    def test_odd_sides_are_cropped_about_the_centre(self, turned):
        image = render("pearlite", shape=(301, 207))
        assert cosine(vectors(image), vectors(turned(image))) >= 0.9999

    @pytest.mark.parametrize("kind", LENGTHS)
    @pytest.mark.parametrize("angle", [17.0, 45.0])
    def test_any_angle(self, kind, angle):
        image = render(kind, shape=(448, 448))
        y, x = np.mgrid[:448, :448] - 223.5
        disc = np.clip(200 - np.hypot(y, x), 0, 10) / 10  # the same objects stay in view
        image = image.mean() + disc * (image - image.mean())
        turned = ndimage.rotate(image, angle, order=3, reshape=False, mode="nearest")
        assert cosine(vectors(image), vectors(turned)) >= 0.95

    @pytest.mark.parametrize("kind", LENGTHS)
    def test_gain_offset_and_some_noise(self, kind):
        image = render(kind)
        noisy = image * 37 - 4000 + np.random.default_rng(3).normal(0, 37 * 0.15 * image.std(), image.shape)
        np.testing.assert_allclose(
            vectors(image * 256 + 1000)["texture@32nm"], vectors(image)["texture@32nm"], atol=2e-3
        )
        assert cosine(vectors(image), vectors(noisy)) >= 0.95

    @pytest.mark.parametrize("kind", LENGTHS)
    def test_same_field_at_two_pixel_sizes(self, kind):
        fine = render(kind, pixel_size=12.0, shape=(800, 800))
        coarse = render(kind, pixel_size=19.2, shape=(500, 500))
        assert cosine(vectors(fine, 12.0), vectors(coarse, 19.2)) >= 0.95

    def test_oblong_pixels_are_made_square(self):
        image = render("spheroidite", pixel_size=10.0, shape=(640, 640))
        oblong = image.reshape(640, 320, 2).mean(axis=2)
        assert cosine(vectors(image, 10.0), vectors(oblong, (10.0, 20.0))) >= 0.95

    def test_different_textures_are_far_apart(self):
        found = {kind: vectors(render(kind)) for kind in LENGTHS}
        pairs = [cosine(found[a], found[b]) for a in LENGTHS for b in LENGTHS if a < b]
        assert max(pairs) <= 0.6
        assert np.mean(pairs) <= 0.3

    def test_same_kind_elsewhere_is_near(self):
        for kind in LENGTHS:
            assert cosine(vectors(render(kind)), vectors(render(kind, seed=2))) >= 0.75

    def test_inverted_contrast_is_another_texture(self):
        image = render("spheroidite")
        assert cosine(vectors(image), vectors(255 - image)) < 0.6


class TestScales:
    def test_rungs_are_those_the_image_can_give(self):
        spaces = set(vectors(render("porous", shape=(200, 520)), 20.0))
        assert spaces == {"texture@32nm", UNSCALED}  # 200 * 20 nm is 62 pixels of 64 nm

    def test_five_per_cent_of_upsampling_and_no_more(self):
        image = render("porous", shape=(128, 128))
        assert "texture@32nm" in vectors(image, 33.5)
        assert "texture@32nm" not in vectors(image, 33.7)

    def test_one_rung_gives_the_same_vector_as_all(self):
        image = render("porous")
        alone = vectors(image, nm_per_pixel=64)
        assert list(alone) == ["texture@64nm"]
        np.testing.assert_array_equal(alone["texture@64nm"], vectors(image)["texture@64nm"])

    def test_without_scale_only_unscaled(self):
        assert list(vectors(render("porous"), None)) == [UNSCALED]

    def test_vectors_have_length_one(self):
        for vector in vectors(render("network")).values():
            assert math.isclose(np.linalg.norm(vector), 1.0, abs_tol=1e-5)

    def test_names_of_small_scales_are_readable(self):
        assert space_name(0.0625) == "texture@0.0625nm"
        assert space_name(16384.0) == "texture@16384nm"

    def test_spaces_follow_the_parameter(self):
        assert len(Texture().spaces) == 23
        (space,) = Texture(nm_per_pixel=256.0).spaces
        assert (space.name, space.dim, space.nm_per_pixel) == ("texture@256nm", DIM, 256.0)

    @pytest.mark.parametrize(
        ("wanted", "offered"), [(200, "256"), (-1, "256"), ("256", "256"), (1e9, "16384")]
    )
    def test_scale_off_the_ladder(self, wanted, offered):
        with pytest.raises(UsageError, match=f"nm_per_pixel is {wanted!r}.*for example {offered},"):
            Texture(nm_per_pixel=wanted)


class TestRefusals:
    def test_too_small_for_any_scale(self):
        reason = refusal(render("porous", shape=(70, 90)), 20.0)
        assert reason == (
            "90 x 70 pixels of 20 x 20 nm cannot give 64 pixels at any power of two from 0.0078125 to "
            "16384 nm/pixel without upsampling"
        )

    def test_scale_it_cannot_give(self):
        assert "at 8 nm/pixel without upsampling" in refusal(render("porous"), 20.0, nm_per_pixel=8.0)
        assert "no pixel size" in refusal(render("porous"), None, nm_per_pixel=8.0)

    def test_diffraction_is_not_an_unscaled_image(self):
        assert "diffraction" in refusal(render("porous"), None, modality="diffraction")

    def test_blank_and_unscanned(self):
        assert "blank" in refusal(np.full((96, 96), 7.0))
        half = render("porous", shape=(128, 128))
        half[70:] = np.nan
        assert vectors(half, None)
        half[60:] = np.nan
        assert refusal(half, None) == "53% of the pixels were not scanned; at most half may be missing"

    def test_a_small_range_on_a_large_offset_is_not_blank(self):
        image = render("pearlite")
        np.testing.assert_allclose(
            vectors((image / 255 * 1e-3 + 1).astype(np.float64))["texture@32nm"],
            vectors(image)["texture@32nm"],
            atol=0.05,
        )


def test_unscanned_lines_are_cut_off():
    image = render("pearlite", shape=(512, 384))
    part = image.copy()
    part[400:] = np.nan
    assert cosine(vectors(part), vectors(image[:400])) >= 0.9999


def test_stack_is_the_mean_of_its_frames():
    frames = np.stack([render("porous", seed=seed, shape=(128, 128)) for seed in (1, 2, 3)])
    mean = np.mean([vectors(frame)[UNSCALED] for frame in frames], axis=0)
    assert float(vectors(frames)[UNSCALED] @ (mean / np.linalg.norm(mean))) >= 0.999


def test_committed_constants_belong_to_the_features():
    """A change of features or simulators without new constants would unbalance every vector."""
    raw = np.array([features(image) for image in reference_textures(10 * len(KINDS), seed=1)])
    drift = np.abs(raw.mean(axis=0) - MEAN) / SPREAD
    assert drift.max() < 0.5  # 70 samples: standard error 0.12 of a standard deviation
    assert np.all((raw.std(axis=0) / SPREAD > 0.4) & (raw.std(axis=0) / SPREAD < 2.0))

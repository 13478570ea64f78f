"""`denoise` and `super-resolve` come nearer the truth than the image, and say what they cannot know."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from micdb.embed.extractors.denoise import Denoise
from micdb.embed.extractors.super_resolve import SuperResolve
from micdb.embed.nets import weights
from micdb.embed.simulate.exposure import Exposure, expose
from micdb.embed.train.noiseless import noiseless
from micdb.embed.train.restore import coarser, enlarged, few
from micdb.errors import UsageError
from micdb.records import Picture, Refusal
from micdb.restored import Restored
from micdb.testing.extractors import ExtractorContract

SEEDS = (11, 12, 13, 14)
BOTH = pytest.mark.parametrize("extractor", [Denoise, SuperResolve])


def picture(pixels, **changed):
    return replace(Picture(1, np.asarray(pixels, np.float32)[None], (4.0, 2.0), "SEM", None, "x"), **changed)


def answer(extractor, pixels, *, changed=None, **parameters):
    (given,) = extractor(turns=1, **parameters).extract([picture(pixels, **(changed or {}))])
    return given


def made(extractor, pixels, **options):
    given = answer(extractor, pixels, **options)
    return Restored.of_table(given.tables["restorations"])[0]


def error(image, truth):
    return float(np.square(image - truth).mean())


class TestDenoise(ExtractorContract):
    extractor = Denoise
    parameters: ClassVar = {"turns": 1}

    @pytest.fixture
    def picture(self):
        return picture(expose(noiseless(64, seed=1), Exposure(8.0), seed=0))


class TestSuperResolve(ExtractorContract):
    extractor = SuperResolve
    parameters: ClassVar = {"turns": 1}

    @pytest.fixture
    def picture(self):
        return picture(expose(noiseless(48, seed=1), Exposure(50.0), seed=0))


@pytest.mark.parametrize(("dose", "gain"), [(4.0, 8.0), (64.0, 3.0)])
def test_less_noise(dose, gain):
    """Over four images nobody trained on the squared error falls `gain` times or more."""
    before, after = [], []
    for seed in SEEDS:
        truth = noiseless(128, seed=seed)
        noisy = expose(truth, Exposure(dose), seed=seed)
        found = made(Denoise, noisy)
        before.append(error(noisy, truth))
        after.append(error(found.pixels, truth))
        assert found.pixel_size == (4.0, 2.0)
    assert np.exp(np.mean(np.log(before)) - np.mean(np.log(after))) > gain


def test_finer_pixels():
    """Nearer to what a finer probe shows than bicubic interpolation is, at the same places."""
    before, after = [], []
    for seed in SEEDS:
        truth = noiseless(128, seed=seed)
        image = expose(coarser(truth, 1.1), Exposure(200.0), seed=seed)
        found = made(SuperResolve, image)
        assert found.pixels.shape == (128, 128)
        assert found.pixel_size == (2.0, 1.0)
        before.append(error(enlarged(image), truth))
        after.append(error(found.pixels, truth))
    assert np.exp(np.mean(np.log(before)) - np.mean(np.log(after))) > 10**0.2  # 2 dB


@BOTH
def test_nothing_is_invented_on_pure_noise(extractor):
    noise = np.random.default_rng(0).normal(3.0, 1.0, (128, 128))
    found = made(extractor, noise)
    assert found.pixels.std() < 0.15
    assert found.numbers["resolution_px"] is None
    assert found.numbers["residual_correlation"] == pytest.approx(0.0, abs=0.03)
    assert found.numbers["noise"] == pytest.approx(1.0, rel=0.05)


@BOTH
def test_values_keep_their_unit(extractor):
    """Currents of 1e-12 A, or heights about -5 with a gain: the same image in another unit."""
    image = expose(noiseless(64, seed=11), Exposure(30.0), seed=0)
    plain, other = made(extractor, image), made(extractor, 1e-12 * image - 3e-12)
    assert other.pixels == pytest.approx(1e-12 * plain.pixels - 3e-12, abs=2e-3 * 1e-12)
    assert other.numbers["noise"] == pytest.approx(1e-12 * plain.numbers["noise"], rel=1e-2)


@BOTH
def test_lines_that_were_not_scanned_stay_empty(extractor):
    image = expose(noiseless(64, seed=11), Exposure(30.0), seed=0)
    image[44:] = np.nan
    found = made(extractor, image)
    rows = np.isnan(found.pixels).all(axis=1)
    assert rows.sum() == 20 * extractor.factor
    assert not np.isnan(found.pixels[~rows]).any()
    assert not found.invented[rows].any()


@BOTH
def test_an_image_without_scale_is_restored_and_says_so(extractor):
    image = expose(noiseless(64, seed=11), Exposure(30.0), seed=0)
    found = made(extractor, image, changed={"pixel_size": None})
    assert found.pixel_size is None
    assert found.numbers["resolution_nm"] is None


@pytest.mark.parametrize(
    ("pixels", "changed", "reason"),
    [
        (np.ones((64, 64)), {}, "blank"),
        (np.zeros((8, 64)), {}, "at least 32 are needed"),
        (np.full((64, 64), np.nan), {}, "were scanned"),
        (np.eye(64), {"modality": "diffraction"}, "knows images, not diffraction patterns"),
    ],
)
@BOTH
def test_refusals(extractor, pixels, changed, reason):
    given = answer(extractor, pixels, changed=changed)
    assert isinstance(given, Refusal)
    assert reason in given.reason


@BOTH
def test_images_too_large_to_be_a_row_are_refused(extractor):
    shape = (1, 8193 * 8192 // extractor.factor**2)
    (given,) = extractor().extract([picture(np.broadcast_to(np.float32(0.0), shape))])
    assert "cut the image" in given.reason


def test_what_is_wrong_with_parameters_is_said(tmp_path):
    with pytest.raises(UsageError, match="turns is 9; expected 1 to 8"):
        Denoise(turns=9)
    with pytest.raises(UsageError, match="expected a file denoise.safetensors that micdb train denoise"):
        Denoise(weights=str(tmp_path / "other.safetensors"))


@BOTH
def test_the_card_is_that_of_the_weights(extractor):
    known = weights.card(extractor.name)
    assert extractor().card.weights_hash == known.sha256
    assert (weights.FOLDER / f"{extractor.name}.safetensors").stat().st_size < 2.5e6


@pytest.mark.parametrize("name", ["denoise", "super-resolve", "super-resolve-adversarial"])
def test_the_shipped_files_reach_what_their_cards_say(name):
    factor = 1 if name == "denoise" else 2
    assert few(weights.unet(name), factor) == pytest.approx(
        weights.card(name).measured["psnr_of_few"], abs=0.05
    )


def test_the_adversarial_network_is_asked_where_it_is_wanted():
    plain, other = SuperResolve(), SuperResolve(adversarial=True)
    assert other.card.weights_hash == weights.card("super-resolve-adversarial").sha256
    assert plain.card.weights_hash == weights.card("super-resolve").sha256
    truth = noiseless(128, seed=11)
    image = expose(coarser(truth, 1.1), Exposure(100.0), seed=0)
    one, two = (made(SuperResolve, image, adversarial=adversarial).pixels for adversarial in (False, True))
    assert np.abs(one - two).max() > 0.01
    assert error(two, truth) < 0.8 * error(enlarged(image), truth)

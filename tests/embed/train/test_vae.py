"""An autoencoder learns what varies in windows: turns are left out where asked, and so is what is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from micdb.embed.extractors.vae import Latents, kind_of
from micdb.embed.micro.windows import MOST, windows
from micdb.embed.nets import weights
from micdb.embed.nets.vae import Vae
from micdb.embed.train.vae import Shown, explained, teach
from micdb.errors import UsageError
from micdb.records import Picture, Refusal
from micdb.testing.extractors import ExtractorContract

SIDE = 16  # [pixel]


@pytest.fixture(autouse=True)
def smaller(monkeypatch):
    monkeypatch.setattr("micdb.embed.train.vae.SIDE", SIDE)  # a quarter of the time


def bar(width, angle, noise):
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    across = x * np.cos(angle) + y * np.sin(angle)
    return 1 / (1 + np.exp((np.abs(across) - width) * 2)) + noise


def bars(seed, *, turned=True, count=40):
    """Return images of one bar each, of a width and, if turned, an angle at random, and the widths."""
    rng = np.random.default_rng(seed)
    widths, angles = rng.uniform(0.8, 3.5, count), rng.uniform(0, np.pi, count) * turned
    noise = 0.05 * rng.normal(size=(count, SIDE, SIDE))
    return [bar(*one) for one in zip(widths, angles, noise, strict=True)], widths


def codes(network, images):
    cut = torch.from_numpy(np.concatenate([windows(one, SIDE) for one in images]))[:, None]
    with torch.inference_mode():
        return network.encode(network.seen(cut))[0].numpy()


def unexplained(widths, code):
    fit = np.column_stack((code, code**2, np.ones(len(code))))
    return (widths - fit @ np.linalg.lstsq(fit, widths, rcond=None)[0]).var() / widths.var()


def taught(folder, images, steps=400, **options):
    made = teach([Shown(one) for one in images], folder, steps=steps, **options)
    return made, weights.load("vae", Vae, folder)


def test_what_varies_is_found_in_few_numbers(tmp_path):
    images, _ = bars(0, turned=False, count=200)
    made, network = taught(tmp_path, images, steps=100, latent=2)
    assert (made.network["latent"], made.recipe["windows"], kind_of(made)) == (2, 200, "vae")
    new, widths = bars(1, turned=False)
    assert unexplained(widths, codes(network, new)) < 0.1
    cut = np.concatenate([windows(one, SIDE) for one in new])
    assert explained(network, cut, np.zeros((40, 0), "f4")) > 0.8


def test_turning_a_window_changes_the_angle_and_not_the_latent_variables(tmp_path):
    images, _ = bars(2, count=200)
    _, network = taught(tmp_path, images, steps=200, latent=2, invariant=True)
    new, widths = bars(3)
    code = codes(network, new)
    assert unexplained(widths, code) < 0.2
    np.testing.assert_allclose(codes(network, [np.rot90(one) for one in new]), code, atol=1e-4)
    clean = [codes(network, [bar(width, angle, 0.0) for width in widths]) for angle in (0.3, 1.2, 2.5)]
    assert (np.ptp(clean, axis=0).mean(axis=0) < 0.15 * code.std(axis=0).max()).all()
    cut = np.concatenate([windows(one, SIDE) for one in new])
    assert explained(network, cut, np.zeros((40, 0), "f4")) > 0.7


def test_an_angle_turns_what_is_drawn():
    network = Vae(SIDE, 2, invariant=True)
    drawn = network.decode(torch.ones(2, 2), torch.zeros(2, 0), torch.tensor([0.0, np.pi / 2])).detach()
    np.testing.assert_allclose(np.rot90(drawn[0, 0]), drawn[1, 0], atol=1e-4)


def test_what_is_told_is_drawn_and_need_not_be_learnt(tmp_path):
    images, widths = bars(3, turned=False, count=200)
    shown = [Shown(one, (float(width),)) for one, width in zip(images, widths, strict=True)]
    made = teach(shown, tmp_path, latent=1, conditions=["width"], steps=300)
    assert kind_of(made) == "cvae"
    assert made.recipe["conditions"]["width"] == pytest.approx([widths.mean(), widths.std()])
    network = weights.load("vae", Vae, tmp_path)
    drawn = network.decode(torch.zeros(2, 1), torch.tensor([[-1.5], [1.5]])).detach().numpy()
    narrow, wide = (drawn > 0).mean(axis=(1, 2, 3))
    assert wide > narrow + 0.1
    _, plain = taught(tmp_path / "plain", images, steps=300, latent=1)
    assert codes(network, images).std() < 0.3 * codes(plain, images).std()


def test_a_disc_that_shows_nothing_is_not_blown_up():
    corner = np.zeros((SIDE, SIDE))
    corner[:3, :3] = 1.0
    cut = torch.from_numpy(windows(corner + 1e-5 * bar(2.0, 0.0, 0.0), SIDE))[:, None]
    assert Vae(SIDE, invariant=True).seen(cut)[0, 0, 4:12, 4:12].abs().max() < 0.1


def test_the_same_seed_teaches_the_same(tmp_path):
    images, _ = bars(4, count=80)
    one, again = (teach([Shown(image) for image in images], tmp_path / name, steps=3) for name in "ab")
    assert one.sha256 == again.sha256


def test_what_teaches_nothing_is_refused(tmp_path):
    images, _ = bars(5, count=9)
    with pytest.raises(
        UsageError, match="9 windows of 16 x 16 pixels in 9 images; an autoencoder learns from 64"
    ):
        taught(tmp_path, images)
    with pytest.raises(UsageError, match="latent is 0; expected a number of latent variables, 1 to 32"):
        taught(tmp_path, images, latent=0)
    with pytest.raises(UsageError, match="holds the weights that micdb ships"):
        taught(weights.FOLDER, images)


def test_windows_are_alike_and_spread_over_the_image():
    image = np.random.default_rng(0).normal(3, 2, (1000, 800))
    cut = windows(image, 32)
    assert cut.shape == (MOST, 32, 32)
    np.testing.assert_allclose(cut.mean(axis=(1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(cut.std(axis=(1, 2)), 1, atol=1e-5)
    image[:, :400] = 7.0
    assert len(windows(image[:, :400], 32)) == 0
    assert len(windows(image[:20], 32)) == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("vae")
    images = [np.random.default_rng(seed).normal(size=(32, 32)) for seed in range(80)]
    teach([Shown(one) for one in images], place, steps=5, invariant=True, nm_per_pixel=10.0)
    return place


class TestContract(ExtractorContract):
    extractor = Latents

    @pytest.fixture(autouse=True)
    def taught(self, folder, monkeypatch):
        monkeypatch.setattr(type(self), "parameters", {"weights": str(folder / "vae.safetensors")})

    @pytest.fixture
    def picture(self):
        image = np.random.default_rng(1).normal(5, 1, (96, 96)).astype(np.float32)
        return Picture(1, image[None], (10.0, 10.0), "SEM", None, "steel")


def test_rows_are_named_by_what_taught_them_and_scales_are_kept(folder):
    image = np.random.default_rng(2).normal(5, 1, (2, 128, 128)).astype(np.float32)
    asked = Latents(weights=str(folder / "vae.safetensors"))
    (given,) = asked.extract([Picture(1, image, (5.0, 5.0), "SEM", None, None)])
    rows = given.tables["latents"].to_pylist()
    assert [(row["frame"], row["name"]) for row in rows[:5]] == [
        (0, "rvae 0"), (0, "rvae 1"), (0, "rvae 2"), (0, "rvae 3"), (1, "rvae 0"),
    ]  # fmt: skip
    assert all(row["sd"] > 0 for row in rows)
    for size, reason in (((20.0, 20.0), "would need upsampling"), (None, "the image has no pixel size")):
        (refused,) = asked.extract([Picture(1, image, size, "SEM", None, None)])
        assert isinstance(refused, Refusal)
        assert reason in refused.reason
    with pytest.raises(UsageError, match="vae has learnt nothing yet: teach it"):
        list(Latents().extract([Picture(1, image, None, "SEM", None, None)]))

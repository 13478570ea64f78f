"""Weights come as they were written, or not at all; the U-Net is what its card says."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from micdb import extras
from micdb.embed.nets import weights
from micdb.embed.nets.unet import UNet
from micdb.embed.train.recipe import RECIPES
from micdb.errors import MissingExtraError, StoreError, UsageError


@pytest.mark.parametrize(("base", "levels", "shape"), [(4, 2, (18, 30)), (8, 3, (64, 36)), (4, 4, (32, 40))])
def test_a_map_is_as_large_as_the_image(base, levels, shape):
    network = UNet(1, 3, base=base, levels=levels).eval()
    assert shape[0] % network.multiple == 0
    with torch.inference_mode():
        assert network(torch.zeros(2, 1, *shape)).shape == (2, 3, *shape)


def test_one_picture_s_answer_does_not_depend_on_its_company():
    torch.manual_seed(0)
    network = UNet(base=4).eval()
    images = torch.randn(3, 1, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(network(images)[1:2], network(images[1:2]))


@pytest.fixture
def saved(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    weights.unet.cache_clear()
    torch.manual_seed(1)
    network = UNet(base=4, levels=2).eval()
    weights.save(
        network, "some", arguments={"base": 4, "levels": 2}, recipe={"steps": 1}, measured={"F1": "1"},
        folder=tmp_path,
    )  # fmt: skip
    yield network
    weights.unet.cache_clear()


def test_what_is_saved_comes_back(saved):
    image = torch.randn(1, 1, 16, 16)
    loaded = weights.unet("some")
    with torch.inference_mode():
        torch.testing.assert_close(loaded(image), saved(image), rtol=0, atol=0)
    assert not loaded.training
    assert not any(one.requires_grad for one in loaded.parameters())
    assert weights.unet("some") is loaded


def test_other_bytes_than_the_card_s_are_refused(saved, tmp_path):
    path = tmp_path / "some.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        StoreError, match=r"some.safetensors is not the file its card was written for: install"
    ):
        weights.unet("some")
    path.unlink()
    with pytest.raises(StoreError, match="is not the file its card was written for"):
        weights.unet("some")


@pytest.mark.parametrize("build", [lambda **_: UNet(base=8, levels=2), lambda base: UNet(base=base)])
def test_weights_of_another_architecture_are_refused(saved, tmp_path, build):
    """As those that a user taught with an earlier micdb: other tensors, or other arguments."""
    with pytest.raises(StoreError, match=r"some.safetensors was taught for another network than .*: train"):
        weights.load("some", build, tmp_path)


def test_unknown_weights_are_named_with_the_nearest(saved):
    with pytest.raises(UsageError, match="there are no weights 'sone'.*some"):
        weights.card("sone")


def test_without_torch_the_install_line_is_said(saved, monkeypatch):
    monkeypatch.setattr(extras, "import_module", lambda name: (_ for _ in ()).throw(ImportError(name)))
    with pytest.raises(
        MissingExtraError, match=r"this needs the package 'torch': pip install 'micdb\[embed\]'"
    ):
        weights.unet("some")


SHIPPED = sorted(path.stem for path in weights.FOLDER.glob("*.json"))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_card_is_whole(name):
    card = weights.card(name)
    document = json.loads((weights.FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert set(document) == {"name", "sha256", "network", "recipe", "measured"}
    assert card.name == name
    assert card.recipe
    assert card.measured
    state = weights.load(name, RECIPES[name].build).state_dict()
    assert all(np.isfinite(value.numpy()).all() for value in state.values())


def test_all_weights_together_are_small():
    assert sum(path.stat().st_size for path in weights.FOLDER.iterdir()) < 20e6

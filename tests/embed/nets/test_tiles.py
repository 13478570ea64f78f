"""Asking by tiles: the same answer as for the whole image, whatever the depth of the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from micdb.embed.nets import tiles
from micdb.embed.nets.unet import UNet


@pytest.mark.parametrize("levels", [3, 4, 5])
def test_tiles_make_no_difference(levels, monkeypatch):
    torch.manual_seed(0)
    network = UNet(2, 3, base=2, levels=levels).eval()
    value = np.random.default_rng(0).normal(size=(2, 200, 230)).astype(np.float32)
    whole = tiles.tiled(value, network)
    assert whole.shape == (3, 200, 230)
    monkeypatch.setattr(tiles, "TILE", 64)
    np.testing.assert_allclose(tiles.tiled(value, network), whole, atol=1e-5)

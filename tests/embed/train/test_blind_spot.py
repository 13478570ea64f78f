"""Learning noise from noisy images alone."""

from __future__ import annotations

import numpy as np
import pytest

from micdb.embed.extractors.denoise import Denoise
from micdb.embed.nets import weights
from micdb.embed.simulate.exposure import Exposure, expose
from micdb.embed.train.blind_spot import hide, teach
from micdb.embed.train.noiseless import noiseless
from micdb.errors import UsageError


def test_hidden_pixels_show_a_neighbour_and_never_themselves():
    seen = np.random.default_rng(0).permutation(96 * 96).reshape(96, 96).astype(np.float32)
    for seed in range(20):
        shown, hidden = hide(seen, np.random.default_rng(seed))
        changed = shown != seen
        np.testing.assert_array_equal(changed, hidden > 0)
        assert 0.05 < hidden.mean() < 0.07
        for y, x in np.argwhere(changed)[:50]:
            assert shown[y, x] in seen[y - 2 : y + 3, x - 2 : x + 3]


def test_what_was_taught_is_used_and_told(tmp_path):
    images = [expose(noiseless(96, seed=seed), Exposure(10.0), seed=seed) for seed in (11, 12)]
    made = teach(images, tmp_path, steps=2)
    assert made.recipe["images"] == 2
    assert made.recipe["from"] == weights.card("denoise").sha256
    own = Denoise(weights=str(tmp_path / "denoise.safetensors"))
    assert own.card.weights_hash == made.sha256 != Denoise().card.weights_hash


def test_what_cannot_be_learnt_from_is_said(tmp_path):
    with pytest.raises(UsageError, match="2 images, none of 96 x 96 pixels or more that is not blank"):
        teach([np.ones((128, 128)), np.eye(64)], tmp_path)
    with pytest.raises(UsageError, match="weights that micdb ships"):
        teach([np.eye(128)], weights.FOLDER)

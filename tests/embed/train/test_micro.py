"""The shipped weights `micro`, which others begin from, give what their card says."""

from __future__ import annotations

import pytest

from micdb.embed.nets import weights
from micdb.embed.train.micro import FEW, scores


def test_the_file_gives_the_numbers_of_its_card():
    pixels, scenes, noise = weights.card("micro").measured["of_few"]
    found = scores(weights.unet("micro"), FEW)
    assert found[:2] == pytest.approx((pixels, scenes), abs=0.01)
    assert found[2] == pytest.approx(noise, abs=0.1)  # [dB]

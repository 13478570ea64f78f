"""One loop trains everything: the same for the same seed, whatever the number of processes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from micdb.embed.train.atoms import batch, scene
from micdb.embed.train.loop import Schedule, _alone, train


def line(seed):
    x = np.random.default_rng(seed).uniform(-1, 1, (16, 1)).astype(np.float32)
    return x, 3 * x - 1


def squared(network, arrays):
    x, y = arrays
    return ((network(x) - y) ** 2).mean()


def build():
    return torch.nn.Linear(1, 1)


def test_it_learns_and_repeats_itself_for_any_number_of_workers():
    seen = []
    first, seconds = train(
        build, line, squared, Schedule(200, rate=0.1), watch=lambda step, loss: seen.append((step, loss))
    )
    assert first.weight.item() == pytest.approx(3, abs=0.02)
    assert first.bias.item() == pytest.approx(-1, abs=0.02)
    assert not first.training
    assert seconds > 0
    assert [step for step, _ in seen] == [100, 200]
    assert seen[1][1] < seen[0][1]
    again, _ = train(build, line, squared, Schedule(200, rate=0.1), workers=2)
    assert torch.equal(first.weight, again.weight)


def threads(seed):
    return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}


def test_workers_compute_with_one_thread():
    assert _alone(threads, 0) == {1}


def test_the_rate_rises_and_falls():
    schedule = Schedule(100)
    rates = [schedule.rate_at(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == rates[4] == 1
    assert rates[-1] < 0.01
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_scenes_are_those_of_their_seed_and_show_their_columns():
    images, maps = batch(5)
    again, _ = batch(5)
    np.testing.assert_array_equal(images, again)
    assert images.shape == maps.shape == (8, 1, 128, 128)
    assert images.dtype == maps.dtype == np.float32
    assert not np.array_equal(batch(6)[0], images)
    bright = [one for one in map(scene, range(40)) if one.conditions["counts"] > 100 and len(one.xy) > 5]
    for one in bright:  # columns are brighter than the places between them, on the whole
        x, y = np.clip(np.rint(one.xy).astype(int), 0, 127).T
        assert np.median(one.image[y, x]) > np.median(one.image)
    assert len(bright) > 3

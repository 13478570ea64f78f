"""Many images: the same in any number of processes."""

from __future__ import annotations

from itertools import count, islice

import numpy as np
import pytest

from micdb.embed.simulate.graphene import graphene
from micdb.embed.simulate.many import seeds_of, simulate_many
from micdb.embed.simulate.stem import adf_image
from micdb.errors import UsageError


def small_image(seed):
    structure = graphene((1.5, 1.5), seed=seed % 1000, defects={"vacancy": 1})
    return adf_image(structure, (96, 96), pixel_size=0.016, seed=seed, contamination=0.2)


def fails(seed):
    raise ValueError(f"seed {seed}")


def test_parallel_is_serial_bit_for_bit():
    seeds = seeds_of(7, 11)
    serial = list(simulate_many(small_image, seeds))
    parallel = list(simulate_many(small_image, seeds, processes=2, chunk=3))
    assert len(parallel) == 11
    for one, other in zip(serial, parallel, strict=True):
        assert one.image.tobytes() == other.image.tobytes()
        np.testing.assert_array_equal(one.xy, other.xy)
        assert one.defects == other.defects


def test_endless_seeds_are_read_only_as_far_as_needed():
    drawn = []
    seeds = (drawn.append(seed) or seed for seed in count())
    assert [one.image.shape for one in islice(simulate_many(small_image, seeds), 3)] == [(96, 96)] * 3
    assert drawn == [0, 1, 2]


def test_an_error_reaches_the_reader():
    with pytest.raises(ValueError, match="seed 3"):
        list(simulate_many(fails, [3, 4], processes=2))


def test_seeds_are_distinct_and_repeatable():
    assert len(set(seeds_of(1, 1000))) == 1000
    assert seeds_of(1, 10) == seeds_of(1, 20)[:10]
    assert seeds_of(1, 10) != seeds_of(2, 10)


def test_mistakes_are_told():
    with pytest.raises(UsageError, match="processes is 0 and chunk 16; expected 1 or more of each"):
        simulate_many(small_image, [1], processes=0)

"""Size distributions: planted ones come back, without the bias of the edge, and intervals hold."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micdb.analysis.sizes import ks_distance, size_distribution
from micdb.embed.micro.objects import measure
from micdb.errors import UsageError

MEDIAN, SPREAD = 20.0, 0.4  # [nm], of the logarithm
MEAN = MEDIAN * math.exp(SPREAD**2 / 2)
DENSITY = 4e-4  # [nm**-2]
SIDE = 256.0  # [nm]


def field(rng, image, shift=0.0):
    """Discs at random, and which of them an edge cuts: exact, without pixels."""
    count = rng.poisson(DENSITY * (SIDE + 200) ** 2)
    centre = rng.uniform(-100, SIDE + 100, (count, 2))
    size = MEDIAN * np.exp(shift + rng.normal(0, SPREAD, count))
    near, far = centre - size[:, None] / 2, centre + size[:, None] / 2
    shown = ((far > 0) & (near < SIDE)).all(axis=1)
    whole = ((near > 0) & (far < SIDE)).all(axis=1)
    weight = np.where(whole, SIDE**2 / np.maximum(SIDE - size, 1) ** 2, 0.0)
    rows = pd.DataFrame({"image": image, "diameter_nm": size, "weight": weight})
    return rows[shown]


def fields(count, seed, between=0.0):
    rng = np.random.default_rng(seed)
    rows = pd.concat([field(rng, one, between * rng.normal()) for one in range(count)])
    return rows, dict.fromkeys(range(count), SIDE**2)


def coverage(images, between, statistic, truth, repeats=50):
    held = 0
    for seed in range(repeats):
        rows, area = fields(images, (images, seed), between)
        low, high = size_distribution(rows, area_nm2=area, draws=100, seed=seed).interval(statistic)
        held += low <= truth <= high
    return held / repeats


def test_edges_cut_large_particles_and_the_weights_give_them_back():
    rows, area = fields(300, 1)
    found = size_distribution(rows, area_nm2=area, draws=50)
    whole = rows[rows.weight > 0]
    assert whole.diameter_nm.mean() < 0.975 * MEAN  # what is seen whole is too small
    assert found["mean"] == pytest.approx(MEAN, rel=0.01)
    assert found["median"] == pytest.approx(MEDIAN, rel=0.01)
    assert found["q0.9"] == pytest.approx(MEDIAN * math.exp(1.2816 * SPREAD), rel=0.02)
    assert len(whole) / (300 * SIDE**2) < 0.9 * DENSITY
    assert found["density"] == pytest.approx(DENSITY, rel=0.02)
    assert (found.resampled, found.images, found.n) == ("images", 300, len(whole))


def test_the_same_from_pixels():
    """Discs drawn into label images and measured."""
    rng, rows = np.random.default_rng(2), []
    y, x = np.mgrid[:200, :200]
    for image in range(60):
        labels = np.zeros((200, 200), int)
        for number in range(1, 15):
            centre, radius = rng.uniform(-40, 240, 2), rng.choice([8.0, 30.0])
            inside = np.hypot(y - centre[0], x - centre[1]) < radius
            if not labels[inside].any():
                labels[inside] = number
        one = measure(labels)
        rows.append(pd.DataFrame({"image": image, "diameter_px": one.diameter, "weight": one.weight}))
    rows = pd.concat(rows)
    found = size_distribution(rows, "diameter_px", bins=[0, 30, 100], draws=20)
    seen = (rows.diameter_px[rows.weight > 0] > 30).mean()
    small = found.histogram.loc[0, "share"]
    inner = rows[rows.weight > 0]
    expected = 200**2 / (200 - 61) ** 2 / (200**2 / (200 - 17) ** 2)  # a large one for a small one
    ratio = (inner.weight[inner.diameter_px > 30].mean()) / inner.weight[inner.diameter_px < 30].mean()
    assert ratio == pytest.approx(expected, rel=0.05)
    assert 1 - small > seen


@pytest.mark.parametrize(
    ("images", "between", "statistic", "truth"),
    [(1, 0.0, "mean", MEAN), (1, 0.0, "density", DENSITY), (2, 0.15, "median", MEDIAN),
     (8, 0.15, "median", MEDIAN), (20, 0.15, "mean", MEAN * math.exp(0.15**2 / 2))],
)  # fmt: skip
def test_intervals_hold_the_truth_as_often_as_they_say(images, between, statistic, truth):
    assert (
        coverage(images, between, statistic, truth) >= 0.84
    )  # 0.95, less two deviations of 50 repeats and some


def test_images_that_differ_widen_the_interval():
    rows, _ = fields(12, 3, between=0.3)
    apart = size_distribution(rows, draws=300)
    mixed = size_distribution(rows.assign(image=0), draws=300)
    assert mixed.resampled == "particles"
    wide, narrow = (np.subtract(*one.interval("mean")[::-1]) for one in (apart, mixed))
    assert wide > 2 * narrow


def test_images_without_particles_lower_the_density():
    rows, area = fields(6, 4)
    both = size_distribution(rows, area_nm2={**area, 99: 6 * SIDE**2}, draws=20)
    assert both["density"] == pytest.approx(size_distribution(rows, area_nm2=area, draws=20)["density"] / 2)
    assert both.images == 7
    assert "density" not in size_distribution(rows, draws=20).statistics.index


@settings(max_examples=12, deadline=None)
@given(
    sizes=st.lists(st.floats(1, 1e3), min_size=2, max_size=30),
    scale=st.floats(0.1, 10),
    seed=st.integers(0, 99),
)
def test_laws_of_a_distribution(sizes, scale, seed):
    rng = np.random.default_rng(seed)
    image, weight = rng.integers(0, 3, len(sizes)), rng.uniform(1, 3, len(sizes))
    rows = pd.DataFrame({"image": image, "diameter_nm": sizes, "weight": weight})
    one = size_distribution(rows, draws=40, seed=1)
    order = one.statistics.loc[["q0.1", "q0.25", "median", "q0.75", "q0.9"]]
    assert (np.diff(order["value"]) >= 0).all()
    assert min(sizes) <= one["mean"] * (1 + 1e-12)
    assert one["mean"] <= max(sizes) * (1 + 1e-12)
    assert one.histogram["share"].sum() == pytest.approx(1)
    assert one.histogram["n"].sum() == one.n == len(sizes)
    assert (one.statistics["low"] <= one.statistics["high"]).all()
    larger = size_distribution(rows.assign(diameter_nm=scale * rows.diameter_nm), draws=40, seed=1)
    assert larger["median"] == pytest.approx(scale * one["median"])
    heavier = size_distribution(rows.assign(weight=scale * rows.weight), draws=40, seed=1)
    assert heavier["q0.25"] == pytest.approx(one["q0.25"])


def test_distance_of_distributions():
    assert ks_distance([1, 2, 3], [1, 2, 3]) == 0
    assert ks_distance([1, 2], [3, 4]) == 1
    assert ks_distance([1, 2, 2], [1, 2], weights=([2, 1, 1], [1, 1])) == 0
    with pytest.raises(UsageError, match="0 and 1 sizes; expected one at least of each"):
        ks_distance([], [1])


def test_what_cannot_be_told_is_said():
    rows, area = fields(2, 5)
    with pytest.raises(UsageError, match="no column major_nm; expected rows of the table particles"):
        size_distribution(rows, "major_nm")
    with pytest.raises(UsageError, match=r"none of \d+ particles has a diameter_nm and touches no edge"):
        size_distribution(rows.assign(weight=0.0))
    with pytest.raises(UsageError, match="image 1 has particles and no area"):
        size_distribution(rows, area_nm2={0: area[0]})
    with pytest.raises(UsageError, match="level is 95; expected one between 0 and 1"):
        size_distribution(rows, level=95)
    with pytest.raises(UsageError, match="a quantile is 50; expected 0 to 1"):
        size_distribution(rows, quantiles=[50])
    with pytest.raises(UsageError, match="draws is 0; expected 1 or more"):
        size_distribution(rows, draws=0)

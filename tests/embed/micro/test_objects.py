"""Objects are measured as they were drawn, at every size of pixel, and the edge takes no bias in."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from micdb.embed.micro.objects import boundary, measure


def ellipse(shape, *, centre, axes, angle=0.0, step=(1.0, 1.0)):
    """Return the pixels of an ellipse; everything in the unit of the step."""
    y, x = np.indices(shape)
    y, x = y * step[0] - centre[1], x * step[1] - centre[0]
    turn = math.radians(angle)
    along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    return np.hypot(2 * along / axes[0], 2 * across / axes[1]) <= 1


@pytest.mark.parametrize("step", [(1.0, 1.0), (0.5, 0.5), (0.5, 0.8)])
@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0, 135.0])
def test_an_ellipse_has_its_axes_and_its_direction(step, angle):
    inside = ellipse((160, 160), centre=(40.3, 38.4), axes=(40, 20), angle=angle, step=step)
    (found,) = rows(measure(inside.astype(int), step))
    assert found["x"] * step[1] == pytest.approx(40.3, abs=0.1)
    assert found["y"] * step[0] == pytest.approx(38.4, abs=0.1)
    assert found["major"] == pytest.approx(40, rel=0.01)
    assert found["minor"] == pytest.approx(20, rel=0.01)
    assert abs((found["angle_deg"] - angle + 90) % 180 - 90) < 1
    assert found["area"] == pytest.approx(math.pi * 200, rel=0.01)
    assert found["perimeter"] == pytest.approx(96.9, rel=0.03)  # Ramanujan's formula
    assert found["solidity"] > 0.94


def rows(objects):
    names = [name for name in objects.__slots__ if name != "box"]
    return [{name: getattr(objects, name)[i] for name in names} for i in range(len(objects.label))]


def test_a_disc_is_round_and_a_star_is_not():
    labels = np.zeros((100, 200), int)
    labels[ellipse((100, 200), centre=(50.3, 49.6), axes=(60, 60))] = 4
    labels[45:55, 110:190] = labels[10:90, 145:155] = 9
    disc, cross = rows(measure(labels))
    assert (disc["label"], cross["label"]) == (4, 9)
    assert disc["circularity"] > 0.97
    assert cross["circularity"] < 0.4
    assert disc["solidity"] > 0.96
    assert cross["solidity"] == pytest.approx(1500 / 3950, abs=0.02)
    assert disc["diameter"] == pytest.approx(60, rel=0.01)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.int64, st.tuples(st.integers(3, 12), st.integers(3, 12)), elements=st.integers(-1, 3)))
def test_every_pixel_is_counted_once_and_turning_changes_nothing(labels):
    found, turned = measure(labels), measure(np.rot90(labels))
    assert found.area_px.sum() == (labels > 0).sum()
    assert found.label.tolist() == sorted(set(labels[labels > 0].tolist()))
    for name in ("area_px", "perimeter", "major", "minor", "weight", "on_edge"):
        np.testing.assert_allclose(getattr(found, name), getattr(turned, name), rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(found.x, labels.shape[1] - 1 - turned.y)
    assert (found.major >= found.minor).all()
    assert np.nanmax(found.solidity, initial=0) <= 1 + 1e-9


def test_the_edge_takes_no_bias_in():
    """Discs of two sizes, half of each: unweighted, the large ones are too few."""
    rng = np.random.default_rng(3)
    seen = {6: [0.0, 0.0], 30: [0.0, 0.0]}
    for _ in range(2000):
        labels = np.zeros((75, 75), int)
        size = int(rng.choice([6, 30]))
        labels[ellipse((75, 75), centre=rng.uniform(-30, 105, 2), axes=(size, size))] = 1
        found = measure(labels)
        if len(found.label) and not found.on_edge[0]:
            seen[size][0] += 1
            seen[size][1] += found.weight[0]
    assert seen[30][0] < 0.65 * seen[6][0]
    assert seen[30][1] == pytest.approx(seen[6][1], rel=0.2)


def test_nothing_is_measured_of_nothing():
    found = measure(np.zeros((5, 6), int))
    assert len(found.label) == 0
    assert found.box.shape == (0, 4)


def test_a_single_pixel_has_an_area_and_no_shape():
    labels = np.zeros((5, 5), int)
    labels[2, 2] = 1
    (found,) = rows(measure(labels))
    assert (found["area_px"], found["on_edge"]) == (1, False)
    assert math.isnan(found["circularity"])
    assert math.isnan(found["solidity"])


def test_the_boundary_of_a_phase_ends_at_the_edge_of_the_image():
    y, x = np.indices((200, 300))
    assert boundary(x < 120) == pytest.approx(200, rel=0.06)  # four directions miss 5 % of straight lines
    disc = np.hypot(x - 150.3, y - 99.6) < 60
    assert boundary(disc) == pytest.approx(2 * math.pi * 60, rel=0.02)
    assert boundary(disc, (0.5, 0.5)) == pytest.approx(math.pi * 60, rel=0.02)
    half = np.hypot(x - 150.3, y + 0.5) < 60
    assert boundary(half) == pytest.approx(math.pi * 60, rel=0.03)
    assert boundary(np.ones((9, 9), bool)) == 0

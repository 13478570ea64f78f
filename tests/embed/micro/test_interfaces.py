"""Thickness of films, shared boundaries and denuded zones, of planted ones."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micdb.embed.micro.interfaces import interfaces, thickness


def band(width: float, degrees: float, side: int = 200) -> np.ndarray:
    """Return a straight film of a width [pixel] through the middle."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    turn = math.radians(degrees)
    return np.abs(x * math.sin(turn) - y * math.cos(turn)) < width / 2


def pair(labels: np.ndarray, phase: int, other: int, step=(1.0, 1.0)):
    (found,) = [one for one in interfaces(labels, step) if (one.phase, one.other) == (phase, other)]
    return found


@pytest.mark.parametrize("width", range(1, 8))
def test_a_straight_film_of_whole_pixels_is_as_thick_as_it_is(width):
    film = np.zeros((60, 80), bool)
    film[20 : 20 + width] = True
    assert thickness(film) == width
    assert thickness(film, (0.5, 2.0)) == pytest.approx(0.5 * width)


@given(width=st.floats(3, 20), degrees=st.floats(0, 180))
@settings(max_examples=20, deadline=None)
def test_a_film_of_any_direction_is_as_thick_within_a_pixel(width, degrees):
    assert thickness(band(width, degrees)) == pytest.approx(width, abs=1.2)


def test_there_is_no_thickness_of_nothing_or_of_everything():
    assert math.isnan(thickness(np.zeros((9, 9), bool)))
    assert math.isnan(thickness(np.ones((9, 9), bool)))


@given(width=st.floats(2, 8), zone=st.floats(4, 30), degrees=st.floats(0, 180))
@settings(max_examples=20, deadline=None)
def test_the_denuded_zone_is_as_wide_as_it_was_planted(width, zone, degrees):
    labels = np.full((200, 200), 2)
    labels[band(width + 2 * zone, degrees)] = 0
    labels[band(width, degrees)] = 1
    assert pair(labels, 1, 2).distance == pytest.approx(zone, abs=1.2)
    assert pair(labels, 2, 1).distance == pytest.approx(zone, abs=1.2)
    assert pair(labels, 1, 0).distance == 0


def test_lengths_are_in_the_unit_of_the_step():
    labels = np.zeros((50, 100), int)
    labels[30:] = 1
    found = pair(labels, 0, 1, (2.0, 3.0))
    assert found.length == pytest.approx(300, rel=0.1)
    assert found.length == pair(labels, 1, 0, (2.0, 3.0)).length


def test_a_zone_that_leaves_the_image_is_not_thought_narrow():
    """Particles lie 3 pixels from a tenth of the film; the others may be anywhere beyond the edge."""
    labels = np.zeros((60, 200), int)
    labels[8:11] = 1
    labels[14:16, 90:110] = 2
    assert math.isnan(pair(labels, 1, 2).distance)  # more than half is not seen
    labels[14:16, 40:160] = 2
    assert pair(labels, 1, 2).distance == pytest.approx(4, abs=2)  # from either side of the film
    labels[labels == 2] = -1
    assert [one for one in interfaces(labels) if one.other == 2] == []


def test_a_distance_that_nobody_saw_is_unknown():
    labels = np.zeros((20, 400), int)
    labels[9:11, :5], labels[:, -3:] = 1, 2
    assert math.isnan(pair(labels, 1, 2).distance)

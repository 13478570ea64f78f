"""Outlines have the area, the overlap and the pixels of what they outline."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micdb.embed.micro.outlines import RAYS, Outlines, best, overlaps, traced


def discs(*circles):
    """Outlines of circles x, y, radius."""
    table = np.array(circles, float)
    return Outlines(table[:, :2], np.repeat(table[:, 2:], RAYS, axis=1))


def lens(r, s, d):
    """Area that two circles at a distance share."""
    if d >= r + s:
        return 0.0
    if d <= abs(r - s):
        return math.pi * min(r, s) ** 2
    a = (d * d + r * r - s * s) / (2 * d)
    b = d - a
    return r * r * math.acos(a / r) + s * s * math.acos(b / s) - d * math.sqrt(max(r * r - a * a, 0.0))


@settings(max_examples=40, deadline=None)
@given(r=st.floats(3, 30), larger=st.floats(1, 4), share=st.floats(0, 1.2), turn=st.floats(0, 6.2))
def test_two_circles_share_their_lens(r, larger, share, turn):
    s = larger * r  # points sample the smaller one
    far = share * (r + s)
    pair = discs((50, 50, r), (50 + far * math.cos(turn), 50 + far * math.sin(turn), s))
    found = overlaps(pair, np.array([0]), np.array([1]))[0]
    assert found == pytest.approx(lens(r, s, far) / (math.pi * r * r), abs=0.06)


def test_a_mask_is_traced_to_its_area_and_drawn_again():
    y, x = np.mgrid[:60, :80]
    mask = ((x - 40.3) / 22) ** 2 + ((y - 29.6) / 12) ** 2 < 1
    centre, radii = traced(mask)
    assert centre == pytest.approx([40.3, 29.6], abs=0.1)
    assert radii[0] == pytest.approx(22, abs=0.8)
    assert radii[RAYS // 4] == pytest.approx(12, abs=0.8)
    outline = Outlines(centre[None], radii[None])
    assert outline.area[0] == pytest.approx(mask.sum())
    box, drawn = outline.mask(0, mask.shape)
    assert (mask[box] & drawn).sum() / (mask[box] | drawn).sum() > 0.95
    half = outline.scaled(0.5)
    assert half.area[0] == pytest.approx(mask.sum() / 4)
    assert half.centre[0] == pytest.approx((centre + 0.5) / 2 - 0.5)


def test_a_ring_has_its_centre_outside_and_no_outline():
    y, x = np.mgrid[:40, :40]
    far = np.hypot(y - 20, x - 20)
    assert traced((far < 15) & (far > 8)) is None


def test_an_outline_beyond_the_image_has_no_pixels_there():
    box, drawn = discs((-3, 10, 8)).mask(0, (20, 20))
    assert box == (slice(2, 19), slice(0, 6))
    assert 0 < drawn.sum() < math.pi * 64 / 2
    _, outside = discs((-30, 10, 8)).mask(0, (20, 20))
    assert outside.size == 0


def test_the_better_of_two_on_the_same_particle_is_kept():
    several = discs((20, 20, 10), (21, 20, 10), (38, 20, 10), (20, 20, 4), (200, 200, 80))
    assert sorted(best(several, np.array([0.6, 0.9, 0.5, 0.7, 0.1]))) == [1, 2, 4]
    assert sorted(best(several, np.array([0.6, 0.5, 0.5, 0.9, 0.1]))) == [2, 3, 4]
    assert len(best(several[np.zeros(0, int)], np.zeros(0))) == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_no_two_that_are_kept_claim_the_same(seed):
    rng = np.random.default_rng(seed)
    several = discs(*np.column_stack((rng.uniform(0, 60, (25, 2)), np.exp(rng.uniform(0.7, 3, 25)))))
    score = rng.random(25)
    kept = best(several, score)
    first, second = np.triu_indices(25, 1)
    swap = several.area[first] > several.area[second]
    first, second = np.where(swap, second, first), np.where(swap, first, second)
    share = overlaps(several, first, second)
    same = {pair for pair, one in zip(zip(first, second, strict=True), share > 0.7, strict=True) if one}
    assert not any((a, b) in same for a in kept for b in kept)
    assert int(np.argmax(score)) in kept

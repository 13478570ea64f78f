"""Motifs cut out of images."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from micdb.errors import UsageError
from micdb.query.motif.motif import Motif


@pytest.fixture
def image(plane, lab):
    """One image with graphene at 0.02 nm per pixel, one without scale; species in neither."""
    xy = plane.turned(plane.honeycomb(2.0)[0], 12, shift=(2, 2))
    lab.add(plane.rows(lab.keys[0], xy), plane.rows(lab.keys[1], xy, scaled=False))
    lab.xy = np.float32(xy)
    return lab


def test_a_disc_in_nanometres(image):
    motif = Motif.from_image(image.images, image.uids[0], centre=(2.1, 1.9), radius="250 pm")
    inside = np.hypot(*(image.xy - [2.1, 1.9]).T) <= 0.25
    np.testing.assert_array_equal(motif.xy, image.xy[inside].astype(float))
    assert motif.species is None
    assert motif == Motif.from_image(image.images, image.uids[0], centre=(2.1, 1.9), radius=0.25)


def test_a_box_in_pixels(image):
    motif = Motif.from_image(image.images, image.uids[0], box=(90, 95, 20, 25))
    x, y = (image.xy / np.float32(0.02)).T
    inside = (x >= 89.5) & (x < 109.5) & (y >= 94.5) & (y < 119.5)
    np.testing.assert_array_equal(motif.xy, image.xy[inside].astype(float))


def test_a_database_does_as_well_as_a_frame(image):
    database = SimpleNamespace(images=image.images)
    assert len(Motif.from_image(database, image.uids[0], box=(90, 95, 20, 25))) >= 5


def test_what_is_cut_out_is_found_where_it_was(image):
    motif = Motif.from_image(image.images, image.uids[0], centre=(2.1, 1.9), radius=0.3)
    best = image.images.find_motif(motif, k=5_000)
    x, y = motif.xy.mean(axis=0)
    assert np.hypot(best["x_nm"] - x, best["y_nm"] - y).min() < 1e-6
    assert best["rmsd_nm"].max() < 1e-6  # all of a perfect lattice is alike


def test_species_come_along(plane, lab):
    xy = plane.honeycomb(1.0)[0]
    kinds = np.where(np.arange(len(xy)) % 3 == 0, "Mo", "S")
    lab.add(plane.rows(lab.keys[0], xy, species=list(kinds), frame=3))
    motif = Motif.from_image(lab.images, lab.uids[0], centre=(0, 0), radius=0.25, frame=3)
    assert list(motif.species) == kinds[np.hypot(*np.float32(xy).T) <= 0.25].tolist()
    with pytest.raises(UsageError, match="no atoms were found in frame 0 of image 0; there are some in 3"):
        Motif.from_image(lab.images, lab.uids[0], centre=(0, 0), radius=0.25)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"either box=\(x, y, width, height\) in pixels, or centre=\(x, y\) in nm with radius="),
        ({"box": (0, 0, 9, 9), "centre": (0, 0), "radius": 1}, "either box="),
        ({"centre": (0, 0)}, "either box="),
        ({"box": (0, 0, 9, 9), "radius": 1}, "either box="),
        ({"box": (0, 0, 9)}, r"box is \(0, 0, 9\); it has 4 numbers"),
        ({"centre": (0, "a"), "radius": 1}, "it has 2 numbers"),
        ({"centre": (2, 2), "radius": 0}, "radius is 0; it must be above zero"),
        (
            {"centre": (2, 2), "radius": "0.15 nm"},
            "4 atoms of image 0 lie in the disc of 0.15 nm about 2,2",
        ),
        ({"box": (0, 0, 500, 500)}, "lie in the box 0,0,500,500 pixel; .* choose a smaller region"),
    ],
)
def test_regions_that_are_none(image, options, message):
    with pytest.raises(UsageError, match=message):
        Motif.from_image(image.images, image.uids[0], **options)


def test_images_that_have_none(image):
    region = {"box": (90, 95, 20, 25)}
    with pytest.raises(UsageError, match="no image has the uid 'x'; they are in the column uid"):
        Motif.from_image(image.images, "x", **region)
    with pytest.raises(UsageError, match="image 1 has no pixel size, so its atoms have no places in nm"):
        Motif.from_image(image.images, image.uids[1], **region)
    with pytest.raises(UsageError, match="no atoms were found in image 2; .* micdb populate peaks"):
        Motif.from_image(image.images, image.uids[2], **region)

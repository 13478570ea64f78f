"""One stored image: what the catalog and the file say of it, and what a sheet added."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from micdb.errors import StoreError, UsageError
from micdb.records import Axis, Quantity


def test_it_is_what_was_ingested(lab, ramp, nm):
    pixels = ramp((3, 4, 5))
    axes = (Axis("time", 3, 0.5, 1.0, "s"), *nm(4, 5))
    settings = {"accelerating_voltage": Quantity(5000.0, "V", "file", "HV = 5 kV")}
    image = lab.image(
        pixels, axes=axes, settings=settings, channel="HAADF", modality="STEM", original={"a": {"b": 1}}
    )
    assert np.array_equal(image.pixels(), pixels)
    assert image.pixels().dtype == np.uint16
    assert [frame.tolist() for frame in image.frames()] == pixels.tolist()
    assert np.array_equal(image.frame(2), pixels[2])
    assert image.axes == axes
    assert image.settings == settings
    assert (image.channel, image.modality, image.n_frames, image.colour) == ("HAADF", "STEM", 3, False)
    assert image.original() == {"a": {"b": 1}}
    assert "grain boundary" in repr(image)
    assert "3 time x 4 y x 5 x" in repr(image)


def test_colour_frames_keep_their_samples(lab, ramp):
    pixels = ramp((2, 4, 5, 3), "uint8")
    image = lab.image(pixels, leading=("frame",), colour=True)
    assert image.colour
    assert np.array_equal(image.frame(1), pixels[1])
    with pytest.raises(StoreError, match="no frame 2"):
        image.frame(2)


def test_a_pixel_size_from_a_sheet_is_an_axis_too(lab, ramp, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", ramp((6, 7)))
    (tmp_path / "s.csv").write_text("file,um\na.tif,0.2\n")
    (tmp_path / "m.toml").write_text('file = "file"\npixel_size = { column = "um", unit = "um" }\n')
    lab.db.ingest(tmp_path / "a.tif", sheet=tmp_path / "s.csv", map=tmp_path / "m.toml")
    (uid,) = lab.uids()
    image = lab.db.image(uid)
    assert image.axes == (Axis("y", 6, 200.0, 0.0, "nm", "user"), Axis("x", 7, 200.0, 0.0, "nm", "user"))


def test_an_unknown_uid_is_told(lab):
    with pytest.raises(UsageError, match="no image has the uid 'nonsense'"):
        lab.db.image("nonsense")


@pytest.mark.parametrize(
    ("moment", "known"),
    [
        ("2023-04-11T10:00:00", False),
        ("2023-04-11T10:00:00Z", True),
        ("2023-04-11T10:00:00.5+02:00", True),
        ("2023-04-11", False),
        (None, False),
    ],
)
def test_the_zone_is_known_only_where_it_stands(lab, ramp, moment, known):
    assert lab.image(ramp((4, 5)), acquired=moment).zone_known is known

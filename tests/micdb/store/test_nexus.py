from __future__ import annotations

import time

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from micdb.errors import ContractError, StoreError
from micdb.records import Axis, Quantity
from micdb.store import layout, nexus

DTYPES = ["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "c8", "c16", ">u2", ">f4"]
arrays = st.sampled_from(DTYPES).flatmap(
    lambda kind: hnp.arrays(np.dtype(kind), hnp.array_shapes(min_dims=2, max_dims=5, max_side=6))
)
finite = st.floats(-1e6, 1e6, allow_nan=False)
steps = st.none() | finite.filter(lambda step: abs(step) > 1e-9)


@settings(max_examples=60, deadline=None)
@given(arrays)
def test_pixels_come_back_as_written(write, pixels):
    path = write(pixels, axes=tuple(Axis(f"a{i}", size) for i, size in enumerate(pixels.shape)))
    back = nexus.read_pixels(path)
    assert back.shape == pixels.shape
    assert back.dtype == pixels.dtype
    np.testing.assert_array_equal(back, pixels)
    frames = pixels.reshape(-1, *pixels.shape[-2:])
    np.testing.assert_array_equal(nexus.read_frame(path, len(frames) - 1), frames[-1])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(steps, finite, st.sampled_from([None, "nm", "um", "1/nm", "s"])), min_size=2, max_size=4
    )
)
def test_axes_come_back_as_written(write, calibrations):
    axes = tuple(
        Axis(f"a{i}", 3, step, offset if step else 0.0, unit if step else None, "sidecar")
        for i, (step, offset, unit) in enumerate(calibrations)
    )
    path = write(np.zeros((3,) * len(axes), np.uint8), axes=axes)
    assert nexus.read_axes(path) == axes


def test_unknown_calibration_is_an_index_without_unit(write):
    path = write(np.zeros((4, 5), np.uint8))
    with h5py.File(path) as file:
        x = file["entry/image/x"]
        assert "units" not in x.attrs
        assert "step" not in x.attrs
        np.testing.assert_array_equal(x[()], np.arange(5))
    assert not nexus.read_axes(path)[1].calibrated


def test_nan_and_infinity_are_kept(write):
    pixels = np.array([[np.nan, np.inf], [-np.inf, -0.0]], np.float32)
    back = nexus.read_pixels(write(pixels))
    assert back.tobytes() == pixels.tobytes()


def test_the_same_scan_gives_the_same_bytes(write):
    pixels = np.arange(600, dtype=np.uint16).reshape(20, 30)
    given = {
        "channel": "HAADF",
        "acquired": "2020-01-01T10:00:00",
        "original": {"Image": {"µ": [1, None]}},
        "settings": {"bias": Quantity(0.1, "V"), "detector": Quantity("HAADF")},
    }
    first = write(pixels, **given).read_bytes()
    time.sleep(1.1)  # HDF5 keeps times in whole seconds
    assert write(pixels, **given).read_bytes() == first


def test_memory_layout_does_not_change_the_bytes(write):
    pixels = np.arange(600, dtype=np.uint16).reshape(20, 30)
    turned = np.asfortranarray(pixels)
    assert write(pixels).read_bytes() == write(turned).read_bytes()


def test_metadata_that_hdf5_text_cannot_hold_survives(write):
    original = {"nul": "a\x00b", "half a pair": "\ud800", "µm": [1.5, None, True]}
    path = write(np.zeros((2, 2), np.uint8), original=original, name="a\x00b\ud800")
    assert nexus.read_original(path) == original
    with h5py.File(path) as file:
        assert file["entry/title"].asstr()[()] == "ab?"


def test_settings_keep_unit_origin_and_wording(write):
    path = write(
        np.zeros((2, 2), np.uint8), settings={"accelerating_voltage": Quantity(5e3, "V", "file", "HV = 5 kV")}
    )
    with h5py.File(path) as file:
        field = file["entry/instrument/accelerating_voltage"]
        assert field[()] == 5e3
        assert dict(field.attrs) == {"units": "V", "origin": "file", "raw": "HV = 5 kV"}


@pytest.mark.parametrize("samples", [3, 4])
def test_colour_is_marked_and_framed(write, samples):
    pixels = np.random.default_rng(0).integers(0, 255, (2, 5, 6, samples), np.uint8)
    path = write(pixels, colour=True)
    with h5py.File(path) as file:
        assert file["entry/image"].attrs["interpretation"] == {3: "rgb-image", 4: "rgba-image"}[samples]
    np.testing.assert_array_equal(nexus.read_frame(path, 1), pixels[1])


def test_frames_count_along_all_leading_axes(write):
    pixels = np.arange(2 * 3 * 4 * 5, dtype=np.int32).reshape(2, 3, 4, 5)
    path = write(pixels)
    np.testing.assert_array_equal(nexus.read_frame(path, 4), pixels[1, 1])
    with pytest.raises(StoreError, match=r"no frame 6; it has 6, counted from 0"):
        nexus.read_frame(path, 6)
    with pytest.raises(StoreError, match="no frame -1"):
        nexus.read_frame(path, -1)


def test_wrong_scans_are_refused(write):
    image = np.zeros((4, 5), np.uint8)
    with pytest.raises(
        ContractError, match=r"scan.dm3 \[dm\]: pixels have shape \(4, 5\), the axes say \(5, 4\)"
    ):
        write(image, axes=(Axis("y", 5), Axis("x", 4)))
    with pytest.raises(ContractError, match="each needs a name of its own"):
        write(image, axes=(Axis("x", 4), Axis("x", 5)))
    with pytest.raises(ContractError, match="each needs a name of its own"):
        write(image, axes=(Axis("data", 4), Axis("x", 5)))
    with pytest.raises(ContractError, match="float128 cannot be kept"):
        write(image.astype(np.longdouble))
    with pytest.raises(ContractError, match="2 colour samples"):
        write(np.zeros((4, 5, 2), np.uint8), colour=True)
    with pytest.raises(ContractError, match="not ready for JSON"):
        write(image, original={"array": np.zeros(3)})


def test_damage_is_reported_with_file_and_key(write, tmp_path):
    path = write(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))
    with pytest.raises(StoreError, match=r"gone.nxs is missing although the catalog names it"):
        nexus.read_pixels(tmp_path / "gone.nxs")
    short = tmp_path / "short.nxs"
    short.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(StoreError, match=r"short.nxs is no sound micrograph file"):
        nexus.read_pixels(short)
    with h5py.File(path, "a") as file:
        del file["entry/image/data"]
    with pytest.raises(StoreError, match=r"has no 'entry/image/data'"):
        nexus.read_pixels(path)
    with h5py.File(path, "a") as file:
        del file["entry/image"]
    with pytest.raises(StoreError, match=r"has no 'entry/image'"):
        nexus.read_axes(path)


@given(
    st.lists(st.integers(1, 5), max_size=2), st.integers(1, 9000), st.integers(1, 9000), st.integers(1, 16)
)
def test_a_chunk_is_a_frame_or_a_band_of_at_most_a_mebibyte(leading, height, width, itemsize):
    shape = (*leading, height, width)
    chunk = layout.chunk_shape(shape, itemsize, colour=False)
    assert chunk[:-2] == (1,) * len(leading)
    assert chunk[-1] == width
    assert chunk[-2] == height or layout.CHUNK // 2 < chunk[-2] * width * itemsize <= layout.CHUNK

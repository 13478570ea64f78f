"""Programs that know nothing of micdb read pixels and scale of a written file."""

from __future__ import annotations

from typing import NamedTuple

import h5py
import numpy as np
import pytest

from micdb.records import Axis


class Case(NamedTuple):
    path: str
    pixels: np.ndarray
    steps: tuple[float, ...]
    units: tuple[str, ...]


SPATIAL = (Axis("y", 24, 0.5, 2.0, "nm"), Axis("x", 32, 0.25, -1.0, "um"))
RNG = np.random.default_rng(1)
STACK = RNG.integers(0, 60_000, (3, 24, 32)).astype(np.uint16)
HOLED = RNG.normal(size=(24, 32)).astype(np.float32)
HOLED[3, 4] = np.nan
CASES = {
    "image": (RNG.integers(0, 255, (24, 32)).astype(np.uint8), SPATIAL),
    "stack": (STACK, (Axis("time", 3, 0.1, 0.0, "s"), *SPATIAL)),
    "nan": (HOLED, SPATIAL),
}


@pytest.fixture(scope="module", params=CASES)
def case(request, write) -> Case:
    pixels, axes = CASES[request.param]
    path = write(pixels, axes=axes, channel="HAADF", original={"a": [1, 2]})
    return Case(str(path), pixels, tuple(axis.step for axis in axes), tuple(axis.unit for axis in axes))


def same(values, case: Case) -> None:
    np.testing.assert_array_equal(np.asarray(values), case.pixels)


def test_h5py_following_nexus(case):
    with h5py.File(case.path) as file:
        group = file
        while "default" in group.attrs:
            group = group[group.attrs["default"]]
        assert group.attrs["NX_class"] == "NXdata"
        same(group[group.attrs["signal"]][()], case)
        for name, step, unit in zip(group.attrs["axes"], case.steps, case.units, strict=True):
            positions = group[name]
            np.testing.assert_allclose(np.diff(positions), step)
            assert positions.attrs["units"] == unit
            number = int(group.attrs[f"{name}_indices"])
            assert group["data"].dims[number][0] == positions


def test_nexusformat(case):
    nexus = pytest.importorskip("nexusformat.nexus")
    data = nexus.nxload(case.path).plottable_data
    same(data.nxsignal.nxvalue, case)
    for axis, step, unit in zip(data.nxaxes, case.steps, case.units, strict=True):
        np.testing.assert_allclose(np.diff(axis.nxvalue), step)
        assert axis.attrs["units"] == unit


def test_silx(case):
    nxdata = pytest.importorskip("silx.io.nxdata")
    with h5py.File(case.path) as file:
        data = nxdata.get_default(file)
        assert data is not None
        assert data.is_valid, data.issues
        assert data.interpretation == "image"
        same(data.signal[()], case)
        for axis, step in zip(data.axes, case.steps, strict=True):
            np.testing.assert_allclose(np.diff(axis[()]), step)
        assert [name.partition(" ")[2] for name in data.axes_names] == [f"({unit})" for unit in case.units]


@pytest.mark.parametrize(
    ("pixels", "colour", "interpretation"),
    [
        (np.zeros((24, 32, 3), np.uint8), True, "rgb-image"),
        (np.zeros((24, 32, 4), np.uint8), True, "rgba-image"),
        (np.zeros((24, 32), np.complex64), False, "image"),
    ],
)
def test_silx_on_colour_and_complex(write, pixels, colour, interpretation):
    nxdata = pytest.importorskip("silx.io.nxdata")
    with h5py.File(write(pixels, colour=colour)) as file:
        data = nxdata.get_default(file)
        assert data.is_valid, data.issues
        assert data.interpretation == interpretation
        assert len(data.auxiliary_signals) == (1 if pixels.dtype.kind == "c" else 0)


def test_ncempy(case):
    emd = pytest.importorskip("ncempy.io.emd")
    with emd.fileEMD(case.path, readonly=True) as file:
        (group,) = file.list_emds
        pixels, dims = file.get_emdgroup(group)
    same(pixels, case)
    for (positions, _, unit), step, expected in zip(dims, case.steps, case.units, strict=True):
        np.testing.assert_allclose(np.diff(positions), step)
        assert unit == expected


def test_rosettasciio(case):
    rsciio = pytest.importorskip("rsciio.nexus")
    (signal,) = rsciio.file_reader(case.path, nxdata_only=True)
    same(signal["data"], case)
    scales = [axis["scale"] for axis in signal["axes"]]
    np.testing.assert_allclose(scales, case.steps)
    assert [axis["units"] for axis in signal["axes"]] == list(case.units)
    assert [axis["navigate"] for axis in signal["axes"]] == [True] * (len(scales) - 2) + [False, False]


def test_hyperspy(write):
    hyperspy = pytest.importorskip("hyperspy.api")
    pixels, axes = CASES["stack"]
    signal = hyperspy.load(str(write(pixels, axes=axes)), nxdata_only=True)
    assert type(signal).__name__ == "Signal2D"
    np.testing.assert_array_equal(signal.data, pixels)
    assert [axis.units for axis in signal.axes_manager.signal_axes] == ["um", "nm"]
    assert signal.axes_manager.signal_axes[0].scale == pytest.approx(0.25)

"""xarray: values, coordinates with units, settings, and nothing lost on the way through netCDF."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from micdb.errors import MissingExtraError
from micdb.records import Axis, Quantity

xarray = pytest.importorskip("xarray")

SETTINGS = {
    "accelerating_voltage": Quantity(5000.0, "V", "file", "HV = 5 kV"),
    "magnification": Quantity(10030.0),
    "detector": Quantity("InLens"),
}


def test_values_axes_and_settings(lab, ramp, nm):
    pixels = ramp((3, 4, 5))
    axes = (Axis("time", 3, 0.5, 1.0, "s"), *nm(4, 5, offset=-2.0))
    image = lab.image(
        pixels, axes=axes, settings=SETTINGS, channel="Height", intensity_unit="nm", modality="SEM"
    )
    array = image.to_xarray()
    assert array.dims == ("time", "y", "x")
    assert np.array_equal(array.values, pixels)
    assert array.time.values.tolist() == [1.0, 1.5, 2.0]
    assert array.x.values.tolist() == [-2.0, -1.75, -1.5, -1.25, -1.0]
    assert {name: array[name].attrs["units"] for name in array.dims} == {"time": "s", "y": "nm", "x": "nm"}
    assert array.x.attrs["long_name"] == "x"
    assert (array.attrs["long_name"], array.attrs["units"], array.attrs["title"]) == (
        "Height",
        "nm",
        "grain boundary",
    )
    assert (array.attrs["accelerating_voltage"], array.attrs["accelerating_voltage_units"]) == (5000.0, "V")
    assert (array.attrs["magnification"], array.attrs["detector"]) == (10030.0, "InLens")
    assert "magnification_units" not in array.attrs
    assert array.attrs["uid"] == image.uid
    assert array.sel(time=1.5, x=-1.5).values.tolist() == pixels[1, :, 2].tolist()


def test_uncalibrated_axes_have_no_positions(lab, ramp):
    array = lab.image(ramp((4, 5))).to_xarray()
    assert dict(array.coords) == {}
    assert "units" not in array.attrs


def test_a_step_without_a_unit_gives_positions_without_a_unit(lab, ramp):
    array = lab.image(ramp((4, 5)), axes=(Axis("y", 4, 0.5), Axis("x", 5, 0.5))).to_xarray()
    stored = lab.db.image(array.attrs["uid"]).axis("x")
    assert stored.step == 0.5
    assert array.x.values[1] == 0.5
    assert "units" not in array.x.attrs


def test_colour_samples_are_named(lab, ramp):
    array = lab.image(ramp((4, 5, 4), "uint8"), colour=True).to_xarray()
    assert array.colour.values.tolist() == ["red", "green", "blue", "alpha"]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64", "bool"])
def test_netcdf_gives_the_same_back(lab, ramp, nm, tmp_path, dtype):
    axes = (Axis("time", 3, 0.5, 1.0, "s"), *nm(4, 5, unit="1/nm"))
    image = lab.image(
        ramp((3, 4, 5), dtype), axes=axes, settings=SETTINGS, channel="Z/forward", name="α-Fe, 5 µm"
    )
    array = image.to_xarray()
    array.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with xarray.open_dataarray(tmp_path / "a.nc", engine="h5netcdf") as back:
        assert back.dtype == array.dtype
        xarray.testing.assert_identical(back.load(), array)


def test_without_xarray_the_message_is_the_install_line(lab, ramp, monkeypatch):
    image = lab.image(ramp((4, 5)))
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'micdb\[xarray\]'"):
        image.to_xarray()

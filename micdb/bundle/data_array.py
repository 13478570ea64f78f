"""A stored micrograph as an ``xarray.DataArray``."""

from __future__ import annotations

from typing import Any

import numpy as np

from micdb.bundle.image import StoredImage
from micdb.extras import require
from micdb.records import Axis

_COLOURS = ["red", "green", "blue", "alpha"]


def data_array(image: StoredImage) -> Any:
    """Return the pixels with their axes as coordinates, and settings as attributes.

    An axis whose step is unknown has no coordinates: its positions are no lengths. Attributes are plain
    texts and numbers, so that the array can be saved as netCDF; a setting with a unit comes with
    ``<setting>_units``.

    Raises
    ------
    MissingExtraError
        xarray is not installed.
    StoreError
        The file is missing or damaged.
    """
    xarray = require("xarray")
    known = {axis.name: _coordinate(xarray, axis) for axis in image.axes}
    return xarray.DataArray(
        image.pixels(),
        dims=[axis.name for axis in image.axes],
        coords={name: coordinate for name, coordinate in known.items() if coordinate is not None},
        name="image",
        attrs=_attributes(image),
    )


def positions(axis: Axis) -> np.ndarray:
    """Return where the samples of an axis with a known step are, in its unit."""
    return axis.offset + (axis.step or 0.0) * np.arange(axis.size, dtype=np.float64)


def _coordinate(xarray: Any, axis: Axis) -> Any:
    if axis.name == "colour":
        return xarray.Variable(axis.name, _COLOURS[: axis.size])
    if axis.step is None:
        return None
    attrs = {"long_name": axis.name} | ({"units": axis.unit} if axis.unit else {})
    return xarray.Variable(axis.name, positions(axis), attrs)


def _attributes(image: StoredImage) -> dict[str, Any]:
    attributes: dict[str, Any] = {"long_name": image.channel or image.name, "title": image.name}
    if image.intensity_unit is not None:
        attributes["units"] = image.intensity_unit
    attributes["uid"] = image.uid
    for name in ("modality", "channel", "acquired"):
        if (value := getattr(image, name)) is not None:
            attributes[name] = value
    attributes["source_file"] = image.source["file_name"]
    for name, quantity in image.settings.items():
        attributes[name] = quantity.value
        if quantity.unit is not None:
            attributes[f"{name}_units"] = quantity.unit
    return attributes

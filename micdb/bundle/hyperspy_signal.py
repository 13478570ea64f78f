"""A stored micrograph as a HyperSpy signal.

Axes, metadata tree and units are HyperSpy's ("Metadata structure" of its user guide); which of our
settings goes where is in `micdb.bundle.crosswalk`. HyperSpy is GPL-3.0: nothing of it is imported
before somebody asks for a signal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from micdb import units
from micdb.bundle.crosswalk import crossed
from micdb.bundle.image import StoredImage
from micdb.extras import require
from micdb.records import Axis

# Modalities that HyperSpy's tree has a node for; settings of all others stay in original_metadata.
NODES = {"SEM": "SEM", "TEM": "TEM", "STEM": "TEM", "diffraction": "TEM"}
_MODES = {"TEM", "STEM"}
_BITS = {"uint8": "8", "uint16": "16"}


def signal(image: StoredImage) -> Any:
    """Return a ``Signal2D``, or a ``ComplexSignal2D`` for complex pixels; leading axes are navigation axes.

    Raises
    ------
    MissingExtraError
        HyperSpy is not installed.
    StoreError
        The file is missing or damaged.
    """
    signals = require("hyperspy.api").signals
    pixels, axes = image.pixels(), list(image.axes)
    packed = _BITS.get(image.dtype) if image.colour else None
    if image.colour and packed is None:  # HyperSpy packs no other type: a navigation axis then
        pixels, axes = np.moveaxis(pixels, -1, 0), [axes[-1], *axes[:-1]]
    last = 2 if packed is None else 1  # colours are the signal until they are packed into one pixel
    described = [_axis(axis, navigate=i < len(axes) - last) for i, axis in enumerate(axes)]
    kind = signals.Signal1D if packed else signals.Signal2D
    kind = signals.ComplexSignal2D if np.iscomplexobj(pixels) else kind
    made = kind(pixels, axes=described, metadata=_metadata(image), original_metadata=_original(image))
    if packed is not None:
        made.change_dtype(("rgba" if image.axes[-1].size == 4 else "rgb") + packed)
    return made


def _axis(axis: Axis, *, navigate: bool) -> dict[str, Any]:
    """Return HyperSpy's description of an axis; without `units` and with scale 1 it counts samples."""
    described: dict[str, Any] = {"name": axis.name, "size": axis.size, "navigate": navigate}
    if axis.step is not None:
        described |= {"scale": axis.step, "offset": axis.offset}
        if axis.unit is not None:
            described["units"] = axis.unit
    return described


def _metadata(image: StoredImage) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    _put(tree, "General.title", image.name)
    _put(tree, "General.original_filename", image.source["file_name"])
    for place, text in _moment(image).items():
        _put(tree, place, text)
    node = NODES.get(image.modality or "")
    for crossing, value in crossed(image.settings):
        path = crossing.hyperspy
        if path is None or (path.startswith(".") and node is None):
            continue
        unit = crossing.hyperspy_unit
        number = isinstance(value, float) and unit is not None
        found = units.convert(float(value), crossing.unit, unit) if number else value
        _put(tree, f"Acquisition_instrument.{node}{path}" if path.startswith(".") else path, found)
    if image.modality in _MODES:
        _put(tree, f"Acquisition_instrument.{node}.acquisition_mode", image.modality)
    if image.sample is not None:  # what a person said of the sample, over what the file calls it
        _put(tree, "Sample.name", image.sample)
    if image.intensity_unit is not None:
        _put(tree, "Signal.quantity", f"{image.channel or 'Intensity'} ({image.intensity_unit})")
    return tree


def _moment(image: StoredImage) -> dict[str, str]:
    """Return date and time as they stand, and the zone only where it is known."""
    if image.acquired is None:
        return {}
    day, _, clock = image.acquired.partition("T")
    if not clock:
        return {"General.date": day}
    zone = ""
    if image.zone_known:
        clock, zone = (clock[:-1], "UTC") if clock.endswith("Z") else (clock[:-6], clock[-6:])
    found = {"General.date": day, "General.time": clock}
    return found | ({"General.time_zone": zone} if zone else {})


def _original(image: StoredImage) -> dict[str, Any]:
    ours = {
        "uid": image.uid,
        "channel": image.channel,
        "modality": image.modality,
        "settings": {
            name: {"value": found.value, "unit": found.unit, "origin": found.origin}
            for name, found in image.settings.items()
        },
    }
    found: dict[str, Any] = _tame({**image.original(), "micdb": ours})
    return found


def _tame(value: Any) -> Any:
    """Return metadata under keys that HyperSpy can hold and save: some with a leading _ are orders to it."""
    if isinstance(value, Mapping):
        return {key.lstrip("_") or "unnamed": _tame(child) for key, child in value.items()}
    return value.replace("\x00", "") if isinstance(value, str) else value


def _put(tree: dict[str, Any], path: str, value: Any) -> None:
    *nodes, leaf = path.split(".")
    for node in nodes:
        tree = tree.setdefault(node, {})
    tree[leaf] = _tame(value)

"""HyperSpy's signals, which RosettaSciIO and HyperSpy's own files give: axes, metadata tree, names, units."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from micdb import units
from micdb.ingest.metadata import Key, flatten, positive, text
from micdb.ingest.readers.hdf5_axis import axis_unit, leading_names, no_image
from micdb.records import Axis, Modality

# HyperSpy's tree, the last part of the path, with HyperSpy's units. camera_length is left out: plugins
# disagree about its unit.
KEYS = (
    Key("beam_energy", "accelerating_voltage", "kV", positive),
    Key("magnification", "magnification", None, positive),
    Key("working_distance", "working_distance", "mm", positive),
    Key("beam_current", "beam_current", "nA", positive),
    Key("convergence_angle", "convergence_angle", "mrad", positive),
    Key("dwell_time", "dwell_time", "s", positive),
    Key("Acquisition_instrument.dwell_time", "exposure_time", "s", positive),
    Key("Detector.Camera.exposure", "exposure_time", "s", positive),
    Key("Detector.Camera.exposure_time", "exposure_time", "s", positive),
    Key("Stage.x", "stage_x", "mm"),
    Key("Stage.y", "stage_y", "mm"),
    Key("Stage.z", "stage_z", "mm"),
    Key("Stage.rotation", "stage_rotation", "deg"),
    Key("Stage.tilt_alpha", "stage_tilt", "deg"),
    Key("Stage.tilt_beta", "stage_tilt_beta", "deg"),
    Key("microscope", "instrument"),
    Key("General.authors", "operator"),
    Key("General.notes", "comment"),
    Key("Sample.name", "sample"),
    Key("Sample.description", "sample"),
)
_MODALITIES: dict[str, Modality] = {"SEM": "SEM", "TEM": "TEM", "STEM": "STEM"}
_QUANTITY = re.compile(r"\(([^()]+)\)\s*\Z")


class Acquired(NamedTuple):
    """Title and moment of a signal: ``General.title``, ``.date``, ``.time`` and ``.time_zone``."""

    title: str
    written: str
    moment: str | None


def image_axes(described: Sequence[Mapping[str, Any]]) -> list[Axis] | str:
    """Return the axes of an array of images, or why it is none.

    Parameters
    ----------
    described
        HyperSpy's axis dictionaries in the order of the array. An image has two signal axes, behind any
        number of navigation axes; two navigation axes alone are a map with one number per point.
    """
    navigate = [bool(axis.get("navigate")) for axis in described]
    if len(described) < 2 or (navigate[-2:] != [False, False] and navigate != [True, True]):
        return f"is a spectrum or a map of spectra: its {len(described)} axes do not end in two of an image"
    if any(str(axis.get("_type", "UniformDataAxis")) != "UniformDataAxis" for axis in described[-2:]):
        return "has image axes that are not evenly spaced"
    names = [_leading(text(axis.get("name") or "")) for axis in described[:-2]]
    axes = [
        _axis(name, axis) for name, axis in zip([*leading_names(names), "y", "x"], described, strict=True)
    ]
    return no_image(axes, image=True) or axes


def _leading(written: str) -> str:
    """Return the name of a navigation axis: x and y are then those of a scan of images."""
    return {"x": "scan_x", "y": "scan_y", "none": ""}.get(written.lower(), written)


def _axis(name: str, described: Mapping[str, Any]) -> Axis:
    size, written = int(described["size"]), described.get("units")
    unit = axis_unit(written if isinstance(written, str) else "")
    try:
        step, offset = float(described["scale"]), float(described.get("offset") or 0.0)
    except (KeyError, TypeError, ValueError):
        return Axis(name, size)
    # Without a unit, HyperSpy's 1.0 means "nobody said".
    if unit is None or not 0 < abs(step) < float("inf") or not abs(offset) < float("inf"):
        return Axis(name, size)
    return Axis(name, size, step, offset, unit)


def acquired(tree: Mapping[str, Any]) -> Acquired:
    """Return title and moment of a metadata tree; a moment of zone UTC ends in Z."""
    general = tree.get("General")
    general = general if isinstance(general, Mapping) else {}
    written = " ".join(text(general[key]) for key in ("date", "time") if general.get(key))
    moment = iso_time(written)
    if moment is not None and "T" in moment and text(general.get("time_zone") or "") in ("UTC", "Z"):
        moment += "Z"
    return Acquired(text(general.get("title") or ""), written, moment)


def mapped(signal: Mapping[str, Any]) -> dict[str, Any]:
    """Return HyperSpy's metadata tree with `mapping` applied, as HyperSpy does on loading."""
    tree: dict[str, Any] = _plain_tree(signal.get("metadata") or {})
    original = signal.get("original_metadata") or {}
    for path, (target, convert) in (signal.get("mapping") or {}).items():
        value = _at(original, path)
        if value is None:
            continue
        try:
            value = convert(value) if convert is not None else value
        except Exception:  # noqa: S112 (a plugin's converter; the vendor's value stays in `original`)
            continue
        if value is not None:
            _put(tree, target.split("."), value)
    return tree


def _plain_tree(tree: Any) -> dict[str, Any]:
    return {
        str(key): _plain_tree(value) if isinstance(value, Mapping) else value
        for key, value in dict(tree).items()
    }


def _at(tree: Any, path: str) -> Any:
    """Return what stands at a dotted path; a path spells blanks and signs of the key as HyperSpy does."""
    for key in path.split("."):
        if not isinstance(tree, Mapping):
            return None
        found = key if key in tree else next((own for own in tree if _slug(own) == key), None)
        if found is None:
            return None
        tree = tree[found]
    return tree


def _slug(key: Any) -> str:
    return re.sub(r"[^\w\s-]", "", str(key)).strip().replace(" ", "_")


def _put(tree: dict[str, Any], path: list[str], value: Any) -> None:
    for key in path[:-1]:
        child = tree.setdefault(key, {})
        if not isinstance(child, dict):
            return
        tree = child
    tree[path[-1]] = value


def short_paths(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flat tree, with the paths below the instrument cut to what follows SEM or TEM."""
    prefix = re.compile(r"\AAcquisition_instrument\.\w+\.")
    return {prefix.sub("", path): value for path, value in flatten(tree).items()}


def modality(tree: Mapping[str, Any], axes: list[Axis]) -> Modality | None:
    """Return how the image was taken, where the tree or a reciprocal unit says so."""
    if any(axis.unit is not None and units.compatible(axis.unit, "1/nm") for axis in axes[-2:]):
        return "diffraction"
    instrument = tree.get("Acquisition_instrument")
    if not isinstance(instrument, Mapping) or len(instrument) != 1:
        return None
    column, values = next(iter(instrument.items()))
    mode = values.get("acquisition_mode") if isinstance(values, Mapping) else None
    return _MODALITIES.get(str(mode)) or (_MODALITIES.get(column) if column == "SEM" else None)


def intensity_unit(tree: Mapping[str, Any]) -> str | None:
    """Return the unit in brackets of ``Signal.quantity``, for example of ``Height (nm)``."""
    found = _QUANTITY.search(text(_at(tree, "Signal.quantity") or ""))
    return units.known(found[1]) if found else None


def iso_time(written: str) -> str | None:
    """Return HyperSpy's date and time, which its plugins write in ISO form, or None for anything else."""
    found = re.match(r"(\d{4}-\d{2}-\d{2})(?: (\d{2}:\d{2}:\d{2}(?:\.\d+)?))?", written)
    if found is None:
        return None
    return f"{found[1]}T{found[2]}" if found[2] else found[1]

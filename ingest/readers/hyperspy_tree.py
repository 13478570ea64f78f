"""HyperSpy's metadata tree, which RosettaSciIO fills: its half-applied mapping, its names, its units."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from micdb import units
from micdb.ingest.metadata import Key, flatten, positive, text
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

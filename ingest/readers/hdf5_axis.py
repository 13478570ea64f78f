"""Axes that HDF5 files describe by the position of every sample, and what their units say of an image."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from micdb import units
from micdb.ingest.hdf5_probe import value
from micdb.ingest.metadata import tolerate
from micdb.records import Axis, Modality

_UNEVEN = 1e-3  # [step] largest departure from even spacing that single precision explains
_IMAGE_UNITS = ("m", "1/m", "rad")  # of the dimensions of image axes; rad is a plain number
_TAKEN = ("x", "y", "colour", "data", "imaginary")  # names that mean something else in a micrograph file
_NO_UNIT = re.compile(r"\A(?:|px|pix|pixels?|points?|index|a\.u\.|1)\Z", re.IGNORECASE)


def axis_unit(written: str) -> str | None:
    """Return the unit of an axis in micdb's spelling, or None: no axis is in ampere, so A is angstrom."""
    bare = written.strip("[] ")
    return "angstrom" if bare == "A" else units.known(bare)


def spaced(
    name: str, size: int, vector: Any, unit: str | None, problems: list[str], *, written: str = ""
) -> Axis:
    """Return an axis from the dataset of its positions; without a unit the positions are only an index.

    Parameters
    ----------
    vector
        One-dimensional dataset: a position for every sample, or the first two of them (EMD), or the edges
        of the samples (NeXus histograms, one more than `size`); None when there is none.
    unit
        The unit in micdb's spelling, None when unknown.
    written
        The unit as the file has it, for the sentence that says that it is unknown.
    """
    if unit is None:
        if not _NO_UNIT.match(written.strip("[] ")):
            problems.append(f"axis {name}: unit {written!r} is unknown, so the step is too")
        return Axis(name, size)
    with tolerate(problems, f"the axis {name}"):
        positions = _positions(vector, size)
        if len(positions) < 2:
            return Axis(name, size, None, 0.0, unit)
        step = (positions[-1] - positions[0]) / (len(positions) - 1)
        drift = max(abs(position - positions[0] - number * step) for number, position in enumerate(positions))
        if not math.isfinite(step) or step == 0 or drift > _UNEVEN * abs(step) * len(positions):
            problems.append(f"axis {name}: its positions are not evenly spaced, so the step is left unknown")
            return Axis(name, size)
        edge = step / 2 if len(positions) == size + 1 > 2 else 0.0
        return Axis(name, size, step, positions[0] + edge, unit)
    return Axis(name, size)


def _positions(vector: Any, size: int) -> list[float]:
    if vector is None or getattr(vector, "shape", None) not in ((size,), (size + 1,), (2,)):
        return []
    found = value(vector)
    return [] if found is None else [float(position) for position in found]


def no_image(axes: Sequence[Axis], *, image: bool = False) -> str | None:
    """Return why arrays with these units are no images, or None.

    Parameters
    ----------
    image
        Whether the file itself says that the last two axes are those of an image: then the leading ones may
        be an energy, as in a series of energy-filtered images.
    """
    for axis in axes:
        if axis.unit is not None and units.compatible(axis.unit, "eV") and not (image and axis in axes[:-2]):
            return f"is a spectrum or spectrum image (its axis {axis.name} is an energy)"
    for axis in axes[-2:]:
        if axis.unit is not None and not any(units.compatible(axis.unit, unit) for unit in _IMAGE_UNITS):
            return f"is no image (its axis {axis.name} is in {axis.unit})"
    return None


def modality(axes: Sequence[Axis]) -> Modality | None:
    """Return ``diffraction`` where an image axis is reciprocal; nothing else can be told from units."""
    reciprocal = any(axis.unit is not None and units.compatible(axis.unit, "1/nm") for axis in axes[-2:])
    return "diffraction" if reciprocal else None


def leading_names(written: Sequence[str]) -> list[str]:
    """Return names of leading axes: as the file calls them where that is clear, else ``frame``."""
    named: list[str] = []
    for number, name in enumerate(written):
        slug = re.sub(r"\W+", "_", name.strip().lower()).strip("_")
        clear = re.fullmatch(r"[a-z]\w*", slug) and slug not in (
            "x",
            "y",
            "colour",
            "data",
            "imaginary",
            *named,
        )
        named.append(slug if clear else ("frame" if number == 0 else f"frame_{number}"))
    return named

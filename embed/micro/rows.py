"""Rows that extractors of microstructures share: objects of a frame, and masks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from micdb.embed.atoms.frame import in_nm, pitch_of
from micdb.embed.micro.objects import Objects
from micdb.masks import UNKNOWN, Labels, Mask
from micdb.records import Picture

_LENGTHS = ("diameter", "major", "minor")


def particle_columns(
    picture: Picture, number: int, found: Objects, corner: tuple[int, int], *, step: tuple[float, float]
) -> dict[str, Any]:
    """Return the columns of ``particles`` but for the score, ``(n,)`` each.

    Parameters
    ----------
    picture
        Where they are.
    number
        Of the frame.
    found
        Measured in the scanned part of the frame.
    corner
        ``(y, x)`` where that begins [pixel].
    step
        Size of a pixel along y and x by which they were measured, in its unit.
    """
    n = len(found.label)
    pixel = math.sqrt(math.prod(step))
    pitch = pitch_of(picture)
    nm = None if pitch is None else pitch / pixel  # 1 where the step was in nm already
    x, y = found.x + corner[1], found.y + corner[0]
    return {
        "image": np.full(n, picture.image),
        "frame": np.full(n, number),
        "idx": np.arange(n),
        "x_px": x,
        "y_px": y,
        "x_nm": in_nm(picture, 1, x),
        "y_nm": in_nm(picture, 0, y),
        "area_px": found.area_px,
        "area_nm2": None if nm is None else found.area * nm**2,
        "on_edge": found.on_edge,
        "box": list((found.box + np.array([corner[1], corner[0], 0, 0])).astype(np.int32)),
        "diameter_px": found.diameter / pixel,
        **{f"{name}_nm": None if nm is None else getattr(found, name) * nm for name in _LENGTHS},
        "angle_deg": found.angle_deg,
        "circularity": pa.array(found.circularity, from_pandas=True),
        "solidity": pa.array(found.solidity, from_pandas=True),
        "weight": found.weight,
    }


def whole(labels: npt.NDArray[np.integer], shape: tuple[int, ...], corner: tuple[int, int]) -> Labels:
    """Return labels of the scanned part of a frame as labels of the frame, `UNKNOWN` around it."""
    result = np.full(shape, UNKNOWN, dtype=np.int32)
    result[tuple(slice(at, at + size) for at, size in zip(corner, labels.shape, strict=True))] = labels
    return result


def mask_row(image: int, number: int, kind: str, mask: Mask) -> dict[str, Any]:
    """Return the row of ``masks`` of a frame.

    Parameters
    ----------
    image, number
        ``pk`` of the micrograph, and number of the frame.
    kind
        What it is of: ``phases``, ``particles``, ``defects``.
    mask
        Of the whole frame.
    """
    values, lengths = mask.runs()
    height, width = mask.labels.shape
    return {
        "image": image, "frame": number, "kind": kind, "height_px": height, "width_px": width,
        "classes": list(mask.classes), "labels": values, "lengths": lengths,
    }  # fmt: skip


def counted(weight: npt.NDArray[np.float64], area: float | None) -> tuple[float | None, float | None]:
    """Return a number density and its standard deviation by counting, from how many each object stands for.

    Parameters
    ----------
    weight
        ``(n,)``, of `Objects`.
    area
        That was looked at; None when unknown.
    """
    total = float(weight.sum())
    if area is None:
        return None, None
    return total / area, float(np.sqrt(np.square(weight).sum())) / area if total else None

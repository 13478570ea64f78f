"""Masks as label images: PNG, TIFF (napari saves labels so) and NPY, a number for each pixel.

``classes.json`` beside them says what the numbers mean:
``{"a_phases.png": {"classes": ["ferrite", "cementite"], "unknown": 255}}``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from micdb.annotations.found import Found
from micdb.errors import UsageError
from micdb.masks import UNKNOWN, Labels, Mask

SUFFIXES = (".png", ".tif", ".tiff", ".npy")
LEGEND = "classes.json"
_TAIL = re.compile(
    r"(?:_frame(?P<frame>\d+))?(?:_(?:masks?|labels?|seg|annot|phases|objects))?$", re.IGNORECASE
)


def read(path: Path, classes: Mapping[int, str] | Iterable[str], unknown: int | None) -> Found:
    """Return the mask of a label image.

    Raises
    ------
    UsageError
        It cannot be read, is in colour, or has values that are no classes.
    """
    values = _values(path)
    legend = _legend(path)
    if not classes and legend:
        classes, unknown = legend["classes"], legend["unknown"] if unknown is None else unknown
    named = dict(classes) if isinstance(classes, Mapping) else dict(enumerate(classes))
    if named:
        labels = _numbered(path, values, named, unknown)
    else:
        labels = values if unknown is None else np.where(values == unknown, UNKNOWN, values).astype(np.int32)
    tail = _TAIL.search(path.stem)
    end = tail.start() if tail else len(path.stem)
    frame = int(tail["frame"]) if tail and tail["frame"] else 0
    return Found(path, path.stem[:end], Mask(labels, tuple(named.values())), frame)


def write(path: Path, mask: Mask) -> dict[str, Any]:
    """Write a label image by its ending, ``.png`` or ``.tif``; return its entry of the legend."""
    most = int(mask.labels.max(initial=0))
    dtype = np.uint8 if most < np.iinfo(np.uint8).max else np.uint16
    if most >= np.iinfo(np.uint16).max:
        raise UsageError(f"{path}: {most} objects; 16 bits hold 65534")
    unknown = int(np.iinfo(dtype).max)
    values = np.where(mask.labels == UNKNOWN, unknown, mask.labels).astype(dtype)
    if path.suffix == ".png":
        import imagecodecs

        path.write_bytes(bytes(imagecodecs.png_encode(values)))
    else:
        import tifffile

        tifffile.imwrite(path, values, compression="zlib", photometric="minisblack")
    return {"classes": list(mask.classes), "unknown": unknown}


def _values(path: Path) -> Labels:
    try:
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        elif path.suffix == ".png":
            values = _indices(path)
        else:
            import tifffile

            values = tifffile.imread(path)
    except Exception as error:
        raise UsageError(f"{path} cannot be read as a label image: {error}") from error
    if values.ndim != 2 or values.dtype.kind not in "bui":
        raise UsageError(
            f"{path} has {values.dtype} values of shape {values.shape}; a label image has a whole number for "
            "each pixel: save labels, not a picture of them in colours"
        )
    return np.asarray(values, np.int32)


def _indices(path: Path) -> npt.NDArray[np.generic]:
    """Return the numbers of a PNG: of one with a palette its indices, not the colours."""
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture)


def _legend(path: Path) -> dict[str, Any] | None:
    beside = path.with_name(LEGEND)
    if not beside.is_file():
        return None
    try:
        entry = json.loads(beside.read_text(encoding="utf-8")).get(path.name)
        return None if entry is None else {"classes": list(entry["classes"]), "unknown": entry["unknown"]}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{beside} is no legend of label images: {error}") from error


def _numbered(path: Path, values: Labels, named: Mapping[int, str], unknown: int | None) -> Labels:
    """Return numbers of classes from 0 for the values that stand for them."""
    found = np.unique(values)
    strange = [int(one) for one in found if int(one) not in named and int(one) not in (unknown, UNKNOWN)]
    if strange:
        told = ", ".join(str(one) for one in strange[:5]) + (", ..." if strange[5:] else "")
        classes = ", ".join(f"{value} {name}" for value, name in named.items())
        raise UsageError(f"{path} has the values {told}, which are none of the classes: {classes}")
    number = {value: at for at, value in enumerate(named)}
    table = np.array([number.get(int(one), UNKNOWN) for one in found], np.int32)
    return np.asarray(table[np.searchsorted(found, values)])

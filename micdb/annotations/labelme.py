"""Labelme's JSON files, one for each image: polygons, circles, masks, strokes.

Format after https://github.com/wkentaro/labelme. Areas tell of the whole image: what is in none is
``_background_``, what is called ``__ignore__`` unknown, as in its own exports. A file of lines and points has
strokes: nothing is said between them.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from micdb.annotations.found import Found
from micdb.annotations.raster import disc, inside, stroke
from micdb.errors import UsageError
from micdb.masks import UNKNOWN, Mask

BACKGROUND, IGNORE = "_background_", "__ignore__"
PHASE = "phase"  # flag of shapes in our own files that are no objects
_STROKES = ("line", "linestrip", "point", "points")
_AREAS = ("polygon", "rectangle", "circle", "mask")


def read(path: Path, content: Mapping[str, Any]) -> Iterator[Found]:
    """Yield the masks of a file: of classes, and of objects where areas are drawn.

    Raises
    ------
    UsageError
        The file lacks the size of the image, or has a shape of a kind that is none.
    """
    try:
        shape = (int(content["imageHeight"]), int(content["imageWidth"]))
        shapes: Sequence[Mapping[str, Any]] = content["shapes"]
        name = str(content.get("imagePath") or path.stem)
        drawn = [_drawn(one, shape) for one in shapes]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UsageError(f"{path} is no Labelme file that can be read: {error!r}") from error
    strange = {one.kind for one in drawn if one.pixels is None}
    if strange:
        known = ", ".join((*_AREAS, *_STROKES))
        raise UsageError(f"{path} has a shape of the kind {strange.pop()!r}; expected {known}")
    phases = [one for one in drawn if one.phase] or drawn
    if phases:
        yield Found(path, name, _classes(phases, shape))
    areas = [one for one in drawn if one.kind in _AREAS and not one.phase]
    if areas:
        objects = np.zeros(shape, np.int32)
        for number, one in enumerate(areas, start=1):
            objects[one.pixels] = {IGNORE: UNKNOWN, BACKGROUND: 0}.get(one.label, number)
        yield Found(path, name, Mask(objects))


class _Drawn(NamedTuple):
    """A shape: its label, its kind, its pixels ``(y, x)``, and whether it is all of a phase."""

    label: str
    kind: str
    pixels: npt.NDArray[np.bool_] | None
    phase: bool


def _drawn(one: Mapping[str, Any], shape: tuple[int, int]) -> _Drawn:
    phase = bool((one.get("flags") or {}).get(PHASE))
    return _Drawn(str(one["label"]), one["shape_type"], _pixels(one, shape), phase)


def _classes(drawn: Sequence[_Drawn], shape: tuple[int, int]) -> Mask:
    """Return the mask of the labels of shapes."""
    whole = any(one.kind in _AREAS for one in drawn) and not drawn[0].phase  # the rest is background
    named = list(dict.fromkeys(one.label for one in drawn if one.label != IGNORE))
    classes = [BACKGROUND, *sorted(set(named) - {BACKGROUND})] if whole else named
    labels = np.full(shape, 0 if whole else UNKNOWN, np.int32)
    for one in drawn:
        labels[one.pixels] = UNKNOWN if one.label == IGNORE else classes.index(one.label)
    return Mask(labels, tuple(classes))


def written(image: str, masks: Sequence[Mask]) -> dict[str, Any]:
    """Return the content of a file: a mask for each class or object.

    Parameters
    ----------
    image
        Name of the image's file.
    masks
        All of one image.
    """
    height, width = masks[0].labels.shape
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": [shape for mask in masks for shape in _shapes(mask)],
        "imagePath": image,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def _shapes(mask: Mask) -> Iterator[dict[str, Any]]:
    for number in np.unique(mask.labels):
        if number == 0 and not mask.classes:
            continue
        label = IGNORE if number == UNKNOWN else mask.classes[number] if mask.classes else "object"
        pixels = mask.labels == number
        rows, columns = (np.flatnonzero(pixels.any(axis=axis)) for axis in (1, 0))
        top, bottom, left, right = (int(one) for one in (rows[0], rows[-1], columns[0], columns[-1]))
        yield {
            "label": label,
            "points": [[left, top], [right, bottom]],
            "group_id": None,
            "description": "",
            "shape_type": "mask",
            "flags": {PHASE: True} if mask.classes else {},
            "mask": _encoded(pixels[top : bottom + 1, left : right + 1]),
        }


def _pixels(one: Mapping[str, Any], shape: tuple[int, int]) -> npt.NDArray[np.bool_] | None:
    """Return the pixels of a shape; None of a kind that is not known."""
    points = np.array(one["points"], np.float64).reshape(-1, 2)
    kind = one["shape_type"]
    if kind == "mask":
        left, top = np.rint(points[0]).astype(int)
        part = _decoded(one["mask"])
        pixels = np.zeros(shape, bool)
        pixels[top : top + part.shape[0], left : left + part.shape[1]] = part
        return pixels
    if kind == "polygon":
        return inside(points, shape)
    if kind == "rectangle":
        (left, top), (right, bottom) = points[:2]
        return inside(np.array([[left, top], [right, top], [right, bottom], [left, bottom]]), shape)
    if kind == "circle":
        return disc(points[0], float(np.hypot(*(points[1] - points[0]))), shape)
    return stroke(points, shape, joined=kind in ("line", "linestrip")) if kind in _STROKES else None


def _encoded(pixels: npt.NDArray[np.bool_]) -> str:
    import imagecodecs

    return base64.b64encode(imagecodecs.png_encode(pixels.astype(np.uint8) * np.uint8(255))).decode()


def _decoded(text: str) -> npt.NDArray[np.bool_]:
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
        return np.asarray(picture.convert("L")) > 0


def load(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises
    ------
    UsageError
        It is none.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UsageError(f"{path} cannot be read as JSON: {error}") from error

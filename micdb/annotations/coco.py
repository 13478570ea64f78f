"""Masks in COCO's files: one JSON for many images.

Format after https://cocodataset.org/#format-data. An instance is an object; several categories are classes,
too, and what is in none of them is ``background``. Our own files say which areas are phases, which objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from micdb.annotations.found import Found
from micdb.annotations.raster import inside
from micdb.errors import UsageError
from micdb.masks import UNKNOWN, Mask

BACKGROUND, IGNORE, PHASE = "background", "unknown", "phase"


def read(path: Path, content: Mapping[str, Any]) -> Iterator[Found]:
    """Yield the masks of every image of a file that has annotations.

    Raises
    ------
    UsageError
        Something that the format asks for is not there, or a mask does not fit its image.
    """
    try:
        categories = {one["id"]: str(one["name"]) for one in content["categories"]}
        rows: dict[Any, list[Mapping[str, Any]]] = {}
        for one in content["annotations"]:
            rows.setdefault(one["image_id"], []).append(one)
        for image in content["images"]:
            if image["id"] in rows:
                shape = (int(image["height"]), int(image["width"]))
                for mask in _masks(rows[image["id"]], categories, shape):
                    yield Found(path, str(image["file_name"]), mask)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UsageError(f"{path} is no COCO file that can be read: {error!r}") from error


def _masks(
    rows: Sequence[Mapping[str, Any]], categories: Mapping[int, str], shape: tuple[int, int]
) -> Iterator[Mask]:
    phases = [one for one in rows if one.get("micdb", {}).get("kind") == PHASE]
    instances = [one for one in rows if one not in phases]
    told = {categories[one["category_id"]] for one in phases or instances} - {IGNORE}
    names = [name for name in dict.fromkeys(categories.values()) if name in told]
    if phases or len(names) > 1:
        classes = names if phases else [BACKGROUND, *names]
        labels = np.full(shape, UNKNOWN if phases else 0, np.int32)
        for one in phases or instances:
            name = categories[one["category_id"]]
            labels[_pixels(one, shape)] = UNKNOWN if name == IGNORE else classes.index(name)
        yield Mask(labels, tuple(classes))
    single = [one for one in instances if not one.get("iscrowd")]
    if single:
        objects = np.zeros(shape, np.int32)
        for number, one in enumerate(single, start=1):
            name = categories[one["category_id"]]
            objects[_pixels(one, shape)] = UNKNOWN if name == IGNORE else number
        yield Mask(objects)


def _pixels(one: Mapping[str, Any], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    drawn = one.get("segmentation")
    if isinstance(drawn, Mapping):
        if isinstance(drawn["counts"], str):
            raise ValueError("run lengths as text, as pycocotools packs them; save them as lists of numbers")
        height, width = drawn["size"]
        values = np.repeat(np.arange(len(drawn["counts"])) % 2 == 1, drawn["counts"])  # down the columns
        if (height, width) != shape:
            raise ValueError(f"a mask of {width} x {height} in an image of {shape[1]} x {shape[0]} pixels")
        return np.asarray(values.reshape(width, height).T)
    if drawn:
        parts = [inside(np.array(one, np.float64).reshape(-1, 2), shape) for one in drawn]
        return np.asarray(np.any(parts, axis=0))
    left, top, width, height = one["bbox"]
    box = np.array([[left, top], [left + width, top], [left + width, top + height], [left, top + height]])
    return inside(box, shape)


def written(images: Sequence[tuple[str, Sequence[Mask]]]) -> dict[str, Any]:
    """Return the content of a file.

    Parameters
    ----------
    images
        Names of the images' files, each with all masks of it.
    """
    names = dict.fromkeys(name for _, masks in images for mask in masks for name in mask.classes)
    categories = {name: number for number, name in enumerate((*names, "object", IGNORE), start=1)}
    content: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }
    for number, (name, masks) in enumerate(images, start=1):
        height, width = masks[0].labels.shape
        content["images"].append({"id": number, "file_name": name, "height": height, "width": width})
        for kind, category, pixels in (area for mask in masks for area in _areas(mask)):
            row = {
                "id": len(content["annotations"]) + 1,
                "image_id": number,
                "category_id": categories[category],
                "iscrowd": int(kind == PHASE),  # COCO's tools expect runs only there
                **_outline(pixels),
                "micdb": {"kind": kind},
            }
            content["annotations"].append(row)
    return content


def _areas(mask: Mask) -> Iterator[tuple[str, str, npt.NDArray[np.bool_]]]:
    """Yield kind, category and pixels of each class or object."""
    for label in np.unique(mask.labels):
        if label == 0 and not mask.classes:
            continue
        name = IGNORE if label == UNKNOWN else mask.classes[label] if mask.classes else "object"
        yield PHASE if mask.classes else "object", name, mask.labels == label


def _outline(pixels: npt.NDArray[np.bool_]) -> dict[str, Any]:
    rows, columns = (np.flatnonzero(pixels.any(axis=axis)) for axis in (1, 0))
    flat = pixels.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate(([0], edges, [flat.size]))).tolist()
    width, height = int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1
    return {
        "segmentation": {"size": list(pixels.shape), "counts": [0, *counts] if flat[0] else counts},
        "area": int(pixels.sum()),
        "bbox": [int(columns[0]), int(rows[0]), width, height],
    }

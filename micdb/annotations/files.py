"""Files of masks: which format a file is, and what is written where."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from micdb.annotations import coco, label_images, labelme
from micdb.annotations.found import Found
from micdb.annotations.rows import Drawn
from micdb.errors import UsageError, suggestion

KNOWN = "label images (PNG, TIFF, NPY), Labelme's or COCO's JSON"
FORMS = ("png", "tiff", "coco", "labelme")


def read(path: Path, classes: Mapping[int, str] | Iterable[str], unknown: int | None) -> Iterator[Found]:
    """Yield the masks of a file, or of all files of a folder in order of their names.

    Raises
    ------
    UsageError
        There is no such file, or it is none of those known.
    """
    named = classes if isinstance(classes, Mapping) else tuple(classes)
    if path.is_dir():
        for one in sorted(path.iterdir()):
            if one.suffix.lower() in (*label_images.SUFFIXES, ".json") and one.name != label_images.LEGEND:
                yield from read(one, named, unknown)
        return
    if not path.is_file():
        raise UsageError(f"there is no file or folder {path}")
    ending = path.suffix.lower()
    if ending in label_images.SUFFIXES:
        yield label_images.read(path, named, unknown)
        return
    content = labelme.load(path) if ending == ".json" else None
    if isinstance(content, Mapping) and "shapes" in content:
        yield from labelme.read(path, content)
    elif isinstance(content, Mapping) and "annotations" in content:
        yield from coco.read(path, content)
    else:
        raise UsageError(f"{path} has no masks that are known; expected {KNOWN}")


def write(drawn: Sequence[Drawn], folder: Path, form: str, *, overwrite: bool) -> list[Path]:
    """Write masks; return the files.

    Raises
    ------
    UsageError
        There is no such form, a file is there already, or two images have the same name.
    """
    if form not in FORMS:
        raise UsageError(
            f"no form {form!r} to write masks in{suggestion(form, FORMS)}; expected {', '.join(FORMS)}"
        )
    made = {"coco": _coco, "labelme": _labelme}.get(form)
    files = made(drawn) if made else _images(drawn, ".png" if form == "png" else ".tif")
    taken = [name for name in files if (folder / name).exists()]
    if taken and not overwrite:
        raise UsageError(f"{folder / taken[0]} is there already; give another folder, or overwrite=True")
    folder.mkdir(parents=True, exist_ok=True)
    for name, write_one in files.items():
        part = folder / f".{name}.part{Path(name).suffix}"
        try:
            write_one(part)
            part.replace(folder / name)
        finally:
            part.unlink(missing_ok=True)
    return [folder / name for name in files]


Files = dict[str, Callable[[Path], object]]


def _images(drawn: Sequence[Drawn], ending: str) -> Files:
    legend: dict[str, Any] = {}
    files: Files = {}

    def image(name: str, one: Drawn) -> Callable[[Path], object]:
        def write_one(path: Path) -> None:
            legend[name] = label_images.write(path, one.mask)

        return write_one

    for stem, masks in _by_image(drawn).items():
        for one in masks:
            name = f"{stem}_{one.kind}{ending}"
            files[name] = image(name, one)
    files[label_images.LEGEND] = lambda path: _json(path, legend)
    return files


def _coco(drawn: Sequence[Drawn]) -> Files:
    images = [(f"{stem}.png", [one.mask for one in masks]) for stem, masks in _by_image(drawn).items()]
    return {"annotations.json": lambda path: _json(path, coco.written(images))}


def _labelme(drawn: Sequence[Drawn]) -> Files:
    def image(stem: str, masks: Sequence[Drawn]) -> Callable[[Path], object]:
        return lambda path: _json(path, labelme.written(f"{stem}.png", [one.mask for one in masks]))

    return {f"{stem}.json": image(stem, masks) for stem, masks in _by_image(drawn).items()}


def _by_image(drawn: Sequence[Drawn]) -> dict[str, list[Drawn]]:
    """Return the masks of each image and frame, by the name its files begin with."""
    found: dict[str, list[Drawn]] = {}
    whose: dict[str, str] = {}
    for one in drawn:
        name = one.name.replace("/", "_").replace("\\", "_")
        if whose.setdefault(name, one.image) != one.image:
            name = one.image  # its uid: another image has the same name
        found.setdefault(f"{name}_frame{one.frame}" if one.frame else name, []).append(one)
    return found


def _json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")

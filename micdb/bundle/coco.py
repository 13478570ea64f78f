"""COCO: images as PNG and what runs found in them as annotations, for training detectors.

Format after https://cocodataset.org/#format-data. Its pixel coordinates count from the corner of the
top-left pixel in boxes, and number the pixels in keypoints; ours count from the centre of the top-left
pixel. Every id is made from what it names, so that the same thing has the same id in every export;
categories are numbered as their kinds appeared in the database.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Connection

from micdb.bundle.form import Folder, Form, Written
from micdb.bundle.image import StoredImage
from micdb.bundle.png import Png
from micdb.catalog.engine import reading
from micdb.catalog.results import STANDING, defect
from micdb.catalog.rows import id_list
from micdb.provenance import now, package_version
from micdb.query import verbs
from micdb.query.facts import questions
from micdb.query.frame import Frame
from micdb.query.vocabulary import pin, runs_of

ANNOTATIONS = "annotations.json"
AT_ONCE = 1000  # images whose rows are fetched at a time
# First number of the categories of each table: kinds of one table never move those of another.
CATEGORIES = {"atoms": 1, "defects": 1001, "particles": 2001}


class Coco(Form):
    """PNG files, stretched for contrast, and ``annotations.json``."""

    name = "coco"
    tables = (ANNOTATIONS, "images.csv")

    def __init__(self) -> None:
        self._png = Png()
        self._runs: dict[str, list[int]] = {}

    def files(self, stem: str, n_frames: int) -> list[str]:
        """Return one name per frame."""
        return self._png.files(stem, n_frames)

    def prepare(self, frame: Frame) -> None:
        """Find the runs whose rows count: those the frame pins, else the current ones."""
        with reading(frame.context.engine) as connection:
            pins = {
                step.analysis: pin(connection, step.analysis, step.version)
                for step in frame.steps
                if isinstance(step, verbs.Using)
            }
            self._runs = {table: runs_of(connection, table, pins=pins) for table in CATEGORIES}

    def write(self, image: StoredImage, names: Sequence[str], folder: Folder) -> Written:
        """Write every frame as PNG."""
        return self._png.write(image, names, folder)

    def finish(self, frame: Frame, written: Sequence[Written], folder: Folder) -> None:
        """Write annotations and listing."""
        with reading(frame.context.engine) as connection:
            kinds = _kinds(connection)
        licences = sorted({one.image.licence for one in written if one.image.licence is not None})
        content = {
            "info": {
                "description": "micrographs and what was found in them",
                "version": f"micdb {package_version()}",
                "date_created": now(),
            },
            "licenses": [{"id": number, "name": name} for number, name in enumerate(licences, start=1)],
            "images": [entry for one in written for entry in _images(one, licences)],
            "annotations": list(self._annotations(frame, written, kinds)),
            "categories": [
                {"id": number, "name": name, "supercategory": table, "keypoints": ["centre"], "skeleton": []}
                for (table, name), number in kinds.items()
            ],
        }
        with folder.new(ANNOTATIONS) as path, path.open("w", encoding="utf-8") as stream:
            json.dump(content, stream, ensure_ascii=False, allow_nan=False)
        super().finish(frame, written, folder)

    def _annotations(
        self, frame: Frame, written: Sequence[Written], kinds: Mapping[tuple[str, str], int]
    ) -> Iterator[dict[str, Any]]:
        for start in range(0, len(written), AT_ONCE):
            images = {one.image.pk: one.image for one in written[start : start + AT_ONCE]}
            for table in CATEGORIES:
                for row in _rows(frame, table, self._runs[table], images):
                    kind = row.get("kind") or _KINDS[table]
                    found = annotation(images[row["image"]], row, table=table)
                    if found is not None:
                        yield {**found, "category_id": kinds[table, kind]}


_MORE = {"particles": ("box", "score")}  # further columns
_KINDS = {"atoms": "atom", "particles": "particle", "defects": "defect"}  # where the rows name no kind


def identity(*names: object) -> int:
    """Return the number of a thing: 52 bits of a hash, exact in every JSON reader, never 0."""
    digest = hashlib.sha256("/".join(str(name) for name in names).encode()).hexdigest()
    return int(digest[:13], 16) or 1


def annotation(image: StoredImage, row: Mapping[str, Any], *, table: str) -> dict[str, Any] | None:
    """Return a row as an annotation without its category; None where its place is unknown."""
    x, y = _centre(image, row, "x"), _centre(image, row, "y")
    box, said = _box(image, row, x, y)
    if box is None:
        return None
    frame = row["frame"]
    name = row["uid"] if "uid" in row else f"{row['run']}/{row['idx']}"
    about: dict[str, Any] = {"table": table, "row": name, "box": said}
    found = {
        "id": identity(image.uid, frame, table, name),
        "image_id": identity(image.uid, frame),
        "bbox": box,
        "area": box[2] * box[3],
        "iscrowd": 0,
        "micdb": about,
    }
    if x is not None and y is not None:
        found |= {"keypoints": [x, y, 2], "num_keypoints": 1}
    if (score := _number(row.get("score"))) is not None:
        about["score"] = score
    return found


def _box(
    image: StoredImage, row: Mapping[str, Any], x: float | None, y: float | None
) -> tuple[list[float] | None, str]:
    """Return x, y, width, height, and where they come from; without an extent, the pixel of the centre."""
    if row.get("box") is not None:
        return [float(number) for number in row["box"]], "as found"
    if x is None or y is None:
        return None, ""
    height, width = image.axis("y").size, image.axis("x").size
    column, line = (min(max(math.floor(at + 0.5), 0), size - 1) for at, size in ((x, width), (y, height)))
    return [float(column), float(line), 1.0, 1.0], "pixel of the centre"


def _centre(image: StoredImage, row: Mapping[str, Any], name: str) -> float | None:
    """Return a coordinate [pixel], from nanometres where the row has no other."""
    pixel = _number(row.get(f"{name}_px"))
    if pixel is not None:
        return pixel
    nm, step = _number(row.get(f"{name}_nm")), image.axis(name).step_in("nm")
    return nm / step if nm is not None and step else None


def _number(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _rows(
    frame: Frame, table: str, runs: list[int], images: Mapping[int, StoredImage]
) -> Iterable[Mapping[str, Any]]:
    if not runs:
        return []
    if table != "defects":
        columns = ["run", "frame", "idx", "x_px", "y_px", "x_nm", "y_nm", *_MORE.get(table, ())]
        keys = np.fromiter(images, np.int64, len(images))
        found: list[dict[str, Any]] = questions.rows(
            frame.context, table, runs, images=keys, columns=columns
        ).to_pylist()
        with reading(frame.context.engine) as connection:
            uids = _run_uids(connection, runs)
        return [row | {"run": uids[row["run"]]} for row in found]
    d = defect.c
    with reading(frame.context.engine) as connection:
        wanted = sa.select(id_list(connection, images).c.id)
        query = sa.select(defect, d.micrograph_pk.label("image")).where(
            d.run_pk.in_(runs), d.micrograph_pk.in_(wanted), d.state.in_(STANDING)
        )
        return [dict(row) for row in connection.execute(query.order_by(d.pk)).mappings()]


def _run_uids(connection: Connection, runs: list[int]) -> dict[int, str]:
    from micdb.catalog.results import run

    query = sa.select(run.c.pk, run.c.uid).where(run.c.pk.in_(runs))
    return {row.pk: row.uid for row in connection.execute(query)}


def _kinds(connection: Connection) -> dict[tuple[str, str], int]:
    """Return the number of every category: kinds of defects in the order in which they appeared."""
    first = sa.func.min(defect.c.pk)
    kinds = connection.execute(sa.select(defect.c.kind).group_by(defect.c.kind).order_by(first)).scalars()
    found = {("atoms", "atom"): CATEGORIES["atoms"], ("particles", "particle"): CATEGORIES["particles"]}
    return found | {("defects", kind): CATEGORIES["defects"] + i for i, kind in enumerate(kinds)}


def _images(done: Written, licences: Sequence[str]) -> Iterator[dict[str, Any]]:
    image = done.image
    for number, name in enumerate(done.files):
        entry = {
            "id": identity(image.uid, number),
            "file_name": name,
            "width": image.axis("x").size,
            "height": image.axis("y").size,
            "micdb": {"uid": image.uid, "frame": number, "pixel_size_nm": _steps(image)},
        }
        if image.licence is not None:
            entry["license"] = licences.index(image.licence) + 1
        if image.acquired is not None:
            entry["date_captured"] = image.acquired
        yield entry


def _steps(image: StoredImage) -> list[float | None]:
    return [image.axis(name).step_in("nm") for name in ("x", "y")]

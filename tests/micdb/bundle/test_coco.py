"""COCO: the structure its tools expect, ids that stay, and boxes where the things are."""

from __future__ import annotations

import json
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from PIL import Image

from micdb.bundle.coco import identity
from micdb.catalog import results as r
from micdb.catalog.engine import writing
from micdb.catalog.rows import add
from micdb.errors import UsageError
from micdb.populate.facts import ATOMS, PARTICLES
from micdb.records import Axis

make = SimpleNamespace(**run_path(str(Path(__file__).parents[2] / "data" / "planted" / "make.py")))


def exported(lab, folder, frame=None):
    frame = lab.db.images if frame is None else frame
    lab.db.export(frame, folder, as_="coco")
    content = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    check(content, folder)
    return content


def check(content, folder):
    """Check what pycocotools and the trainers built on it rely on."""
    assert set(content) == {"info", "licenses", "images", "annotations", "categories"}
    images = {image["id"]: image for image in content["images"]}
    categories = {category["id"] for category in content["categories"]}
    for part in ("images", "annotations", "categories", "licenses"):
        ids = [entry["id"] for entry in content[part]]
        assert len(set(ids)) == len(ids)
        assert all(isinstance(number, int) and 0 < number < 2**53 for number in ids)
    for image in images.values():
        assert Image.open(folder / image["file_name"]).size == (image["width"], image["height"])
    for one in content["annotations"]:
        image = images[one["image_id"]]
        assert one["category_id"] in categories
        x, y, width, height = one["bbox"]
        assert 0 <= x < x + width <= image["width"]
        assert 0 <= y < y + height <= image["height"]
        assert one["area"] == width * height
        assert one["iscrowd"] == 0
        assert len(one.get("keypoints", ())) == 3 * one.get("num_keypoints", 0)
    for category in content["categories"]:
        assert isinstance(category["name"], str)


def nm_axes(height, width):
    return Axis("y", height, 0.5, 0.0, "nm"), Axis("x", width, 0.25, 0.0, "nm")


@pytest.fixture
def planted(lab, ramp):
    """One image with atoms, a stack with defects and particles, one without anything."""
    uids = {
        "atoms": lab.add(ramp((20, 30)), axes=nm_axes(20, 30), name="atoms"),
        "stack": lab.add(ramp((3, 20, 30)), axes=(Axis("frame", 3), *nm_axes(20, 30)), name="stack"),
        "bare": lab.add(ramp((10, 12)), name="bare"),
    }
    pks = {name: lab.db.image(uid).pk for name, uid in uids.items()}
    context = lab.db.context
    runs = {name: make.add_run(context, name) for name in ("peaks", "hand")}
    places = [(2.25, 3.75), (29.4, -0.4)]
    rows = [
        {"image": pks["atoms"], "frame": 0, "idx": i, "x_px": x, "y_px": y} for i, (x, y) in enumerate(places)
    ]
    make.add_part(context, runs["peaks"], "atoms", rows=pa.Table.from_pylist(rows, schema=ATOMS))
    with writing(lab.db.engine) as connection:
        own = {"run_pk": runs["hand"], "micrograph_pk": pks["stack"]}
        for more in (
            {"kind": "vacancy", "frame": 2, "box": [1, 2, 5, 6], "x_px": 3.0, "y_px": 4.5, "score": 0.5},
            {"kind": "loop", "frame": 1, "x_nm": 2.5, "y_nm": 5.0},
            {"kind": "vacancy", "frame": 0},  # nobody knows where
            {"kind": "vacancy", "frame": 0, "x_px": 1.0, "y_px": 1.0, "state": "rejected"},
        ):
            add(connection, r.defect, {**own, **more})
    cut = {
        "image": pks["stack"], "frame": 0, "idx": 0, "x_px": 2.25, "y_px": 9.5, "area_px": 21,
        "on_edge": True, "box": [0, 8, 6, 4], "diameter_px": 5.2, "score": 0.75,
    }  # fmt: skip
    make.add_part(context, runs["hand"], "particles", rows=pa.Table.from_pylist([cut], schema=PARTICLES))
    return SimpleNamespace(uids=uids, pks=pks, runs=runs, context=context)


def test_images_and_annotations(lab, planted, tmp_path):
    content = exported(lab, tmp_path / "out")
    images = {(one["micdb"]["uid"], one["micdb"]["frame"]): one for one in content["images"]}
    assert len(images) == 5  # one, three frames, and one without any annotation
    assert images[planted.uids["atoms"], 0]["micdb"]["pixel_size_nm"] == [0.25, 0.5]
    names = {one["id"]: (one["supercategory"], one["name"]) for one in content["categories"]}
    found = {
        (names[one["category_id"]], one["image_id"], one["micdb"]["box"]): one
        for one in content["annotations"]
    }
    atoms = [one for one in content["annotations"] if names[one["category_id"]] == ("atoms", "atom")]
    assert [one["bbox"] for one in atoms] == [[2.0, 4.0, 1.0, 1.0], [29.0, 0.0, 1.0, 1.0]]
    assert atoms[0]["keypoints"] == [2.25, 3.75, 2]
    assert {one["image_id"] for one in atoms} == {images[planted.uids["atoms"], 0]["id"]}
    stack = planted.uids["stack"]
    vacancy = found[("defects", "vacancy"), images[stack, 2]["id"], "as found"]
    assert (vacancy["bbox"], vacancy["keypoints"], vacancy["micdb"]["score"]) == (
        [1, 2, 5, 6],
        [3.0, 4.5, 2],
        0.5,
    )
    loop = found[("defects", "loop"), images[stack, 1]["id"], "pixel of the centre"]
    assert loop["bbox"] == [10.0, 10.0, 1.0, 1.0]  # 2.5 nm / 0.25 nm, 5 nm / 0.5 nm
    particle = found[("particles", "particle"), images[stack, 0]["id"], "as found"]
    assert (particle["bbox"], particle["micdb"]["score"]) == ([0.0, 8.0, 6.0, 4.0], 0.75)
    assert len(content["annotations"]) == 5


def test_ids_stay_when_other_images_are_exported(lab, planted, tmp_path):
    whole = exported(lab, tmp_path / "a")
    part = exported(lab, tmp_path / "b", lab.db.images.query('name == "stack"'))
    with writing(lab.db.engine) as connection:
        own = {"run_pk": planted.runs["hand"], "micrograph_pk": planted.pks["stack"]}
        add(connection, r.defect, {**own, "kind": "a new kind", "frame": 0, "x_px": 2.0, "y_px": 2.0})
    later = exported(lab, tmp_path / "c")
    assert len(part["annotations"]) == 3
    for content in (part, whole):
        for key in ("images", "annotations", "categories"):
            kept = {one["id"]: strip(one) for one in later[key]}
            assert all(kept[one["id"]] == strip(one) for one in content[key])
    assert [one["name"] for one in later["categories"]] == [
        "atom",
        "particle",
        "vacancy",
        "loop",
        "a new kind",
    ]
    assert identity("a", 0) == identity("a", 0) != identity("a", 1)


def strip(entry):
    return {name: value for name, value in entry.items() if name != "license"}


def test_the_pinned_run_counts_and_two_current_ones_are_asked_about(lab, planted, tmp_path):
    old = make.add_run(planted.context, "peaks", version="0", current=False)
    row = {"image": planted.pks["atoms"], "frame": 0, "idx": 0, "x_px": 7.0, "y_px": 8.0}
    make.add_part(planted.context, old, "atoms", rows=pa.Table.from_pylist([row], schema=ATOMS))
    pinned = exported(lab, tmp_path / "a", lab.db.images.using("peaks@0"))
    boxes = [one["bbox"] for one in pinned["annotations"] if one["category_id"] == 1]
    assert boxes == [[7.0, 8.0, 1.0, 1.0]]
    other = make.add_run(planted.context, "other")
    make.add_part(planted.context, other, "atoms", rows=pa.Table.from_pylist([row], schema=ATOMS))
    with pytest.raises(UsageError, match="atoms comes from .*pin one"):
        lab.db.export(lab.db.images, tmp_path / "b", as_="coco")
    assert not list((tmp_path / "b").glob("*"))


def test_licences(lab, ramp, tmp_path):
    from micdb.catalog.tables import micrograph

    lab.add(ramp((4, 5)), acquired="2023-04-11T10:00:00")
    lab.add(ramp((4, 6)))
    with writing(lab.db.engine) as connection:
        connection.execute(micrograph.update().where(micrograph.c.width == 5).values(licence="CC-BY-4.0"))
    content = exported(lab, tmp_path / "out")
    assert content["licenses"] == [{"id": 1, "name": "CC-BY-4.0"}]
    assert [one.get("license") for one in content["images"]] == [1, None]
    assert [one.get("date_captured") for one in content["images"]] == ["2023-04-11T10:00:00", None]

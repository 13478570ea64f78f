"""Masks survive every format that is written, and files of other tools say what their tools mean."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from micdb.annotations import files
from micdb.annotations.rows import Drawn
from micdb.errors import UsageError
from micdb.masks import Mask

CLASSES = ("ferrite", "cementite", "pore")
PHASES = np.array([[0, 0, 1, 1], [0, 2, 2, 1], [-1, -1, 0, 1]])
OBJECTS = np.array([[0, 0, 3, 3], [0, 7, 7, 0], [7, 7, 0, 3]])  # numbers with gaps, one in two pieces


def drawn(*masks):
    return [Drawn("uid", "steel one", 0, "phases" if mask.classes else "objects", mask) for mask in masks]


def read(path, classes=(), unknown=None):
    return list(files.read(path, classes, unknown))


@given(
    hnp.arrays(np.int32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(-1, 3))
)
def test_runs_give_the_mask_back(labels):
    mask = Mask(labels, ("a", "b", "c", "d"))
    again = Mask.from_json(json.loads(json.dumps(mask.as_json())))
    assert (again.labels == labels).all()
    assert again.classes == mask.classes
    values, lengths = mask.runs()
    assert (np.repeat(values, lengths).reshape(labels.shape) == labels).all()
    assert (values[1:] != values[:-1]).all()


@pytest.mark.parametrize("form", files.FORMS)
def test_what_is_written_is_read_again(tmp_path, form):
    files.write(drawn(Mask(PHASES, CLASSES), Mask(OBJECTS)), tmp_path, form, overwrite=False)
    found = read(tmp_path)
    assert {one.name for one in found} <= {"steel one", "steel one.png"}
    phases, objects = sorted((one.mask for one in found), key=lambda mask: not mask.classes)[:2]
    names = [None if label < 0 else CLASSES[label] for label in PHASES.ravel()]
    again = [None if label < 0 else phases.classes[label] for label in phases.labels.flat]
    assert again == names
    pairs = {(a, b) for a, b in zip(OBJECTS.ravel().tolist(), objects.labels.ravel().tolist(), strict=True)}
    assert len(pairs) == 3  # each object is one object again, whatever its number
    assert (0, 0) in pairs


@pytest.mark.parametrize("form", files.FORMS)
def test_nothing_is_replaced_unasked(tmp_path, form):
    made = files.write(drawn(Mask(PHASES, CLASSES)), tmp_path, form, overwrite=False)
    before = {path: path.read_bytes() for path in made}
    with pytest.raises(UsageError, match="is there already; give another folder, or overwrite=True"):
        files.write(drawn(Mask(PHASES * 0, CLASSES)), tmp_path, form, overwrite=False)
    assert {path: path.read_bytes() for path in made} == before
    files.write(drawn(Mask(PHASES * 0, CLASSES)), tmp_path, form, overwrite=True)
    assert sorted(tmp_path.iterdir()) == sorted(before)


def test_frames_keep_their_number(tmp_path):
    one = Drawn("uid", "movie", 12, "objects", Mask(OBJECTS))
    files.write([one], tmp_path, "tiff", overwrite=False)
    assert [(one.name, one.frame) for one in read(tmp_path)] == [("movie", 12)]


def test_values_of_label_images_stand_for_classes(tmp_path):
    from PIL import Image

    Image.fromarray(np.array([[0, 128], [255, 128]], np.uint8)).save(tmp_path / "a_mask.png")
    (one,) = read(tmp_path / "a_mask.png", {0: "matrix", 128: "pearlite"}, 255)
    assert (one.name, one.mask.classes) == ("a", ("matrix", "pearlite"))
    assert one.mask.labels.tolist() == [[0, 1], [-1, 1]]
    with pytest.raises(UsageError, match="has the values 255, which are none of the classes: 0 matrix, 128"):
        read(tmp_path / "a_mask.png", {0: "matrix", 128: "pearlite"})


def test_a_palette_is_not_taken_for_numbers(tmp_path):
    from PIL import Image

    picture = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), mode="P")
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    picture.save(tmp_path / "a.png")
    assert read(tmp_path / "a.png")[0].mask.labels.tolist() == [[0, 1], [2, 1]]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.zeros((4, 4, 3), np.uint8), r"uint8 values of shape \(4, 4, 3\).* save labels, not a picture"),
        (np.zeros((4, 4)), "float64 values of shape"),
        (np.array(["a"], dtype=object), "cannot be read as a label image"),
    ],
)
def test_arrays_that_are_no_labels(tmp_path, values, said):
    np.save(tmp_path / "a.npy", values, allow_pickle=True)
    with pytest.raises(UsageError, match=said):
        read(tmp_path / "a.npy")


def labelme(tmp_path, *shapes, size=(8, 10)):
    content = {
        "imagePath": "steel.tif",
        "imageHeight": size[0],
        "imageWidth": size[1],
        "shapes": list(shapes),
    }
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content))
    return path


def test_labelme_areas_speak_of_the_whole_image(tmp_path):
    square = {"label": "pore", "shape_type": "rectangle", "points": [[2, 1], [5, 4]]}
    hidden = {"label": "__ignore__", "shape_type": "polygon", "points": [[8, 0], [10, 0], [10, 8], [8, 8]]}
    phases, objects = read(labelme(tmp_path, square, hidden))
    assert phases.name == "steel.tif"
    assert phases.mask.classes == ("_background_", "pore")
    expected = np.zeros((8, 10), int)
    expected[1:4, 2:5] = 1
    expected[:, 8:] = -1
    assert phases.mask.labels.tolist() == expected.tolist()
    assert objects.mask.labels.tolist() == expected.tolist()


def test_labelme_strokes_say_nothing_between_them(tmp_path):
    line = {"label": "ferrite", "shape_type": "linestrip", "points": [[0.5, 2.5], [9.5, 2.5]]}
    dot = {"label": "pore", "shape_type": "point", "points": [[4.5, 6.5]]}
    (one,) = read(labelme(tmp_path, line, dot))
    labels = one.mask.labels
    assert one.mask.classes == ("ferrite", "pore")
    assert (labels[1:4] == 0).all()  # three pixels wide
    assert labels[6, 4] == 1
    assert (labels[5, :3] == -1).all()


def test_coco_polygons_boxes_and_runs(tmp_path):
    content = {
        "images": [{"id": 5, "file_name": "a.png", "height": 6, "width": 8}],
        "categories": [{"id": 1, "name": "loop"}],
        "annotations": [
            {"image_id": 5, "category_id": 1, "bbox": [0, 0, 2, 3]},
            {
                "image_id": 5,
                "category_id": 1,
                "segmentation": [[4, 1, 7, 1, 7, 4, 4, 4]],
                "bbox": [4, 1, 3, 3],
            },
            # five pixels down the first column are left out, one of it and two of the second are in
            {"image_id": 5, "category_id": 1, "segmentation": {"size": [6, 8], "counts": [5, 3, 40]}},
        ],
    }
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(content))
    (one,) = read(path)
    expected = np.zeros((6, 8), int)
    expected[:3, :2], expected[1:4, 4:7] = 1, 2
    expected[5, 0] = expected[0, 1] = expected[1, 1] = 3
    assert one.mask.labels.tolist() == expected.tolist()
    assert one.mask.classes == ()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot be read as JSON"),
        ("[1]", "has no masks that are known; expected label images"),
        ('{"shapes": [], "imageWidth": 3}', "is no Labelme file that can be read: KeyError"),
        ('{"annotations": [{"category_id": 1}]}', "is no COCO file that can be read: KeyError"),
    ],
)
def test_json_that_is_something_else(tmp_path, content, said):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(UsageError, match=said):
        read(tmp_path / "x.json")


def test_a_shape_nobody_knows_is_named(tmp_path):
    with pytest.raises(UsageError, match="a shape of the kind 'star'; expected polygon, rectangle"):
        read(labelme(tmp_path, {"label": "a", "shape_type": "star", "points": [[1, 2]]}))


@pytest.mark.parametrize(
    ("labels", "classes", "said"),
    [
        ([[0.5]], (), "a mask of float64"),
        ([0, 1], (), r"a mask of int64 \(2,\)"),
        ([[2]], ("a", "b"), "with the label 2; expected -1 for unknown and 0 to 1 for a, b"),
        ([[-2]], (), "with the label -2"),
        ([[0]], ("a", "a"), "two classes have the same name: a, a"),
    ],
)
def test_masks_that_are_none(labels, classes, said):
    with pytest.raises(UsageError, match=said):
        Mask(np.array(labels), classes)

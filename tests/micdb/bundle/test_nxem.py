"""NXem: strict files from what is known, and an exact no for what is not.

The verdict of pynxtools on such a file is in docs/export.md; here the structure it accepted is held fast.
"""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from micdb.bundle.crosswalk import CROSSWALK
from micdb.errors import UsageError
from micdb.records import SETTINGS, Axis, Quantity

SAMPLE = {"is_simulation": "false", "atom_types": "Fe, C", "preparation_date": "2023-04-01T12:00:00+02:00"}
TEXTS = ("detector", "instrument", "vendor", "operator", "sample", "comment", "signal")
FULL = {
    name: Quantity(f"a {name}") if name in TEXTS else Quantity(float(number), unit)
    for number, (name, unit) in enumerate(SETTINGS.items(), start=1)
}
COLUMN = "measurement/event1/instrument"


def exported(lab, tmp_path, **sample):
    done = lab.db.export(lab.db.images, tmp_path / "out", as_="nxem", sample={**SAMPLE, **sample})
    (image,) = done.images
    return h5py.File(tmp_path / "out" / image.files[0]), image.notes


def refusal(lab, tmp_path, **sample):
    with pytest.raises(UsageError) as refused:
        lab.db.export(lab.db.images, tmp_path / "out", as_="nxem", sample=sample)
    return str(refused.value).partition("NXem: ")[2]


def test_a_full_file_has_what_the_definition_demands(lab, ramp, nm, tmp_path):
    pixels = ramp((6, 7))
    uid = lab.add(
        pixels,
        axes=nm(6, 7),
        settings=FULL,
        modality="SEM",
        channel="InLens",
        acquired="2023-04-11T10:00:00Z",
    )
    file, notes = exported(lab, tmp_path)
    with file:
        entry = file[file.attrs["default"]]
        assert entry.attrs["NX_class"] == "NXentry"
        assert entry["definition"].asstr()[()] == "NXem"
        assert entry["start_time"].asstr()[()] == "2023-04-11T10:00:00+00:00"
        sample = entry["sample1"]
        assert sample.attrs["NX_class"] == "NXsample"
        assert sample["is_simulation"][()] is np.False_
        assert sample["atom_types"].asstr()[()] == "Fe, C"
        assert sample["preparation_date"].asstr()[()] == "2023-04-01T12:00:00+02:00"
        image = entry[entry.attrs["default"]]
        assert np.array_equal(image[image.attrs["signal"]][()], pixels)
        assert image["x"][()].tolist() == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5]
        assert image["x"].attrs["units"] == "nm"
        shown = entry["measurement/event1/image1/image_2d"]
        assert shown["real"] == image["data"]  # the same dataset, not a copy
        assert shown["axis_i"] == image["x"]
        assert list(shown.attrs["axes"]) == ["axis_j", "axis_i"]
        assert (
            entry[f"{COLUMN}/ebeam_column/electron_source/voltage"][()] == FULL["accelerating_voltage"].value
        )
        assert entry["measurement/instrument/fabrication/vendor"].asstr()[()] == "a vendor"
        stage = entry[f"{COLUMN}/stage1"]
        assert stage["position"][()].tolist() == [FULL[f"stage_{axis}"].value for axis in "xyz"]
        assert stage["position"].attrs["units"] == "mm"
        assert entry["micdb/uid"].asstr()[()] == uid
        assert {name: entry[f"micdb/settings/{name}"].attrs.get("units") for name in SETTINGS} == SETTINGS
        for group in classless(file):
            raise AssertionError(f"{group} has no NX_class")
    (note,) = notes
    assert note.startswith(f"{COLUMN}/ebeam_column/scan_controller is left out: NXem demands scan_schema")


def classless(file):
    found = []
    file.visititems(
        lambda name, item: (
            found.append(name) if isinstance(item, h5py.Group) and "NX_class" not in item.attrs else None
        )
    )
    return found


def test_every_field_of_the_table_is_written_in_our_unit(lab, ramp, tmp_path):
    lab.add(ramp((6, 7)), settings=FULL, modality="TEM", acquired="2023-04-11T10:00:00Z")
    file, _ = exported(lab, tmp_path)
    left_out = {"dwell_time"}  # its group lacks a scan schema, which nobody records
    with file:
        for row in CROSSWALK:
            if row.nexus is None or row.setting in left_out:
                continue
            place, _, number = row.nexus.partition("[")
            field = file["entry"][place]
            value = field[()][int(number[0])] if number else field[()]
            expected = FULL[row.setting].value
            assert value == (expected.encode() if isinstance(expected, str) else expected), row.setting
            assert field.attrs.get("units") == row.unit


def test_without_vendor_and_model_there_is_no_measurement(lab, ramp, tmp_path):
    lab.add(
        ramp((6, 7)), settings={"accelerating_voltage": Quantity(5e3, "V")}, acquired="2023-04-11T10:00:00Z"
    )
    file, (note,) = exported(lab, tmp_path)
    with file:
        assert "measurement" not in file["entry"]
        assert file["entry/micdb/settings/accelerating_voltage"][()] == 5000.0
    assert "NXem demands instrument/fabrication/vendor, instrument/fabrication/model there" in note


def test_stacks_complex_pixels_and_colours(lab, ramp, nm, tmp_path):
    known = {"settings": FULL, "acquired": "2023-04-11T10:00:00Z"}
    stack, wave, colours = ramp((3, 6, 7)), ramp((6, 7), "complex64"), ramp((6, 7, 3), "uint8")
    lab.add(stack, axes=(Axis("time", 3, 0.5, 0.0, "s"), *nm(6, 7)), name="stack", **known)
    lab.add(wave, name="wave", **known)
    lab.add(colours, colour=True, name="colours", **known)
    done = lab.db.export(lab.db.images, tmp_path / "out", as_="nxem", sample=SAMPLE)
    files = {one.image.name: h5py.File(tmp_path / "out" / one.files[0]) for one in done.images}
    shown = files["stack"]["entry/measurement/event1/image1/stack_2d"]
    assert np.array_equal(shown["real"][()], stack)
    assert shown["indices_image"][()].tolist() == [0, 1, 2]
    assert files["stack"]["entry/image/time"][()].tolist() == [0.0, 0.5, 1.0]
    shown = files["wave"]["entry/measurement/event1/image1/image_2d"]
    assert np.array_equal(shown["real"][()] + 1j * shown["imag"][()], wave)
    assert np.array_equal(files["colours"]["entry/image/data"][()], colours)
    assert "image1" not in files["colours"]["entry/measurement"].get("event1", {})
    for file in files.values():
        file.close()


def test_what_is_missing_is_named_with_the_way_to_give_it(lab, ramp, tmp_path):
    lab.add(ramp((4, 5)))
    assert refusal(lab, tmp_path, atom_types="Fe") == (
        "is_simulation is missing (true or false); "
        "preparation_date is missing (date, time and zone, for example 2024-05-31T14:30:00+02:00); "
        "start_time is missing (when the session began; the image's own date where it has one). "
        "Give it as a property of the sample in the samples sheet, or with --sample name=value"
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"is_simulation": "maybe"}, "is_simulation: 'maybe' is neither true nor false"),
        ({"atom_types": "iron"}, "atom_types: 'iron', expected symbols parted by commas"),
        ({"preparation_date": "2023-04-01"}, "preparation_date: '2023-04-01' has no time of day"),
        (
            {"preparation_date": "1.4.2023 10:00"},
            "preparation_date: '1.4.2023 10:00' is no date, time and zone",
        ),
        ({"preparation_date": "2023-04-01T10:00"}, "has no zone; give time_zone (of dates without one"),
        (
            {"preparation_date": "2023-04-01T10:00", "time_zone": "Mars/Base"},
            "time_zone is 'Mars/Base', expected",
        ),
    ],
)
def test_what_cannot_be_read_is_refused(lab, ramp, tmp_path, given, message):
    lab.add(ramp((4, 5)), acquired="2023-04-11T10:00:00Z")
    assert message in refusal(lab, tmp_path, **{**SAMPLE, **given})


def test_a_local_date_takes_only_the_zone_somebody_gave(lab, ramp, tmp_path):
    lab.add(ramp((4, 5)), acquired="2023-01-11T10:00:00")
    assert "start_time: '2023-01-11T10:00:00' has no zone; give time_zone" in refusal(lab, tmp_path, **SAMPLE)
    file, _ = exported(lab, tmp_path, time_zone="Europe/Berlin")
    with file:  # winter time, though the sample was prepared in summer time
        assert file["entry/start_time"].asstr()[()] == "2023-01-11T10:00:00+01:00"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"modality": "STM"}, "NXem describes electron microscopy, and this is an image of STM"),
        ({"settings": {"bias": Quantity(1.0, "V")}}, "this image has the settings of a scanning probe"),
        ({"pixels": np.eye(4, dtype=bool)}, "NXem takes numbers, and these pixels are true or false"),
    ],
)
def test_images_nxem_is_not_for(lab, ramp, tmp_path, given, reason):
    lab.add(given.pop("pixels", ramp((4, 5))), acquired="2023-04-11T10:00:00Z", **given)
    with pytest.raises(UsageError, match=reason):
        lab.db.export(lab.db.images, tmp_path / "out", as_="nxem", sample=SAMPLE)


def sheet(lab, tmp_path, rows, columns):
    (tmp_path / "s.csv").write_text("file,sample," + ",".join(columns) + "\n" + "\n".join(rows) + "\n")
    lines = ['file = "file"', 'sample = "sample"']
    for name in columns:
        unit = ', unit = ""' if name == "is_simulation" else ""
        lines.append(f'[property.{name}]\ncolumn = "{name}"{unit.replace(", ", chr(10))}')
    (tmp_path / "m.toml").write_text("\n".join(lines))
    lab.db.ingest(lab.folder, sheet=tmp_path / "s.csv", map=tmp_path / "m.toml")


def test_the_samples_sheet_is_asked_first_and_the_caller_wins(lab, ramp, tmp_path):
    lab.add(ramp((4, 5)), acquired="2023-04-11T10:00:00Z")
    row = "scan1.described,S1,0,W S,2023-04-01T10:00:00Z"
    sheet(lab, tmp_path, [row.replace("W S", "W; S")], ["is_simulation", "atom_types", "preparation_date"])
    assert "atom_types: 'W; S', expected" in refusal(lab, tmp_path)
    done = lab.db.export(lab.db.images, tmp_path / "out", as_="nxem", sample={"atom_types": "W, S"})
    with h5py.File(tmp_path / "out" / done.images[0].files[0]) as file:
        sample = file["entry/sample1"]
        assert sample["name"].asstr()[()] == "S1"
        assert sample["is_simulation"][()] is np.False_
        assert sample["atom_types"].asstr()[()] == "W, S"
        assert sample["preparation_date"].asstr()[()] == "2023-04-01T10:00:00+00:00"


def test_two_values_are_not_chosen_between(lab, ramp, tmp_path):
    for number in range(2):
        lab.add(ramp((4, 5 + number)), acquired="2023-04-11T10:00:00Z")
    rows = ["scan1.described,S1,Fe", "scan2.described,S1,Cu"]
    sheet(lab, tmp_path, rows, ["atom_types"])
    known = {name: value for name, value in SAMPLE.items() if name != "atom_types"}
    assert "atom_types has several values: Fe and Cu" in refusal(lab, tmp_path, **known)

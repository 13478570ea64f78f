"""NeXus files that declare the application definition NXem, for repositories that ask for it.

NXem demands what no microscope records: whether the sample is a simulation, its elements, and when it was
prepared. These come from properties of the sample (a samples sheet), or from the caller; an image for
which one is missing is refused, and nothing is made up. Instrument settings stand under NXem's names
where everything that the definition demands beside them is known; all of them stand in a collection
under ours. The rules are those of the definitions in pynxtools 0.16.0; docs/export.md has its verdict.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np

from micdb.bundle.crosswalk import crossed
from micdb.bundle.data_array import positions
from micdb.bundle.form import Folder, Form, Written
from micdb.bundle.image import StoredImage
from micdb.bundle.nxem_sample import Sample, asked
from micdb.provenance import package_version
from micdb.query.frame import Frame
from micdb.records import Axis
from micdb.store import layout, nexus

NOT_ELECTRONS = ("STM", "AFM", "optical")
PROBE = {"bias", "setpoint_current"}  # settings that tell a scanning probe where no modality is known

# Class of each group that a crosswalk's path runs through.
_CLASSES = {
    "measurement": "NXem_measurement",
    "measurement/instrument": "NXem_instrument",
    "measurement/instrument/fabrication": "NXfabrication",
    "measurement/instrument/ebeam_column": "NXebeam_column",
    "measurement/instrument/detector1": "NXdetector",
    "measurement/event1": "NXem_event_data",
    "measurement/event1/image1": "NXimage",
    "measurement/event1/instrument": "NXem_instrument",
    "measurement/event1/instrument/ebeam_column": "NXebeam_column",
    "measurement/event1/instrument/ebeam_column/electron_source": "NXsource",
    "measurement/event1/instrument/ebeam_column/scan_controller": "NXscan_controller",
    "measurement/event1/instrument/optics": "NXem_optical_system",
    "measurement/event1/instrument/detector1": "NXdetector",
    "measurement/event1/instrument/stage1": "NXmanipulator",
    "sample1": "NXsample",
    "user1": "NXuser",
}
# Group -> what NXem demands beside any field in it: without all of them it is left out.
_DEMANDS = {
    "measurement": ("instrument/fabrication/vendor", "instrument/fabrication/model"),
    "measurement/event1/instrument/ebeam_column/electron_source": ("voltage",),
    "measurement/event1/instrument/ebeam_column/scan_controller": ("scan_schema", "dwell_time"),
    "measurement/event1/instrument/detector1": ("operation_mode",),
    "measurement/event1/instrument/stage1": (
        "position[0]", "position[1]", "position[2]", "rotation", "tilt1", "tilt2",
    ),
}  # fmt: skip


class Nxem(Form):
    """One strict file per image.

    Parameters
    ----------
    sample
        What the catalog does not know, by the names of `micdb.bundle.nxem_sample.FIELDS`; it wins over
        properties.
    """

    name = "nxem"

    def __init__(self, sample: Mapping[str, Any]) -> None:
        self._given = asked(sample)
        self._samples: dict[int, Sample] = {}

    def files(self, stem: str, n_frames: int) -> list[str]:  # noqa: ARG002
        """Return one name: a stack is one file."""
        return [f"{stem}.nxs"]

    def prepare(self, frame: Frame) -> None:
        """Read what the catalog knows of the samples."""
        self._samples = Sample.read(frame.context.engine, frame.pks().tolist(), self._given)

    def refusal(self, image: StoredImage) -> str | None:
        """Refuse images of other microscopes, and those whose sample is not described."""
        if image.modality in NOT_ELECTRONS:
            return f"NXem describes electron microscopy, and this is an image of {image.modality}"
        known = set(image.settings)
        if image.modality is None and PROBE & known and "accelerating_voltage" not in known:
            return "NXem describes electron microscopy, and this image has the settings of a scanning probe"
        if image.dtype == "bool":
            return "NXem takes numbers, and these pixels are true or false; export as nexus"
        return self._samples[image.pk].problem(image)

    def write(self, image: StoredImage, names: Sequence[str], folder: Folder) -> Written:
        """Write the strict file; pixels are copied as they are."""
        notes: list[str] = []
        values = _placed(image, self._samples[image.pk], notes)
        with folder.new(names[0]) as path, h5py.File(path, "w") as file:
            file.attrs.update(NX_class="NXroot", default="entry", creator="micdb")
            file.attrs["creator_version"] = package_version()
            entry = _group(file, "entry", "NXentry")
            entry.attrs["default"] = "image"
            entry["definition"] = "NXem"
            entry["title"] = image.name
            for place, (value, unit) in values.items():
                _field(entry, place, value, unit)
            _pixels(entry, image)
            if "measurement" in entry:
                _event_image(entry, image)
                for where in ("measurement/instrument", "measurement/event1/instrument"):
                    if where in entry:  # demanded in every instrument, known or not
                        _group(entry, f"{where}/ebeam_column", "NXebeam_column")
            _source(entry, image)
        return Written(image, tuple(names), tuple(notes))


Placed = dict[str, tuple[Any, str | None]]  # path below the entry -> value, unit


def _placed(image: StoredImage, sample: Sample, notes: list[str]) -> Placed:
    """Return every field by its place, without the groups that would lack something NXem demands."""
    values: Placed = {row.nexus: (value, row.unit) for row, value in crossed(image.settings) if row.nexus}
    for place, known in (
        ("sample1/name", image.sample),
        ("measurement/instrument/fabrication/model", image.instrument),
        ("measurement/instrument/fabrication/vendor", image.vendor),
    ):
        if known is not None:  # what people said, over what the file said
            values[place] = (known, None)
    for group, demanded in _DEMANDS.items():
        inside = [place for place in values if place.startswith(f"{group}/")]
        missing = [name for name in demanded if f"{group}/{name}" not in values]
        if inside and missing:
            for place in inside:
                del values[place]
            notes.append(f"{group} is left out: NXem demands {', '.join(missing)} there, which is unknown")
    stage = "measurement/event1/instrument/stage1/position"
    if f"{stage}[0]" in values:
        vector = [values.pop(f"{stage}[{i}]") for i in range(3)]
        values[stage] = (np.array([value for value, _ in vector]), vector[0][1])
    return values | sample.values(image)


def _group(parent: h5py.Group, name: str, kind: str) -> h5py.Group:
    group = parent.require_group(name)
    group.attrs["NX_class"] = kind
    return group


def _field(entry: h5py.Group, place: str, value: Any, unit: str | None) -> None:
    parts = place.split("/")
    for depth in range(1, len(parts)):
        name = "/".join(parts[:depth])
        _group(entry, name, _CLASSES[name])
    entry[place] = _storable(value)
    if unit is not None:
        entry[place].attrs["units"] = unit


def _pixels(entry: h5py.Group, image: StoredImage) -> None:
    """Copy the pixels chunk by chunk, without decompressing them, and write the axes."""
    group = _group(entry, "image", "NXdata")
    with nexus.opened(image.place) as stored:
        for name in (layout.SIGNAL, layout.IMAGINARY):
            if f"{layout.IMAGE}/{name}" in stored:
                stored.copy(f"{layout.IMAGE}/{name}", group, name, without_attrs=True)
        group[layout.SIGNAL].attrs["long_name"] = image.channel or image.name
    group.attrs["signal"] = layout.SIGNAL
    group.attrs["axes"] = [axis.name for axis in image.axes]
    for number, axis in enumerate(image.axes):
        _axis(group, axis)
        group.attrs[f"{axis.name}_indices"] = np.uint64(number)


def _axis(group: h5py.Group, axis: Axis) -> None:
    counted = axis.step is None or axis.name == "colour"
    group[axis.name] = np.arange(axis.size, dtype=np.float64) if counted else positions(axis)
    group[axis.name].attrs["long_name"] = f"{axis.name} ({axis.unit or 'index'})"
    if not counted and axis.unit is not None:
        group[axis.name].attrs["units"] = axis.unit


def _event_image(entry: h5py.Group, image: StoredImage) -> None:
    """Show the same pixels where NXem looks for images: one picture, or one stack of them."""
    leading = image.frame_axes
    if image.colour or len(leading) > 1:
        return
    _group(entry, "measurement/event1", _CLASSES["measurement/event1"])
    _group(entry, "measurement/event1/image1", _CLASSES["measurement/event1/image1"])
    kind = "stack_2d" if leading else "image_2d"
    shown = _group(entry, f"measurement/event1/image1/{kind}", "NXdata")
    data = entry["image"]
    axes = {"axis_j": "y", "axis_i": "x"}
    if leading:
        shown["indices_image"] = np.arange(leading[0].size, dtype=np.int64)
        shown["indices_image"].attrs["long_name"] = "number of the image"
    for name, own in axes.items():
        shown[name] = data[own]
    shown["title"] = image.name
    shown["real"] = data[layout.SIGNAL]
    if layout.IMAGINARY in data:
        shown["imag"] = data[layout.IMAGINARY]
        shown["imag"].attrs["long_name"] = f"{image.channel or image.name}, imaginary part"
    order = [*(["indices_image"] if leading else []), *axes]
    shown.attrs["signal"] = "real"
    shown.attrs["axes"] = order
    for number, name in enumerate(order):
        shown.attrs[f"{name}_indices"] = np.uint64(number)


def _source(entry: h5py.Group, image: StoredImage) -> None:
    note = _group(entry, "note1", "NXnote")
    for name, value in (
        ("type", image.source["format"]),
        ("file_name", image.source["file_name"]),
        ("checksum", image.source["sha256"]),
        ("algorithm", "sha256"),
    ):
        note[name] = value
    ours = _group(entry, "micdb", "NXcollection")
    ours["uid"] = image.uid
    ours["original_metadata"] = json.dumps(image.original(), ensure_ascii=True)
    settings = _group(ours, "settings", "NXcollection")
    for name, quantity in image.settings.items():
        settings[name] = _storable(quantity.value)
        if quantity.unit is not None:
            settings[name].attrs["units"] = quantity.unit


def _storable(value: Any) -> Any:
    """Return a value that HDF5 can hold: text ends there at a NUL."""
    return value.replace("\x00", "") if isinstance(value, str) else value

"""What the manifest says of an item, in micdb's terms: one `Claim` per reader, image and field.

The manifest keeps what third-party readers gave, each in its own words and units; here every one of its keys
is either turned into claims or named in `NO_CLAIM` with the reason.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from micdb import units

Item = dict[str, Any]


class Claim(NamedTuple):
    """One fact by one reader.

    Parameters
    ----------
    by
        Reader and version.
    image
        Index of the scan of ours that the fact is about.
    field
        ``shape``, ``mean``, ``step x``, a name of `micdb.records.SETTINGS`, ...
    value
        As the reader gives it.
    unit
        Its unit, in which ours is compared.
    """

    by: str
    image: int
    field: str
    value: Any
    unit: str | None = None


# Manifest's fact -> setting of ours and unit.
_SETTINGS = {
    "accelerating_voltage_V": ("accelerating_voltage", "V"), "magnification": ("magnification", None),
    "working_distance_m": ("working_distance", "m"), "detector": ("detector", None),
    "instrument": ("instrument", None), "bias_V": ("bias", "V"), "current_A": ("setpoint_current", "A"),
}  # fmt: skip
# Key of a stage as the vendors write it -> setting and unit.
_STAGE = {
    "Stage X": ("stage_x", "um"), "Stage Y": ("stage_y", "um"), "Stage Z": ("stage_z", "um"),
    "Stage Alpha": ("stage_tilt", "deg"), "Stage Beta": ("stage_tilt_beta", "deg"),
    "Stage X_um": ("stage_x", "um"), "Stage Y_um": ("stage_y", "um"), "Stage Z_um": ("stage_z", "um"),
    "Stage A_deg": ("stage_tilt", "deg"), "Stage B_deg": ("stage_tilt_beta", "deg"),
    "x": ("stage_x", "m"), "y": ("stage_y", "m"), "z": ("stage_z", "m"),
    "StageX": ("stage_x", "m"), "StageY": ("stage_y", "m"), "StageZ": ("stage_z", "m"),
    "StageR": ("stage_rotation", "rad"), "StageT": ("stage_tilt", "rad"),
    "StageTb": ("stage_tilt_beta", "rad"), "StageRotation": ("stage_rotation", "deg"),
    "StageTilt": ("stage_tilt", "deg"),
    "WorkingDistance": ("working_distance", "m"),
    "ap_stage_at_x": ("stage_x", ""), "ap_stage_at_y": ("stage_y", ""), "ap_stage_at_z": ("stage_z", ""),
    "ap_stage_at_r": ("stage_rotation", ""), "ap_stage_at_t": ("stage_tilt", ""),
    "tilt_alpha": ("stage_tilt", "deg"), "tilt_beta": ("stage_tilt_beta", "deg"),
}  # fmt: skip
# End of a path in HyperSpy's tree -> setting and HyperSpy's unit.
_MAPPED = {
    "beam_energy": ("accelerating_voltage", "kV"), "magnification": ("magnification", None),
    "camera_length": ("camera_length", "mm"), "working_distance": ("working_distance", "mm"),
    "dwell_time": ("dwell_time", "s"), "beam_current": ("beam_current", "nA"),
    "convergence_angle": ("convergence_angle", "mrad"), "rotation": ("scan_angle", "deg"),
    "microscope": ("instrument", None), "Detector.Camera.name": ("detector", None),
    "Detector.Camera.Name": ("detector", None), "Detector.detector_type": ("detector", None),
    "Detector.Camera.exposure": ("exposure_time", "s"), "acquisition_mode": ("modality", None),
    "authors": ("operator", None), "description": ("sample", None),
    "Stage.x": ("stage_x", "mm"), "Stage.y": ("stage_y", "mm"), "Stage.z": ("stage_z", "mm"),
    "Stage.rotation": ("stage_rotation", "deg"), "Stage.tilt": ("stage_tilt", "deg"),
    "Stage.tilt_alpha": ("stage_tilt", "deg"), "Stage.tilt_beta": ("stage_tilt_beta", "deg"),
}  # fmt: skip
# Where a plugin of rosettasciio keeps another unit than HyperSpy says.
_MAPPED_UNITS = {
    "blo": {"camera_length": "m"},
    "emd_velox": dict.fromkeys(("Stage.x", "Stage.y", "Stage.z"), "m"),
    "sem_tif_fei": dict.fromkeys(("Stage.x", "Stage.y", "Stage.z"), "m")
    | dict.fromkeys(("Stage.rotation", "Stage.tilt"), "rad"),
}  # fmt: skip
# Dates by the vendors' conventions; anything else must be ISO.
_DATES = {
    "dm3": ("%m/%d/%Y %I:%M:%S %p", "%d/%m/%Y %I:%M:%S %p"),
    "igor_ibw": ("%Y-%m-%d %I:%M:%S %p",),
    "nanonis_sxm": ("%d.%m.%Y %H:%M:%S",),
    "sem_tif_fei": ("%m/%d/%Y %I:%M:%S %p",),
    "sem_tif_zeiss": ("%d %b %Y %H:%M:%S",),
}
# Formats whose date the manifest quotes from the file, letter by letter.
_QUOTED = ("dm3", "igor_ibw", "nanonis_sxm", "sem_tif_fei", "sem_tif_tescan", "sem_tif_zeiss")

# Facts that few formats have -> field, value and unit of the claims in them.
_SPECIAL: dict[str, Callable[[Any], list[tuple[Any, ...]]]] = {
    "n_frames": lambda count: [("frames", count)],
    "hfw_m": lambda width: [("extent x", float(width), "m")],
    "scan_size": lambda width: [("reach x", float(width), "m")],  # Asylum: from the first to the last point
    "scan_range_m": lambda x_y: [("extent x", x_y[0], "m"), ("extent y", x_y[1], "m")],
    "scan_offset_m": lambda x_y: [("offset_x", x_y[0], "m"), ("offset_y", x_y[1], "m")],
    "wave": lambda wave: [(f"step {axis}", wave["step"][n], wave["units"][n]) for n, axis in enumerate("xy")],
    "setpoint": lambda written: [("setpoint_current", float(written), "A")],
    "scan_lines_used": lambda lines: [("lines recorded", lines[1])],
    "magnification_raw": lambda written: [("magnification", float(written[0]))],
    "zeiss_pixel_sizes": lambda sizes: [
        ("step x", float(number), unit) for number, unit in [sizes["ap_image_pixel_size"]]
    ],
    "tiff_datetime": lambda written: [("original DateTime", written)],
    "imagej": lambda tags: (
        [("frames", tags.get("slices", 1))]
        + ([("step z", tags["spacing"], tags["unit"])] if "spacing" in tags else [])
    ),
    "header": lambda header: [  # of Createc
        ("shape", (int(header["Num.Y"]), int(header["Num.X"]))),
        ("extent x", float(header["Length x[A]"]), "angstrom"),
        ("extent y", float(header["Length y[A]"]), "angstrom"),
        ("bias", float(header["Biasvolt[mV]"]), "mV"),
        ("scans", int(header["Channels"])),
    ],
}
# Keys of the manifest that claim nothing about an image, and why.
NO_CLAIM = {
    "tiff": "how the file is packed", "tiff_resolution": "for printing; never a scale by itself",
    "pixel_size_reader": "says who gave the pixel size", "from_second_reader": "says who gave which fact",
    "first_image_name": "says which image `first_image_stats` is of", "payload_bytes": "size of a block",
    "scan_dir": "orientation is compared pixel by pixel in the tests of the reader",
    "rosettasciio_mapped": "see `_mapped`", "marker": "of a sidecar without an image",
    "grid": "of spectra", "n_curves": "of spectra", "imaging_mode": "of spectra", "experiment": "of spectra",
    "spring_constant_N_m": "of spectra", "afmreader_stats_unscaled": "not in a unit",
}  # fmt: skip


def six_digits(theirs: float, ours: float) -> bool:
    """Return whether `ours` rounds to `theirs`, which has six significant digits."""
    if not theirs or not math.isfinite(theirs):
        return theirs == ours
    digit = 10.0 ** (math.floor(math.log10(abs(theirs))) - 5)
    return abs(theirs - ours) <= 0.51 * digit


def claims(item: Item, pairs: dict[int, int]) -> Iterator[Claim]:
    """Return every claim about an item; `pairs` leads from the manifest's images to ours."""
    expected, facts = item["expected"], item["expected"]["facts"] or {}
    by = " ".join(expected["reader"].values())
    first = pairs.get(0, 0)
    for number, scan in pairs.items():
        if number < len(facts.get("images") or ()):
            yield from _image(by, scan, facts["images"][number], (facts.get("channels") or [])[number:])
    named = _first(facts, pairs)
    for claim in _facts(item["format"], by, facts):
        scan = named if claim.field.startswith("first frame") else claim.image or first
        yield claim._replace(image=scan)
    yield from _mapped(item["format"], by, facts.get("rosettasciio_mapped") or {})
    yield from _cross(item, expected["cross_check"] or {})
    yield from _gwyddion(expected.get("gwyddion") or {})


def _first(facts: dict[str, Any], pairs: dict[int, int]) -> int:
    """Return the scan that `first_image_stats` is of."""
    names = [image.get("name") for image in facts.get("images") or ()]
    named = facts.get("first_image_name")
    return pairs.get(names.index(named) if named else 0, 0)


def _image(by: str, scan: int, image: dict[str, Any], channels: list[str | None]) -> Iterator[Claim]:
    shape, dtype = list(image["shape"]), image["dtype"] or ""
    if dtype.startswith("R+G+B"):
        shape, dtype = [*shape, dtype.count("+") + 1], dtype.split()[-1]
    yield Claim(by, scan, "shape", tuple(shape))
    if dtype:
        yield Claim(by, scan, "dtype", np.dtype(dtype).name)
    if channels and channels[0]:
        yield Claim(by, scan, "channel", channels[0])
    if image.get("unit"):
        yield Claim(by, scan, "unit", image["unit"])
    for name, value in (image.get("stats") or {}).items():
        yield Claim(by, scan, name, value, image.get("unit"))
    if isinstance(image.get("axes"), list):
        for place, axis in enumerate(image["axes"]):
            yield Claim(by, scan, f"step of axis {place}", axis["scale"], axis["units"] or "")


def _facts(format_: str, by: str, facts: dict[str, Any]) -> Iterator[Claim]:
    for key, value in facts.items():
        if value in (None, [], {}, "") or key in NO_CLAIM or key in ("images", "channels", "time"):
            continue
        if key in _SETTINGS:
            second = (facts.get("from_second_reader") or {}).get(key)
            setting, unit = _SETTINGS[key]
            yield Claim(" ".join(second.values()) if second else by, 0, setting, value, unit)
        elif key == "pixel_size":
            yield from _pixel_size(by, value, facts.get("pixel_size_reader") or {})
        elif key == "first_image_stats":
            unit = (facts.get("images") or [{}])[0].get("unit")
            yield from (Claim(by, 0, f"first frame {name}", number, unit) for name, number in value.items())
        elif key == "date":
            yield from _date(format_, by, value, facts.get("time"))
        elif key == "stage":
            yield from _stage(by, value)
        else:
            yield from (Claim(by, 0, *said) for said in _SPECIAL[key](value))


def _pixel_size(by: str, sizes: dict[str, Any], measured: dict[str, Any]) -> Iterator[Claim]:
    """Return the pixel size; `measured` names another reader, and the image that it is of."""
    who = f"{measured['name']} {measured['version']}" if measured else by
    for axis, found in sizes.items():
        yield Claim(who, measured.get("signal", 0), f"step {axis}", found["value"], found["unit"])


def _date(format_: str, by: str, date: str, clock: str | None) -> Iterator[Claim]:
    written = f"{date} {clock}" if clock else date
    yield Claim(by, 0, "date", _moment(format_, written))
    if format_ in _QUOTED:
        yield Claim(by, 0, "date as written", written)


def _moment(format_: str, written: str) -> str:
    squeezed = re.sub(r"\b([ap])\.\s?m\.", r"\1m", written)
    for pattern in _DATES.get(format_, ()):
        try:
            return datetime.strptime(squeezed, pattern).isoformat()
        except ValueError:
            continue
    return datetime.fromisoformat(written).isoformat()


def _stage(by: str, stage: dict[str, Any] | str) -> Iterator[Claim]:
    for key, value in (ast.literal_eval(stage) if isinstance(stage, str) else stage).items():
        if key not in _STAGE:
            yield Claim(by, 0, f"original {key}", value)
            continue
        setting, unit = _STAGE[key]
        if unit == "":  # the vendor writes it beside the number
            yield Claim(by, 0, setting, *units.parse(value))
        else:
            yield Claim(by, 0, setting, value, unit)


def _mapped(format_: str, by: str, tree: dict[str, Any]) -> Iterator[Claim]:
    """Return claims from HyperSpy's tree as rosettasciio fills it."""
    general = {key.removeprefix("General."): value for key, value in tree.items()}
    if "date" in general:
        written = " ".join(filter(None, (general["date"], general.get("time"))))
        yield Claim(by, 0, "date", datetime.fromisoformat(written).isoformat())
    elif "time" in general:
        yield Claim(by, 0, "time", datetime.strptime(general["time"], "%H:%M:%S").time().isoformat())
    for path, value in tree.items():
        key = re.sub(r"^Acquisition_instrument\.\w+\.|^General\.|^Sample\.", "", path)
        if key in ("date", "time", "time_zone") or path.startswith("Signal."):  # noise model: not measured
            continue
        if key == "Stage":
            yield from _stage(by, value)
            continue
        setting, unit = _MAPPED[key]
        unit = _MAPPED_UNITS.get(format_, {}).get(key, unit)
        yield Claim(by, 0, setting, float(value) if unit else value, unit)


def _cross(item: Item, cross: dict[str, Any]) -> Iterator[Claim]:
    """Return claims of the second Python reader."""
    if "error" in cross or not cross:
        return
    by = " ".join(cross["reader"])
    shape = cross["shape"]
    yield Claim(by, 0, "shape", tuple(shape))
    if "dtype" in cross:
        yield Claim(by, 0, "dtype", cross["dtype"])
    for name, value in (cross.get("stats") or {}).items():
        yield Claim(by, 0, name, value)
    yield from _cross_steps(by, cross)
    for axis, found in (cross.get("pixel_size") or {}).items():
        yield Claim(by, cross["pixel_size_of_signal"], f"step {axis}", found["value"], found["unit"])
    for place, (_, unit, _) in enumerate(cross.get("dims") or ()):
        yield Claim(by, 0, f"unit of axis {place}", units.known(unit))
    if "n_signals" in cross:
        yield Claim(by, 0, "scans", cross["n_signals"])
    if cross.get("date"):
        yield Claim(by, 0, "date", cross["date"])
    yield from _mapped(item["format"], by, cross.get("mapped") or {})


def _cross_steps(by: str, cross: dict[str, Any]) -> Iterator[Claim]:
    """Return the steps of the axes; without a unit, rosettasciio knows nothing of the scale."""
    sizes, scales = cross.get("pixelSize") or (), cross.get("scale") or ()
    for place, (value, unit) in enumerate(zip(sizes, cross.get("pixelUnit") or (), strict=True)):
        yield Claim(by, 0, f"step of axis {place}", value, unit)
    for place, (value, unit) in enumerate(zip(scales, cross.get("units") or (), strict=True)):
        if unit:
            yield Claim(by, 0, f"step of axis {place}", value, unit)


def _gwyddion(found: dict[str, Any]) -> Iterator[Claim]:
    """Return claims of the program Gwyddion; its ``meta`` repeats the text of the header: not compared."""
    if not found.get("images"):
        return
    by = " ".join(found["reader"])
    yield Claim(by, 0, "scans", found["n_images"])
    for scan, image in enumerate(found["images"]):
        yield Claim(by, scan, "shape", tuple(image["shape"]))
        if image["title"]:
            yield Claim(by, scan, "channel", image["title"].strip())
        if image["z_unit"]:
            yield Claim(by, scan, "unit", image["z_unit"])
        for axis, value in zip("xy", image["pixel_size"], strict=True):
            yield Claim(by, scan, f"step {axis}", value, image["unit"] or "")
        for name, value in image["stats"].items():
            yield Claim(by, scan, name, value, image["z_unit"])

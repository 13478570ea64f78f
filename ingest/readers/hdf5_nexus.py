"""NeXus: every ``NXdata`` group with a signal of two or more dimensions, the default plot first.

After the manual of NXdata (https://manual.nexusformat.org/classes/base_classes/NXdata.html): ``@signal``
names the data, ``@axes`` its axes in order, ``@<axis>_indices`` the dimension of an axis; before 2014 the
data had ``@signal = 1`` and ``@axes = "y:x"`` itself. ``@interpretation`` says ``image`` or ``rgb-image``
where its writer knew. The last two dimensions are y and x, whatever they are called.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from micdb import units
from micdb.ingest.hdf5_probe import attribute, member, members, refusal, tree, value, walk
from micdb.ingest.metadata import Key, Settings, apply, flatten, plain, positive, text, tolerate
from micdb.ingest.readers import hyperspy_tree
from micdb.ingest.readers.hdf5_axis import axis_unit, leading_names, modality, no_image, spaced
from micdb.ingest.readers.hdf5_pixels import Stored, kind
from micdb.provenance import package_version
from micdb.records import Axis, Scan, Source

if TYPE_CHECKING:
    import h5py

_NO_IMAGE = ("spectrum", "scaler", "vertex")  # values of @interpretation
_COLOUR = {"rgb-image": 3, "rgba-image": 4}

# The last two names of a path below the entry, after NXem and NXinstrument; values carry their units.
_KEYS = (
    Key("electron_source.voltage", "accelerating_voltage", "V", positive),
    Key("ebeam_column.voltage", "accelerating_voltage", "V", positive),
    Key("optics.magnification", "magnification", None, positive),
    Key("optics.working_distance", "working_distance", None, positive),
    Key("optics.camera_length", "camera_length", None, positive),
    Key("optics.defocus", "defocus", None),
    Key("optics.probe_current", "beam_current", None, positive),
    Key("optics.semi_convergence_angle", "convergence_angle", None, positive),
    Key("scan_controller.dwell_time", "dwell_time", None, positive),
    Key("stage_lab.tilt1", "stage_tilt", None),
    Key("stage_lab.tilt2", "stage_tilt_beta", None),
    Key("instrument.name", "instrument"),
    Key("fabrication.model", "instrument"),
    Key("fabrication.vendor", "vendor"),
    Key("sample.name", "sample"),
    Key("user.name", "operator"),
)


class _Image(NamedTuple):
    group: h5py.Group
    data: h5py.Dataset
    entry: Any  # the NXentry above, or the file
    original: dict[str, Any]  # everything small below it


def known(file: h5py.File) -> bool:
    """Return whether the root or what it holds has a NeXus class."""
    return any(attribute(item, "NX_class") is not None for item in (file, *members(file).values()))


def scans(path: Path, file: h5py.File) -> tuple[list[Scan], list[str]]:
    """Return the images of the file, and a sentence for each plot that is none."""
    found: list[Scan] = []
    refused: list[str] = []
    for image in _images(file):
        reason = _refusal(image)
        if reason:
            refused.append(f"{image.data.name} {reason}")
        else:
            found.append(_scan(path, image, index=len(found)))
    return found, refused or ["this NeXus file has no NXdata group with a signal"]


def _images(file: h5py.File) -> Iterator[_Image]:
    """Yield every signal once, those of the default plot first."""
    groups = [item for item in walk(file) if attribute(item, "NX_class") == "NXdata"]
    default = _default(file)
    groups.sort(key=lambda group: default is None or group.id != default.id)
    seen: set[Any] = set()
    trees: dict[Any, dict[str, Any]] = {}
    for group in groups:
        for name in _signals(group):
            data = member(group, name)
            if hasattr(data, "shape") and data.id not in seen:
                seen.add(data.id)
                entry = _entry(group)
                if entry.id not in trees:
                    trees[entry.id] = tree(entry)
                yield _Image(group, data, entry, trees[entry.id])


def _default(file: h5py.File) -> Any:
    item: Any = file
    for _ in range(8):
        name = attribute(item, "default")
        below = member(item, name) if isinstance(name, str) else None
        if below is None or not hasattr(below, "keys"):
            break
        item = below
    return item if attribute(item, "NX_class") == "NXdata" else None


def _signals(group: h5py.Group) -> list[str]:
    """Return the names of signal and auxiliary signals."""
    signal = attribute(group, "signal")
    if isinstance(signal, list):
        signal = signal[0] if signal else None
    if isinstance(signal, str):
        return [signal, *_words(attribute(group, "auxiliary_signals"))]
    return [name for name, item in members(group).items() if str(attribute(item, "signal")) == "1"]


def _words(written: Any) -> list[str]:
    """Return a list of names, which old writers joined with colons or commas."""
    if isinstance(written, str):
        return [word.strip(" []") for word in written.replace(",", ":").split(":") if word.strip(" []")]
    return [str(word) for word in written] if isinstance(written, list) else []


def _entry(group: h5py.Group) -> Any:
    while group.name != "/" and attribute(group, "NX_class") not in ("NXentry", "NXsubentry"):
        group = group.parent
    return group


def _refusal(image: _Image) -> str | None:
    shape = image.data.shape
    if shape is None or kind(image.data.dtype) is None:
        return f"holds {image.data.dtype}, not numbers"
    interpretation = _interpretation(image)
    if len(shape) < 2 or interpretation in _NO_IMAGE:
        return f"is no image: it has the shape {shape}" + (interpretation and f" and says {interpretation}")
    return no_image(_axes(image, []), image="image" in interpretation) or refusal(image.data)


def _interpretation(image: _Image) -> str:
    said = attribute(image.data, "interpretation") or attribute(image.group, "interpretation")
    return said.strip().lower() if isinstance(said, str) else ""


def _scan(path: Path, image: _Image, *, index: int) -> Scan:
    problems: list[str] = []
    data = image.data
    axes = _axes(image, problems)
    stored = Stored(path, data.name, tuple(range(data.ndim)), [axis.name for axis in axes].index("y"))
    settings = _settings(image.original)
    title = text(attribute(data, "long_name") or attribute(image.group, "title") or "")
    name = text(_said(image.group, "title") or _said(image.entry, "title") or "")
    written = text(_said(image.entry, "start_time") or "")
    return Scan(
        pixels=stored.pixels(data),
        axes=tuple(axes),
        name=name or title or path.stem,
        source=Source(str(path), "nexus", "hdf5", f"h5py {package_version('h5py')}", index=index),
        channel=title or str(data.name).rsplit("/", 1)[-1],
        modality=modality(axes),
        intensity_unit=units.known(text(attribute(data, "units") or "")),
        acquired=_moment(written, problems),
        acquired_raw=written or None,
        settings=settings.values,
        original=plain(image.original),
        problems=(*problems, *settings.problems),
    )


def _settings(entry: dict[str, Any]) -> Settings:
    """Return what NeXus's own fields say, and then what HyperSpy left in a NeXus file of its own."""
    found = apply(_KEYS, _short(entry))
    auxiliary = entry.get("auxiliary")
    left = auxiliary.get("hyperspy_metadata") if isinstance(auxiliary, dict) else None
    if isinstance(left, dict):
        more = apply(hyperspy_tree.KEYS, hyperspy_tree.short_paths(left))
        return Settings({**more.values, **found.values}, [*found.problems, *more.problems])
    return found


def _said(group: Any, name: str) -> Any:
    item = member(group, name)
    return value(item) if hasattr(item, "shape") else None


def _moment(written: str, problems: list[str]) -> str | None:
    """Return NeXus's ISO 8601, which may lack the zone."""
    from datetime import datetime

    if not written:
        return None
    with tolerate(problems, "start_time"):
        return datetime.fromisoformat(written).isoformat().replace("+00:00", "Z")
    return None


def _axes(image: _Image, problems: list[str]) -> list[Axis]:
    shape = image.data.shape
    colour = _colour(image, shape)
    spatial = len(shape) - bool(colour)
    vectors = _vectors(image, len(shape))
    names = [*leading_names([name for name, _ in vectors[: spatial - 2]]), "y", "x"]
    axes = []
    for name, size, (_, vector) in zip(names, shape, vectors, strict=False):
        written = text(attribute(vector, "units") or "") if vector is not None else ""
        axes.append(spaced(name, size, vector, axis_unit(written), problems, written=written))
    return [*axes, *([Axis("colour", colour)] if colour else _record(image))]


def _colour(image: _Image, shape: tuple[int, ...]) -> int:
    samples = _COLOUR.get(_interpretation(image), 0)
    return samples if samples and len(shape) > 2 and shape[-1] == samples else 0


def _record(image: _Image) -> list[Axis]:
    known_kind = kind(image.data.dtype)
    return [Axis("colour", known_kind.colour)] if known_kind and known_kind.colour else []


def _vectors(image: _Image, rank: int) -> list[tuple[str, Any]]:
    """Return name and dataset of the axis of each dimension; an empty name and None where there is none."""
    names = _words(attribute(image.group, "axes")) or _words(attribute(image.data, "axes"))
    found: list[tuple[str, Any]] = [("", None)] * rank
    if not names:  # before 2014 an axis could say itself which it is, counted from 1
        said = {name: attribute(item, "axis") for name, item in members(image.group).items()}
        names = [next((name for name, at in said.items() if at == number + 1), ".") for number in range(rank)]
    for position, name in enumerate(names):
        at = attribute(image.group, f"{name}_indices")
        number = int(at) if isinstance(at, int) else position
        if name != "." and 0 <= number < rank:
            vector = member(image.group, name)
            found[number] = (name, vector if hasattr(vector, "shape") else None)
    return found


def _short(entry: dict[str, Any]) -> dict[str, Any]:
    """Return values by the last two names of their path, with the unit that stands beside them."""
    flat = flatten(entry, separator="/")
    found: dict[str, Any] = {}
    for path, said in flat.items():
        unit = flat.get(f"{path}@units")
        short = ".".join(path.split("/")[-2:])
        worded = f"{said!r} {unit}" if isinstance(said, int | float) and isinstance(unit, str) else said
        found.setdefault(short, worded)
    return found

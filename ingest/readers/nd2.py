"""Nikon NIS-Elements files (ND2): every channel at every stage position, by the nd2 package.

The package decodes the metadata; the images are found by `nd2_chunks`, and `nd2_images` says which is which.
Loops over time and z become leading axes; positions and channels are scans of their own. An experiment that
was stopped gives its complete rounds, and says so. Colours stand as blue, green, red in the file and are
turned into RGB. Row 0 is the top of the image, as NIS-Elements shows it.

Files of before 2008, which are JPEG 2000, are refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from micdb.errors import ReadError
from micdb.extras import require
from micdb.ingest.metadata import (
    Key,
    apply,
    flatten,
    locale_time,
    measure,
    plain,
    positive,
    tolerate,
    utc_time,
)
from micdb.ingest.reader import Format, Reader
from micdb.ingest.readers.nd2_chunks import MAGIC, SIGNATURE, Chunks
from micdb.ingest.readers.nd2_images import Images, Layout, Loop, arrange, places
from micdb.provenance import package_version
from micdb.records import Axis, Pixels, Scan, Source

if TYPE_CHECKING:
    import numpy as np

_UNIX_EPOCH = 2440587.5  # [day] Julian day number of 1970-01-01
_EVEN = 0.01  # [1] of a step: frames nearer than this to an even grid have a time step

# The metadata trees -> the element around them in version 3; `{}` is LV from that version on.
_TREES = {
    "ImageAttributes{}": "SLxImageAttributes",
    "ImageMetadataSeq{}|0": "SLxPictureMetadata",
    "ImageTextInfo{}": "SLxImageTextInfo",
    "ImageMetadata{}": "SLxExperiment",
}
_LOOPS = {"TimeLoop": "time", "NETimeLoop": "time", "ZStackLoop": "z", "XYPosLoop": "position"}
_TIMES = "CustomData|AcqTimesCache"  # the moment of every image, float64 [ms]
_LENGTHS = (0, 1)  # ePictureXAxis and ePictureYAxis of a length; others are time, z and single points


def _moved(value: object) -> float | None:
    """Let a stage position pass, but not the zero of a microscope without a motor."""
    return measure(value).value or None


# dTemperK is left out on purpose: the program writes 293 K whatever the temperature was.
_KEYS = (
    Key("setting.pObjectiveSetting.dObjectiveMag", "magnification", None, positive),
    Key("picture.dObjectiveMag", "magnification", None, positive),
    Key("setting.dExposureTime", "exposure_time", "ms", positive),
    Key("setting.pCameraSetting.CameraUserName", "detector"),
    Key("setting.pCameraSetting.CameraFamilyName", "detector"),
    Key("setting.pDeviceSetting.m_sMicroscopeFullName", "instrument"),
    Key("stage.x", "stage_x", "um", _moved),
    Key("stage.y", "stage_y", "um", _moved),
    Key("picture.dXPos", "stage_x", "um", _moved),
    Key("picture.dYPos", "stage_y", "um", _moved),
    Key("picture.dZPos", "stage_z", "um", _moved),
    Key("text.TextInfoItem_3", "sample"),
    Key("text.TextInfoItem_4", "operator"),
)


class Nd2(Reader):
    """Images of light microscopes run by NIS-Elements."""

    name = "nd2"
    formats = (Format("nd2", "Nikon NIS-Elements", (".nd2",)),)
    extra = "nd2"

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:
        """Say 3 for the signature chunk, 2 for a JPEG 2000 file named .nd2, so that it is refused."""
        if head.startswith(MAGIC):
            return 3 if head[16:48] == SIGNATURE else 1
        return 2 if _is_jpeg2000(head) and path.suffix.lower() == ".nd2" else 0

    def read(self, path: Path) -> list[Scan]:
        """Return one scan per position and channel; see `Reader.read`."""
        with path.open("rb") as stream:
            head = stream.read(64)
        if _is_jpeg2000(head):
            raise ReadError(
                path, "an ND2 file of before 2008 (JPEG 2000); convert it to TIFF with NIS-Elements",
                reader=self.name,
            )  # fmt: skip
        return list(_scans(_Facts.read(path)))


def _is_jpeg2000(head: bytes) -> bool:
    return head[4:8] == b"jP  "


class _Facts(NamedTuple):
    """What the metadata trees of a file say, as far as they can be decoded."""

    chunks: Chunks
    attributes: Mapping[str, Any]
    picture: Mapping[str, Any]
    text: Mapping[str, Any]
    loops: list[Loop]
    original: dict[str, Any]
    problems: list[str]

    @classmethod
    def read(cls, path: Path) -> _Facts:
        nd2 = require("nd2")
        chunks = Chunks.read(path)
        names = [name.format("LV" if chunks.version >= (3, 0) else "") for name in _TREES]
        problems: list[str] = []
        trees: dict[str, Any] = {}
        loops: list[Loop] = []
        with nd2.ND2File(path) as file:
            for name, root in zip(names, _TREES.values(), strict=True):
                if name in chunks.headers:
                    with tolerate(problems, name):
                        chunks.content(name)  # refuses bombs, which the package would unpack
                        tree = file.unstructured_metadata(strip_prefix=False, include={name})[name]
                        trees[name] = tree.get(root, tree)
            if names[3] in trees:
                with tolerate(problems, "the loops of the experiment"):
                    loops = [_loop(each) for each in file.experiment]
        attributes, picture, text, _ = (trees.get(name, {}) for name in names)
        return cls(chunks, attributes, picture, text, loops, plain(trees), problems)


def _loop(loop: Any) -> Loop:
    name, steps = _LOOPS.get(loop.type, "loop"), int(loop.count)
    if name == "z":
        step = loop.parameters.stepUm
        return Loop(name, steps, (step if loop.parameters.bottomToTop else -step) or None)
    if name == "position":
        points = loop.parameters.points
        return Loop(name, steps, stages=[(point.name or "", *point.stagePositionUm[:2]) for point in points])
    return Loop(name, steps)


class _Channel(NamedTuple):
    """Some components of the images, and what the metadata say of them."""

    first: int
    components: int
    plane: Mapping[str, Any]
    setting: Mapping[str, Any]  # of camera, microscope and objective


def _channels(facts: _Facts, components: int) -> list[_Channel]:
    found: list[_Channel] = []
    with tolerate(facts.problems, "the list of channels"):
        described = facts.picture.get("sPicturePlanes", {})
        settings = list(described.get("sSampleSetting", {}).values())
        planes = (described.get("sPlaneNew") or described.get("sPlane") or {}).values()
        first = 0
        for number, plane in enumerate(planes):
            used = int(plane.get("uiSampleIndex", number))
            setting = settings[used] if used < len(settings) else {}
            found.append(_Channel(first, int(plane.get("uiCompCount", 1)), plane, setting))
            first += found[-1].components
    sizes = [channel.components for channel in found]
    if sum(sizes) == components and set(sizes) <= {1, 3}:
        return found
    facts.problems.append(f"channels unknown: the images have {components} components, described are {sizes}")
    return [_Channel(number, 1, {}, {}) for number in range(components)]


class _View(NamedTuple):
    """The images of one position: their numbers in the file, along the other loops."""

    name: str
    stage: Mapping[str, float]  # x, y [um]
    loops: list[Loop]
    numbers: np.ndarray


def _views(path: Path, loops: list[Loop]) -> Iterator[_View]:
    import numpy as np

    numbers = np.arange(math.prod(loop.steps for loop in loops)).reshape([loop.steps for loop in loops])
    number = next((number for number, loop in enumerate(loops) if loop.name == "position"), None)
    if number is None:
        yield _View(path.stem, {}, loops, numbers)
        return
    others = [loop for loop in loops if loop.name != "position"]
    for position, chosen in enumerate(np.moveaxis(numbers, number, 0)):
        title, x, y = loops[number].stages[position]
        name = f"{path.stem} {title or f'position {position + 1}'}"
        yield _View(name if loops[number].steps > 1 else path.stem, {"x": x, "y": y}, others, chosen)


def _scans(facts: _Facts) -> Iterator[Scan]:
    path = facts.chunks.path
    layout = Layout.read(path, facts.attributes)
    stored = places(facts.chunks, layout)
    channels = _channels(facts, layout.components)
    views = _views(path, arrange(facts.loops, len(stored), facts.problems))
    for index, (view, channel) in enumerate(product(views, channels)):
        images = Images(
            path=path,
            layout=layout,
            places=tuple(stored[number] for number in view.numbers.ravel()),
            shape=tuple(size for size in view.numbers.shape if size > 1),
            first=channel.first,
            components=channel.components,
        )
        yield _scan(facts, view, channel, images, index)


def _scan(facts: _Facts, view: _View, channel: _Channel, images: Images, index: int) -> Scan:
    flat = flatten(
        {
            "picture": {key: value for key, value in facts.picture.items() if not isinstance(value, Mapping)},
            "setting": channel.setting,
            "stage": view.stage,
            "text": facts.text,
        }
    )
    settings = apply(_KEYS, flat)
    problems = [*facts.problems, *settings.problems]
    axes = (*_loop_axes(facts, view, problems), *_image_axes(facts, images, problems))
    written = facts.text.get("TextInfoItem_9") or None
    return Scan(
        pixels=Pixels(
            tuple(axis.size for axis in axes), images.layout.dtype, images.load,
            images.load_frame if images.shape else None,
        ),
        axes=axes,
        name=view.name,
        source=Source(str(facts.chunks.path), "nd2", Nd2.name, f"nd2 {package_version('nd2')}", index),
        channel=channel.plane.get("sDescription") or None,
        modality="optical" if {"uiModalityMask", "eModality"} & channel.plane.keys() else None,
        acquired=_moment(facts, view, written, problems),
        acquired_raw=written,
        settings=settings.values,
        original=facts.original,
        problems=tuple(problems),
    )  # fmt: skip


def _image_axes(facts: _Facts, images: Images, problems: list[str]) -> list[Axis]:
    picture = facts.picture
    size = 0.0
    with tolerate(problems, "the pixel size"):
        size = float(picture.get("dCalibration", 0)) if picture.get("bCalibrated") else 0.0
    square = picture.get("dAspect", -1) in (-1, 0, 1)
    axes = []
    for name, count in (("y", images.layout.height), ("x", images.layout.width)):
        kind = picture.get(f"ePicture{name.upper()}Axis", 0)
        if 0 < size < math.inf and kind in _LENGTHS and (square or name == "x"):
            axes.append(Axis(name, count, size, unit="um"))
        else:
            axes.append(Axis(name, count))
            if size > 0:
                why = (
                    f"pixels have the aspect {picture.get('dAspect')}"
                    if kind in _LENGTHS
                    else f"axis of kind {kind}"
                )
                problems.append(f"pixel size of {name} unknown: {why}")
    return [*axes, Axis("colour", 3)] if images.components == 3 else axes


def _loop_axes(facts: _Facts, view: _View, problems: list[str]) -> Iterator[Axis]:
    for number, loop in enumerate(view.loops):
        if loop.steps == 1:
            continue
        if loop.name == "z":
            yield Axis("z", loop.steps, loop.step, unit="um" if loop.step else None)
            continue
        step = None
        if loop.name == "time":
            along = view.numbers[tuple(slice(None) if n == number else 0 for n in range(len(view.loops)))]
            with tolerate(problems, "the times of the images"):
                step = _time_step(facts.chunks, along, problems)
        yield Axis(loop.name, loop.steps, step, unit="s" if step else None)


def _times(chunks: Chunks, numbers: np.ndarray) -> np.ndarray | None:
    """Return when images were taken [ms] after the start of the experiment; None where nobody noted it."""
    import numpy as np

    if _TIMES not in chunks.headers:
        return None
    times: np.ndarray = np.frombuffer(chunks.content(_TIMES), dtype="<f8")[numbers]
    return times


def _time_step(chunks: Chunks, numbers: np.ndarray, problems: list[str]) -> float | None:
    """Return the time between images as they were taken [s], where it is even; the plan is not asked."""
    import numpy as np

    times = _times(chunks, numbers)
    if times is None:
        problems.append("time step unknown: the file holds no times of its images")
        return None
    step = float(times[-1] - times[0]) / (len(times) - 1)
    even = np.linspace(times[0], times[-1], len(times))
    if step > 0 and np.abs(times - even).max() <= _EVEN * step:
        return step / 1000
    steps = np.diff(times) / 1000
    problems.append(f"time step unknown: images are {steps.min():.6g} to {steps.max():.6g} s apart")
    return None


def _moment(facts: _Facts, view: _View, written: str | None, problems: list[str]) -> str | None:
    """Return when the first image was taken: UTC by its Julian day, else the text where it is certain."""
    with tolerate(problems, "the date"):
        seconds = (float(facts.picture.get("dTimeAbsolute", 0)) - _UNIX_EPOCH) * 86400
        if seconds > 0:
            times = _times(facts.chunks, view.numbers.ravel()[:1])
            return utc_time(round(seconds if times is None else seconds + float(times[0]) / 1000))
    return locale_time(written) if written else None

"""Signals, as RosettaSciIO returns them, to scans: axes, HyperSpy's metadata tree, pixels frame by frame.

RosettaSciIO leaves half of the metadata in ``mapping`` (original path -> HyperSpy path, function), which
HyperSpy applies on loading; `hyperspy_tree.mapped` does that here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from micdb.errors import DamagedFileError, MissingExtraError, NotAnImageError
from micdb.ingest.metadata import apply, plain, text, tolerate, utc_time
from micdb.ingest.readers import hyperspy_tree
from micdb.ingest.readers.rosettasciio_checks import options
from micdb.provenance import package_version
from micdb.records import Axis, Modality, Pixels, Scan, Source

if TYPE_CHECKING:
    import numpy as np

_NAME = "rosettasciio"
_RGB = (("R", "G", "B"), ("R", "G", "B", "A"))
_PACKED = ("bruker", "pantarhei", "phenom", "mrcz", "topspin")
_SLOW = ("phenom",)
_RATIO = 1100  # bytes that one byte of deflate can hold, at most
_BLOCK = 1 << 26  # [byte] frames that are read together

# Plugin -> keys of the metadata tree that it copies as they are, in units that nobody states.
_UNSTATED = {
    "bruker": ("Stage.x", "Stage.y", "Stage.z"),
    "tvips": ("Stage.x", "Stage.y", "Stage.z", "Stage.tilt_alpha", "Stage.tilt_beta", "beam_current"),
}


def scans(path: Path, plugin: str, parts: tuple[str, ...]) -> list[Scan]:
    """Return the images of a file, or raise `NotAnImageError` that says what else it holds."""
    found: list[Scan] = []
    refused: list[str] = []
    general = _general(path) if plugin == "bruker" else {}
    for number, signal in enumerate(_signals(path, plugin)):
        axes = _axes(signal)
        if isinstance(axes, str):
            refused.append(axes)
        else:
            _check_size(path, plugin, signal["data"], parts)
            source = Source(str(path), plugin, _NAME, _version(), index=len(found), parts=parts)
            frames = _Frames(path, plugin, number, len(_leading(axes)))
            found.append(_scan(frames, signal, axes, source, general))
    if not found:
        raise NotAnImageError(path, f"no image: {'; '.join(refused[:4]) or 'it is empty'}", reader=_NAME)
    return found


def _signals(path: Path, plugin: str) -> list[dict[str, Any]]:
    return _kept(path, plugin, path.stat().st_mtime_ns) if plugin in _SLOW else _read(path, plugin)


@lru_cache(maxsize=1)
def _kept(path: Path, plugin: str, changed: int) -> list[dict[str, Any]]:  # noqa: ARG001 (a key of the cache)
    """Return the signals of a file that takes a second to read, for each of its images; spectra emptied."""
    found = _read(path, plugin)
    for signal in found:
        if isinstance(_axes(signal), str):
            signal["data"] = signal["data"][..., :0]
    return found


def _read(path: Path, plugin: str) -> list[dict[str, Any]]:
    import dask

    try:
        reader = import_module(f"rsciio.{plugin}").file_reader
        # Frames are read one after the other: a pool of threads would load many chunks at once.
        with dask.config.set(scheduler="synchronous"):
            return list(reader(str(path), **options(path, plugin)))
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"RosettaSciIO needs {error.name} for this: pip install {error.name}"
        ) from error


def _general(path: Path) -> dict[str, Any]:
    """Return the date of a Bruker composite, which rsciio gives with the map of spectra only."""
    from rsciio.bruker import file_reader

    try:
        (composite, *_) = file_reader(str(path), select_type="spectrum_image", lazy=True)
        general = composite["metadata"]["General"]
        return {key: general[key] for key in ("date", "time") if key in general}
    except Exception:  # whatever is wrong with the spectra, the images can be read
        return {}


def _axes(signal: Mapping[str, Any]) -> list[Axis] | str:
    """Return the axes in the order of the array, or why the signal is no image."""
    described = list(signal["axes"])
    if all(axis.get("index_in_array") is not None for axis in described):
        described.sort(key=lambda axis: int(axis["index_in_array"]))
    dtype = signal["data"].dtype
    colour = len(dtype.names) if dtype.names in _RGB else 0
    if dtype.kind not in "biufc" and not colour:
        return f"holds {dtype}, not numbers"
    if len(described) != signal["data"].ndim:
        return f"has {len(described)} axes for an array of shape {signal['data'].shape}"
    axes = hyperspy_tree.image_axes(described)
    return axes if isinstance(axes, str) or not colour else [*axes, Axis("colour", colour)]


def _leading(axes: list[Axis]) -> list[Axis]:
    return axes[: [axis.name for axis in axes].index("y")]


def _check_size(path: Path, plugin: str, data: Any, parts: tuple[str, ...]) -> None:
    """Refuse an array that the bytes of the files cannot fill."""
    stored = sum(Path(part).stat().st_size for part in (str(path), *parts))
    if plugin == "empad":  # its data lie in a file that the check has found
        return
    if data.nbytes > stored * (_RATIO if plugin in _PACKED else 1):
        reason = f"the header promises {data.nbytes} bytes of pixels, the file has {stored}"
        raise DamagedFileError(path, reason, reader=_NAME)


@dataclass(frozen=True, slots=True)
class _Frames:
    """The array of one signal, read when asked for."""

    path: Path
    plugin: str
    number: int
    leading: int

    def load(self) -> np.ndarray:
        """Return the whole array."""
        return _plain(self._data()).copy()  # what is kept must not change

    def load_frame(self, frame: int) -> np.ndarray:
        """Return one frame of the flattened leading axes."""
        import numpy as np

        data = self._data()
        return _plain(data[tuple(int(at) for at in np.unravel_index(frame, data.shape[: self.leading]))])

    def stream(self) -> Iterator[np.ndarray]:
        """Yield every frame in order; those of one chunk are read together."""
        import numpy as np

        data = self._data()
        count = data.shape[self.leading - 1]
        frame = math.prod(data.shape[self.leading :]) * data.dtype.itemsize
        chunks = getattr(data, "chunks", None)
        together = min(chunks[self.leading - 1][0] if chunks else 1, max(1, _BLOCK // max(1, frame)))
        for row in np.ndindex(data.shape[: self.leading - 1]):
            for first in range(0, count, together):
                yield from _plain(data[(*row, slice(first, first + together))])

    def _data(self) -> Any:
        signals = _signals(self.path, self.plugin)
        if self.number >= len(signals):
            raise DamagedFileError(self.path, f"image {self.number} is gone", reader=_NAME)
        return signals[self.number]["data"]


def _plain(data: Any) -> np.ndarray:
    import dask
    import numpy as np

    with dask.config.set(scheduler="synchronous"):
        array = np.asarray(data)
    if array.dtype.names:
        array = np.stack([array[name] for name in array.dtype.names], axis=-1)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def _scan(
    frames: _Frames, signal: Mapping[str, Any], axes: list[Axis], source: Source, general: Mapping[str, Any]
) -> Scan:
    path, plugin, problems = frames.path, frames.plugin, list[str]()
    tree: dict[str, Any] = {}
    with tolerate(problems, "the metadata"):
        tree = hyperspy_tree.mapped(signal)
        tree["General"] = {**general, **tree.get("General", {})}
    original = plain(signal.get("original_metadata") or {})
    if plugin == "tvips":
        axes = _tvips_axes(axes, original, problems)
    if plugin == "pantarhei" and not original:
        problems.append("metadata unknown: versions before 24.03 pickled them, and a pickle may run anything")
    dtype = signal["data"].dtype
    modality = hyperspy_tree.modality(tree, axes)
    settings = apply(hyperspy_tree.KEYS, _stated(tree, plugin, modality))
    moment = hyperspy_tree.acquired(tree)
    stacked = frames.leading > 0
    return Scan(
        pixels=Pixels(
            tuple(axis.size for axis in axes),
            (dtype[0] if dtype.names else dtype).newbyteorder("=").name,
            frames.load,
            frames.load_frame if stacked else None,
            frames.stream if stacked else None,
        ),
        axes=tuple(axes),
        name=moment.title or path.stem,
        source=source,
        channel=moment.title or None,
        modality=modality,
        intensity_unit=hyperspy_tree.intensity_unit(tree),
        acquired=_in_utc(moment.moment) if plugin == "tvips" else moment.moment,
        acquired_raw=moment.written or None,
        settings=settings.values,
        original=original,
        problems=(*problems, *settings.problems),
    )


def _stated(tree: Mapping[str, Any], plugin: str, modality: Modality | None) -> dict[str, Any]:
    """Return the flat tree without what must not be trusted."""
    left_out = _UNSTATED.get(plugin, ())
    if plugin == "tvips" and modality == "diffraction":
        left_out += ("magnification",)  # TVIPS writes the camera length into the same field
    return {key: said for key, said in hyperspy_tree.short_paths(tree).items() if key not in left_out}


def _tvips_axes(axes: list[Axis], original: Mapping[str, Any], problems: list[str]) -> list[Axis]:
    """Return the axes without a pixel size that is the camera's: whole nanometres of the sensor.

    HyperSpy, which writes the format too and signs it, puts the size at the specimen into the same field.
    """
    header = original.get("tvips_header")
    if isinstance(header, Mapping) and "HYPERSPY" in text(header.get("dummy") or ""):
        return axes
    problems.append("pixel size unknown: the header has that of the camera, not that at the specimen")
    return [Axis(axis.name, axis.size) if axis.name in ("y", "x") else axis for axis in axes]


def _in_utc(moment: str | None) -> str | None:
    """Return the moment in UTC: rsciio gives TVIPS's seconds since 1970 in the time of this computer."""
    if moment is None or "T" not in moment:
        return moment
    local = datetime.fromisoformat(moment.removesuffix("Z"))
    return utc_time(local.timestamp())


def _version() -> str:
    return f"rosettasciio {package_version('rosettasciio')}"

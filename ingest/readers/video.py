"""Movies (MP4, MOV, AVI, MKV, WebM) by PyAV, which is FFmpeg: every picture of every video track.

Pixels are 8-bit RGB as FFmpeg converts them; grey formats stay grey, and more than 8 bits become uint16:
grey values as stored, colours over the full 16 bits. Pictures stand as stored: a rotation that players
apply is named in ``problems``.

The number of frames is counted packet by packet, because the number that a container states may be wrong; a
movie that ends early or has a picture that cannot be decoded is refused, never shortened. The time step is
the one of playback: a camera may have recorded faster or slower. Movies know no pixel size.

Layouts after ISO/IEC 14496-12 (MP4, MOV), the Microsoft RIFF AVI reference with its OpenDML extension, and
RFC 8794 with RFC 9559 (Matroska, WebM).
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from micdb.errors import DamagedFileError, NotAnImageError, ReadError
from micdb.extras import require
from micdb.ingest.metadata import Key, apply, local_time, plain
from micdb.ingest.reader import HEAD, Format, Reader
from micdb.ingest.readers.video_boxes import check_boxes
from micdb.ingest.readers.video_track import Track, count, decoded, kind_of, opened, ready
from micdb.provenance import package_version
from micdb.records import Axis, Pixels, Scan, Source

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"  # the Matroska element around everything behind the EBML header

# First boxes of movies older than the box `ftyp`.
_OLD_BOXES = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
# Brands of still pictures in the same container.
_STILLS = (b"heic", b"heix", b"heim", b"mif1", b"avif", b"jp2 ", b"jpx ", b"jxl ", b"crx ")

_DEMUXERS = {"mov": "mov", "avi": "avi", "mkv": "matroska"}  # our format -> FFmpeg's name

_MAX_PIXELS = 1 << 26  # [pixel] 8192 x 8192; larger pictures are bombs

# The zeros of the clocks of QuickTime, Unix and Matroska: never set.
_CLOCK_ZEROS = ("1904-01-01T00:00:00", "1970-01-01T00:00:00", "2001-01-01T00:00:00")

_KEYS = (Key("comment", "comment"),)


class Video(Reader):
    """Movies; sound without pictures is refused by name."""

    name = "video"
    formats = (
        Format("mov", "QuickTime and MPEG-4 movie", (".mov", ".mp4", ".m4v"), tested=True),
        Format("avi", "Microsoft AVI movie", (".avi",)),
        Format("mkv", "Matroska and WebM movie", (".mkv", ".webm")),
    )
    extra = "movies"

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:  # noqa: ARG003 (the head is enough)
        """Say 3 for the signature of a movie container, 2 for the first box of an old QuickTime movie."""
        if _format(head) is None:
            return 0
        return 2 if head[4:8] in _OLD_BOXES else 3

    def read(self, path: Path) -> list[Scan]:
        """Return one scan per video track; see `Reader.read`."""
        with path.open("rb") as stream:
            head = stream.read(HEAD)
        kind = _format(head)
        if kind is None:
            raise NotAnImageError(path, "this is no movie container that is known here", reader=self.name)
        if kind == "mov":
            check_boxes(path)
        movie = _Movie(path, kind, _promised_size(head))
        numbers = _video_tracks(movie)
        return [_scan(movie, number, index, several=len(numbers) > 1) for index, number in enumerate(numbers)]


class _Movie(NamedTuple):
    path: Path
    format: str
    promised: int | None  # [byte] size of the file by its own header

    @property
    def demuxer(self) -> str:
        return _DEMUXERS[self.format]


def _format(head: bytes) -> str | None:
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    if head[:4] == _EBML and (b"matroska" in head[:64] or b"webm" in head[:64]):
        return "mkv"
    if head[4:8] == b"ftyp" and head[8:12] not in _STILLS:
        return "mov"
    size = int.from_bytes(head[:4], "big")
    return "mov" if head[4:8] in _OLD_BOXES and (size >= 8 or size == 1) else None


def _promised_size(head: bytes) -> int | None:
    """Return the size of the file that AVI and Matroska write at their start; None where it is open."""
    if head[:4] == b"RIFF":
        return int.from_bytes(head[4:8], "little") + 8
    start = head.find(_SEGMENT)
    if head[:4] != _EBML or start < 0 or len(head) < start + 12:
        return None
    length = 9 - head[start + 4].bit_length()  # [byte] of the size, told by its leading zeros
    size = int.from_bytes(head[start + 4 : start + 4 + length], "big") & ((1 << 7 * length) - 1)
    return None if size == (1 << 7 * length) - 1 else start + 4 + length + size


def _video_tracks(movie: _Movie) -> list[int]:
    """Return the numbers of the tracks that are movies; album covers are not."""
    cover = require("av").stream.Disposition.attached_pic
    with opened(movie.path, movie.demuxer) as container:
        tracks = {
            n: track for n, track in enumerate(container.streams.video) if not track.disposition & cover
        }
        for track in tracks.values():
            _check_track(movie.path, track)
        if not tracks:
            others = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise NotAnImageError(
                movie.path, f"a movie container without a video track; it holds {others}", reader=Video.name
            )
    return list(tracks)


def _check_track(path: Path, track: VideoStream) -> None:
    context: Any = track.codec_context
    if context is None:
        raise ReadError(path, "FFmpeg has no decoder for the codec of this movie", reader=Video.name)
    if context.width * context.height > _MAX_PIXELS:
        shown = f"pictures of {context.width} x {context.height} pixels"
        raise ReadError(path, f"{shown}; if they are genuine, convert them to TIFF", reader=Video.name)


class _Facts(NamedTuple):
    """A track, and what its container and its first picture say of it."""

    track: Track
    tick: Fraction  # [s]
    rates: tuple[Fraction, ...]  # [1/s] that the container names
    tags: dict[str, str]
    original: dict[str, Any]
    problems: list[str]


def _facts(movie: _Movie, number: int) -> _Facts:
    packets = count(movie.path, movie.demuxer, number)
    with opened(movie.path, movie.demuxer) as container:
        stream = ready(container.streams.video[number])
        _check_count(movie, stream, packets.pictures)
        first = next(decoded(movie.path, container, stream), None)
        if first is None:
            raise DamagedFileError(movie.path, "no picture can be decoded", reader=Video.name)
        track = Track(
            path=movie.path,
            demuxer=movie.demuxer,
            number=number,
            size=(first.height, first.width),
            kind=kind_of(first),
            times=packets.times,
            keys=packets.keys,
            n_frames=packets.pictures,
        )
        return _Facts(
            track=track,
            tick=stream.time_base or Fraction(0),
            rates=tuple(rate for rate in (stream.average_rate, stream.guessed_rate) if rate),
            tags={**container.metadata, **stream.metadata},
            original=_original(container, stream),
            problems=[*_display_problems(stream, first), *_count_problems(movie, stream, track)],
        )


def _check_count(movie: _Movie, stream: VideoStream, found: int) -> None:
    path, size = movie.path, movie.path.stat().st_size
    cut = movie.promised is not None and movie.promised > size
    if cut and (movie.format == "mkv" or found < stream.frames):
        reason = f"the header promises {movie.promised} bytes, the file has {size}: it is cut short"
        raise DamagedFileError(path, reason, reader=Video.name, offset=size)
    if not found:
        raise NotAnImageError(path, "a video track without a single picture", reader=Video.name)


def _count_problems(movie: _Movie, stream: VideoStream, track: Track) -> list[str]:
    # MP4 counts what an edit list leaves out as well, which is no contradiction.
    if movie.format == "mov" or stream.frames in (0, track.n_frames):
        return []
    return [f"the header promises {stream.frames} pictures, the file holds {track.n_frames}"]


def _display_problems(stream: VideoStream, first: VideoFrame) -> list[str]:
    problems = []
    turned = _turned(first)
    if turned:
        problems.append(f"players show the pictures {turned}; pixels are as stored")
    aspect = stream.sample_aspect_ratio
    if aspect and aspect != 1:
        problems.append(f"players stretch the pictures by {aspect} in x; pixels are as stored")
    if first.interlaced_frame:
        problems.append("the pictures are interlaced: odd and even rows are of two moments")
    if len(first.format.components) in (2, 4):
        problems.append("the transparency of the pictures is left out")
    return problems


def _turned(first: VideoFrame) -> str | None:
    """Say what players do to the pictures: the display matrix, nine numbers row by row."""
    import numpy as np

    side_data: Any = first.side_data
    if "DISPLAYMATRIX" not in {side.type.name for side in side_data}:
        return None
    a, b, _, c, d = np.sign(np.frombuffer(side_data["DISPLAYMATRIX"], dtype="=i4")[:5]).tolist()
    angle = {(0, 1): 90, (-1, 0): 180, (0, -1): 270}.get((a, b), 0)
    done = ["upside down"] if a * d < b * c else []
    if angle:
        done.append(f"turned by {angle} degrees clockwise")
    return " and ".join(done) or None


def _step(facts: _Facts) -> Fraction | None:
    """Return the time between pictures [s] where it is the same throughout, to the tick of the clock.

    Containers round times to a tick: 30000/1001 pictures per second are 33, 33, 34 ms apart. Such times
    are even if a rate that the container names explains every one of them.
    """
    times = facts.track.times
    if len(times) < 2:
        return None
    ticks = times[1] - times[0]
    if all(time == times[0] + number * ticks for number, time in enumerate(times)):
        return ticks * facts.tick
    for rate in facts.rates:
        step = 1 / (rate * facts.tick)  # [tick]
        if step >= 4 and all(abs(time - times[0] - n * step) <= 1 for n, time in enumerate(times)):
            return 1 / rate
    return None


def _axes(facts: _Facts) -> tuple[Axis, ...]:
    track = facts.track
    axes = [Axis("y", track.size[0]), Axis("x", track.size[1])]
    if track.kind.colour:
        axes.append(Axis("colour", 3))
    if track.n_frames == 1:
        return tuple(axes)
    step = _step(facts)
    if not step:
        facts.problems.append("time step unknown: the pictures are not evenly spaced in time")
        return (Axis("time", track.n_frames), *axes)
    return (Axis("time", track.n_frames, float(step), unit="s"), *axes)


def _scan(movie: _Movie, number: int, index: int, *, several: bool) -> Scan:
    facts = _facts(movie, number)
    track = facts.track
    axes = _axes(facts)
    settings = apply(_KEYS, facts.tags)
    written = facts.tags.get("creation_time")
    name = facts.tags.get("title") or movie.path.stem
    return Scan(
        pixels=Pixels(
            tuple(axis.size for axis in axes),
            track.kind.dtype,
            track.load,
            track.load_frame,
            track.stream,
        ),
        axes=axes,
        name=f"{name} track {index + 1}" if several else name,
        source=Source(str(movie.path), movie.format, Video.name, f"av {package_version('av')}", index),
        acquired=_moment(written),
        acquired_raw=written,
        settings=settings.values,
        original=plain(facts.original),
        problems=(*facts.problems, *settings.problems),
    )


def _moment(written: str | None) -> str | None:
    """Return the creation time: UTC where the container says so by a Z, None for the zero of its clock."""
    if written is None:
        return None
    moment = local_time(
        written.removesuffix("Z").partition(".")[0], ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S")
    )
    if moment is None or moment in _CLOCK_ZEROS:
        return None
    return f"{moment}Z" if written.endswith("Z") else moment


def _original(container: InputContainer, stream: VideoStream) -> dict[str, Any]:
    context = stream.codec_context
    return {
        "container": {"format": container.format.name, "tags": dict(container.metadata)},
        "track": {
            "codec": context.codec.canonical_name,
            "pixel_format": context.pix_fmt,
            "bit_rate": context.bit_rate,
            "frames": stream.frames,
            "average_rate": str(stream.average_rate),
            "time_base": str(stream.time_base),
            "start_time": stream.start_time,
            "tags": dict(stream.metadata),
        },
    }

"""One track of a movie: its packets counted, its pictures decoded in order or one at a time.

FFmpeg is asked for the same thing every time: the container we recognised and no other, one thread, no
concealment of damage. What it has to say goes into our errors and never to the terminal.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from micdb.errors import DamagedFileError
from micdb.extras import require

if TYPE_CHECKING:
    import numpy as np
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Codecs whose decoders know key pictures themselves, so that a jump to one gives the same pictures as reading
# from the start; AVI is excepted, because it does not say when the pictures are shown.
_SEEKABLE = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "mpeg4", "mpeg2video", "ffv1", "png"})

# Where packets are not one picture each, only decoding counts: DivX packs two into one packet, AVI cuts
# interlaced H.264 into fields, VP8 has pictures that are never shown.
_UNEVEN = frozenset({("avi", "mpeg4"), ("avi", "h264"), ("matroska", "mpeg4"), ("matroska", "vp8")})


@contextmanager
def opened(path: Path, demuxer: str) -> Iterator[InputContainer]:
    """Open a movie by one demuxer of FFmpeg (``mov``, ``avi``, ``matroska``), silently."""
    av = require("av")  # it keeps FFmpeg's log lines to itself unless somebody asks for them
    try:
        # "file:" keeps a name with a colon from being taken for a network address.
        container = av.open(f"file:{path}", format=demuxer, metadata_errors="replace")
    except av.FFmpegError as error:
        reason = f"the movie cannot be opened: {error.strerror}"
        raise DamagedFileError(path, reason, reader="video") from error
    with container:
        yield container


def ready(stream: VideoStream, *, jump: bool = False) -> VideoStream:
    """Make a stream decode reproducibly, with errors instead of guessed pictures.

    Where codecs change the order of pictures, some are missing after a jump, which must not be an error; what
    is truly damaged is marked as corrupt all the same.
    """
    context = stream.codec_context
    context.thread_count = 1
    lenient = jump and context.codec.reorder
    context.options = {"err_detect": "crccheck" if lenient else "crccheck+explode"}
    return stream


class Kind(NamedTuple):
    """What arrays the pictures become.

    Parameters
    ----------
    target
        Pixel format of FFmpeg to convert to; None for grey values, which are taken as stored.
    dtype, colour
        Of the array.
    """

    target: str | None
    dtype: str
    colour: bool


def kind_of(frame: VideoFrame) -> Kind:
    """Return what the pictures of a movie become, by its first one."""
    name, bits = frame.format.name, max(part.bits for part in frame.format.components)
    if name.startswith("grayf32"):
        return Kind(None, "float32", colour=False)
    if name.startswith("gray") or _grey_palette(frame) is not None:
        return Kind(None, "uint16" if bits > 8 else "uint8", colour=False)
    return Kind("rgb48le", "uint16", colour=True) if bits > 8 else Kind("rgb24", "uint8", colour=True)


def _grey_palette(frame: VideoFrame) -> np.ndarray | None:
    """Return the grey value of each index, or None where there is no palette or a coloured one."""
    import numpy as np

    if frame.format.name != "pal8":
        return None
    palette = np.asarray(frame.to_ndarray()[1])  # (256, 4): alpha, red, green, blue
    return palette[:, 1] if (palette[:, 1:] == palette[:, 1:2]).all() else None


@dataclass(frozen=True, slots=True)
class Track:
    """The pictures of one video track, read when asked for.

    Parameters
    ----------
    path, demuxer, number
        The file, how FFmpeg opens it, and the number of the track in it.
    size
        Height and width [pixel].
    kind
        What the pictures become.
    times
        Time of each picture in order [tick], strictly rising; empty where the container does not say.
    keys
        The times of those pictures that can be decoded alone.
    n_frames
        Number of pictures.
    """

    path: Path
    demuxer: str
    number: int
    size: tuple[int, int]
    kind: Kind
    times: array[int]
    keys: array[int]
    n_frames: int

    def load(self) -> np.ndarray:
        """Return all pictures."""
        import numpy as np

        shape = (*self.size, 3) if self.kind.colour else self.size
        pictures = np.empty((self.n_frames, *shape), dtype=self.kind.dtype)
        found = 0
        for found, picture in enumerate(self.stream(), 1):
            if found <= self.n_frames:
                pictures[found - 1] = picture
        if found != self.n_frames:
            raise DamagedFileError(
                self.path, f"the movie has {self.n_frames} pictures, {found} can be decoded", reader="video"
            )
        return pictures if self.n_frames > 1 else pictures[0]

    def stream(self) -> Iterator[np.ndarray]:
        """Yield every picture in order."""
        with opened(self.path, self.demuxer) as container:
            stream = ready(container.streams.video[self.number])
            for number, frame in enumerate(decoded(self.path, container, stream)):
                yield self._array(frame, number)

    def load_frame(self, number: int) -> np.ndarray:
        """Return one picture: from the key picture before it where that is safe, else from the start."""
        found = self._sought(number) if self.times else None
        if found is None:
            found = next(islice(self.stream(), number, None), None)
        if found is None:
            raise DamagedFileError(self.path, f"picture {number} cannot be decoded", reader="video")
        return found

    def _sought(self, number: int) -> np.ndarray | None:
        av = require("av")
        wanted = self.times[number]
        key = self.keys[bisect_right(self.keys, wanted) - 1] if self.keys else wanted + 1
        with opened(self.path, self.demuxer) as container:
            stream = ready(container.streams.video[self.number], jump=True)
            if key > wanted or not self._can_jump(stream):
                return None
            try:
                container.seek(key, stream=stream)
                for frame in decoded(self.path, container, stream, since=key):
                    if frame.pts is None or frame.pts > wanted:
                        break
                    if frame.pts == wanted:
                        return self._array(frame, number)
            except (av.FFmpegError, DamagedFileError):
                pass
        return None  # read from the start, which tells damage from a jump that failed

    def _can_jump(self, stream: VideoStream) -> bool:
        if stream.codec_context.pix_fmt == "pal8":  # the palette comes with the first packet only
            return False
        codec = stream.codec_context.codec
        return codec.intra_only or (codec.name in _SEEKABLE and self.demuxer != "avi")

    def _array(self, frame: VideoFrame, number: int) -> np.ndarray:
        import numpy as np

        found = (frame.height, frame.width)
        if found != self.size:
            reason = f"picture {number} is {found}, the first one {self.size} (height, width)"
            raise DamagedFileError(self.path, reason, reader="video")
        if self.kind.target is not None:
            return np.ascontiguousarray(frame.to_ndarray(format=self.kind.target))
        if kind_of(frame) != self.kind:
            reason = f"picture {number} is {frame.format.name}, the first one was grey {self.kind.dtype}"
            raise DamagedFileError(self.path, reason, reader="video")
        palette = _grey_palette(frame)
        return np.ascontiguousarray(frame.to_ndarray() if palette is None else palette[frame.to_ndarray()[0]])


def decoded(
    path: Path, container: InputContainer, stream: VideoStream, *, since: int | None = None
) -> Iterator[VideoFrame]:
    """Yield the pictures of a stream in the order of display; damage is an error that says which one.

    After a jump to a key picture, those are left out that are shown before it: they may need others before.
    """
    av = require("av")
    number = 0
    try:
        for packet in chain(_packets(path, container, stream), [None]):
            if packet is not None and since is not None and (packet.pts is None or packet.pts < since):
                continue
            for frame in stream.decode(packet):
                if frame.is_corrupt:
                    raise DamagedFileError(path, f"picture {number} is damaged", reader="video")
                yield frame
                number += 1
    except av.FFmpegError as error:
        reason = f"picture {number} or one it needs cannot be decoded: {error.strerror}"
        raise DamagedFileError(path, reason, reader="video") from error


class Count(NamedTuple):
    """What the packets of a track say.

    Parameters
    ----------
    pictures
        Number of pictures.
    times
        Of every picture in order [tick], strictly rising; empty where the container does not say.
    keys
        Of those pictures that can be decoded alone.
    """

    pictures: int
    times: array[int]
    keys: array[int]


def count(path: Path, demuxer: str, number: int) -> Count:
    """Count the pictures of a track without decoding them, where its packets are one picture each."""
    with opened(path, demuxer) as container:
        stream = container.streams.video[number]
        packets = 0
        shown: list[int | None] = []
        keys: list[int] = []
        smallest = _raw_size(stream)
        for packet in _packets(path, container, stream):
            packets += 1
            if packet.size < smallest:
                reason = f"picture {len(shown)} has {packet.size} of {smallest} bytes"
                raise DamagedFileError(path, reason, reader="video", offset=packet.pos)
            if not packet.is_discard:
                shown.append(packet.pts)
            if packet.is_keyframe and packet.pts is not None:
                keys.append(packet.pts)
        uneven = (demuxer, stream.codec_context.name) in _UNEVEN
        # The index may grow while it is read, so it is asked last; only that of MP4 lists every picture.
        listed = len(stream.index_entries) if demuxer == "mov" else 0
    if listed > packets:
        reason = f"the movie lists {listed} pictures and holds {packets}: it is cut short"
        raise DamagedFileError(path, reason, reader="video")
    pictures = len(shown)
    if uneven:
        with opened(path, demuxer) as container:
            stream = ready(container.streams.video[number])
            pictures = sum(1 for _ in decoded(path, container, stream))
    times = array("q", sorted(time for time in shown if time is not None))
    rising = len(times) == pictures and all(one < other for one, other in pairwise(times))
    return Count(pictures, times if rising else array("q"), array("q", sorted(keys)))


def _raw_size(stream: VideoStream) -> int:
    """Return how many bytes a picture must have: FFmpeg fills up raw ones with what memory held before."""
    context = stream.codec_context
    if context.name != "rawvideo" or context.format is None:
        return 1
    return context.width * context.height * context.format.bits_per_pixel // 8


def _packets(path: Path, container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Yield the packets that hold something; the end of a file inside one is an error."""
    av = require("av")
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise DamagedFileError(path, "the movie is cut short", reader="video", offset=packet.pos)
            # An empty packet inside the file is a dropped picture; to the decoder it would mean the end.
            if packet.size:
                yield packet
    except av.FFmpegError as error:
        reason = f"the packets of the movie cannot be read: {error.strerror}"
        raise DamagedFileError(path, reason, reader="video") from error

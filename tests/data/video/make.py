"""Tiny movies, encoded by PyAV; the container is what the extension says."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def write(
    path: Path,
    frames: Sequence[np.ndarray],
    *,
    codec: str = "ffv1",
    stored: str = "bgr0",
    rate: Fraction | int = 10,
    times: Iterable[int] | None = None,
    tick: Fraction | None = None,
    options: Mapping[str, str] | None = None,
    container_options: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write ``(y, x)`` uint8 or uint16, or ``(y, x, 3)`` uint8 frames.

    Parameters
    ----------
    codec, options
        Encoder of FFmpeg and its options.
    stored
        Pixel format in the file: ``gray``, ``yuv420p``, ``bgr0``.
    rate
        Frames per second.
    times
        Time of each frame in ticks of `tick` [s]; evenly by `rate` when not given.
    """
    with av.open(str(path), "w", container_options=dict(container_options or {})) as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream(codec, rate=rate, options=dict(options or {}))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = stored
        tick = tick or 1 / Fraction(rate)
        stream.time_base = stream.codec_context.time_base = tick
        for time, frame in zip(times or range(len(frames)), frames, strict=True):
            picture = _picture(frame, stored)
            picture.pts, picture.time_base = time, tick
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def _picture(frame: np.ndarray, stored: str) -> av.VideoFrame:
    if frame.ndim == 3:
        return av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format=stored)
    return av.VideoFrame.from_ndarray(frame, format=stored if stored.startswith("gray") else "gray").reformat(
        format=stored
    )


def write_sound(path: Path) -> Path:
    """Write a file that holds a tenth of a second of silence and no picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac" if path.suffix in (".mp4", ".mov") else "pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_avi(
    path: Path, frames: Sequence[np.ndarray | None], palette: np.ndarray, *, size: tuple[int, int] = (16, 24)
) -> Path:
    """Write an uncompressed AVI of indices into a palette, as ImageJ does; None is a dropped picture.

    Rows go from the bottom up and are padded to four bytes.
    """
    height, width = size
    padding = ((0, 0), (0, -width % 4))
    pictures = [b"" if frame is None else np.pad(frame[::-1], padding).tobytes() for frame in frames]
    length = height * (width + padding[1][1])
    main = struct.pack("<10I16x", 100_000, length * 10, 0, 16, len(frames), 0, 1, length, width, height)
    counts = struct.pack("<8IiI", 0, 0, 0, 1, 10, 0, len(frames), length, -1, 0)
    rate = b"vidsDIB " + counts + struct.pack("<4H", 0, 0, width, height)
    bitmap = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 0, length, 0, 0, 256, 0)
    colours = np.pad(palette[:, ::-1], ((0, 0), (0, 1))).astype(np.uint8).tobytes()
    stream = _list(b"strl", _chunk(b"strh", rate) + _chunk(b"strf", bitmap + colours))
    chunks, index, offset = b"", b"", 4
    for picture in pictures:
        index += struct.pack("<4sIII", b"00db", 16, offset, len(picture))
        chunks += _chunk(b"00db", picture)
        offset += 8 + len(picture)
    body = _list(b"hdrl", _chunk(b"avih", main) + stream) + _list(b"movi", chunks) + _chunk(b"idx1", index)
    path.write_bytes(_chunk(b"RIFF", b"AVI " + body))
    return path


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _list(name: bytes, content: bytes) -> bytes:
    return _chunk(b"LIST", name + content)

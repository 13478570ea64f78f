"""Tiny JPK images and force archives, with the tags of JPKImageSpec 2.0."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile

START = "2020-02-07 16:29:05.036 CET"


class Channel(NamedTuple):
    """One page: stored numbers in rows from the bottom up, and slots (name, unit, factor, offset)."""

    name: str
    stored: np.ndarray
    slots: tuple[tuple[str, str, float | None, float | None], ...]
    default: str
    retrace: bool = False


def _tags(values: dict[int, Any]) -> list[tuple[int, str, int, Any, bool]]:
    tags = []
    for code, value in sorted(values.items()):
        if isinstance(value, str):
            tags.append((code, "s", 0, value, True))
        else:
            tags.append((code, "d" if isinstance(value, float) else "i", 1, value, True))
    return tags


def _channel_tags(channel: Channel) -> dict[int, Any]:
    tags: dict[int, Any] = {
        0x8050: channel.name, 0x8051: int(channel.retrace), 0x8052: channel.name.title(),
        0x8053: "algorithm.object-name.fancy-name : Fit\nretrace : false",
        0x8080: len(channel.slots), 0x8081: channel.default,
    }  # fmt: skip
    for number, (name, unit, factor, offset) in enumerate(channel.slots):
        base = 0x8090 + 0x30 * number
        tags |= {base: name, base + 0x13: "NullScaling" if factor is None else "LinearScaling"}
        if factor is not None:
            tags |= {base + 0x12: unit, base + 0x14: factor, base + 0x15: offset}
    return tags


def write(path: Path, channels: list[Channel], size: tuple[float, float] = (2e-6, 1e-6), **more: Any) -> Path:
    """Write an image of `size` [m] (x, y); `more` are tags of the first page, such as ``x8045=1``."""
    rows, columns = channels[0].stored.shape
    grid = {
        0x8000: "8.0.194", 0x8003: START, 0x8004: "<empty>", 0x8007: "mica", 0x8009: "jpkuser",
        0x8040: 1e-5, 0x8041: -2e-5, 0x8042: size[0], 0x8043: size[1], 0x8044: 0.0, 0x8045: 0,
        0x8046: columns, 0x8047: rows,
    } | {int(f"0{key}", 16): value for key, value in more.items()}  # fmt: skip
    with tifffile.TiffWriter(path, byteorder=">") as file:
        file.write(np.zeros((4, 4), np.uint8), photometric="minisblack", extratags=_tags(grid), metadata=None)
        for channel in channels:
            tags = _tags(_channel_tags(channel))
            file.write(
                channel.stored, photometric="minisblack", extratags=tags, metadata=None, rowsperstrip=2,
                software=False,
            )  # fmt: skip
    return path


def write_force(path: Path) -> Path:
    """Write the first entries of a force archive."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.properties", "jpk-data-file=spm-forcefile\n")
        archive.writestr("segments/0/segment-header.properties", "")
    return path

"""The main header of an MRC file, after MRC2014 (Cheng et al., J. Struct. Biol. 192, 146) and IMOD.

1024 bytes: three sizes and the mode (type of number), the sampling and cell that give the pixel size
[angstrom], the order of the axes, statistics, the space group that tells stacks from volumes, the length and
kind of the extended header, the word MAP with a stamp of the byte order, and ten labels. Files older than
the year 2000 have neither word nor stamp. Where the format leaves a choice:

- Byte order: the stamp; without it, the order in which sizes and mode make sense and the pixels fit.
- Mode 0: signed bytes, but unsigned where IMOD's flag says so, and where the header's own maximum is no
  signed byte.
- Stack or volume: a stack for space group 0, for sampling 1 along z (IMOD), and for the extensions of
  particle and tilt stacks; a stack of volumes for space groups from 401.
- Rows stand as stored. Programs differ about whether the first is at the top.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

from micdb.ingest.metadata import text

SIZE = 1024  # [byte]; the extended header follows
_LAYOUT = "10i6f3i3f2i8s4si84s3f4s4sfi"
_NAMES = (
    "nx", "ny", "nz", "mode", "nxstart", "nystart", "nzstart", "mx", "my", "mz", "xlen", "ylen", "zlen",
    "alpha", "beta", "gamma", "mapc", "mapr", "maps", "dmin", "dmax", "dmean", "ispg", "nsymbt", "extra1",
    "exttyp", "nversion", "extra2", "xorigin", "yorigin", "zorigin", "map", "machst", "rms", "nlabl",
)  # fmt: skip
# Mode -> dtype and samples per pixel; 101 is two pixels in a byte.
MODES = {
    0: ("i1", 1), 1: ("i2", 1), 2: ("f4", 1), 4: ("c8", 1), 6: ("u2", 1), 12: ("f2", 1), 16: ("u1", 3),
    101: ("u1", 1),
}  # fmt: skip
UNREAD_MODES = {3: "complex int16"}
_PACKED = 101
_SIDE = 1 << 20  # [pixel] no detector or map is wider
_LITTLE, _BIG = (b"\x44\x44", b"\x44\x41"), (b"\x11\x11",)
_IMOD_STAMP = 1146047817  # "IMOD": the next word holds flags
_FLAG_SIGNED, _FLAG_HALF_BYTES = 1, 16
_VOLUME_STACK = 401  # [space group]
_STACK_SUFFIXES = (".mrcs", ".st", ".ali")


@dataclass(frozen=True, slots=True)
class Header:
    """What of the main header decides shape, numbers and calibration.

    Parameters
    ----------
    order
        struct's byte-order character.
    values
        Every field by its name in `_NAMES`.
    labels
        The labels in use.
    flags
        IMOD's flags; None where the file has no stamp of IMOD.
    """

    order: str
    values: dict[str, Any]
    labels: tuple[str, ...]
    flags: int | None

    @property
    def has_word(self) -> bool:
        """Whether the word MAP is there."""
        return bool(self.values["map"][:3] == b"MAP")

    @property
    def mode(self) -> int:
        """Type of number."""
        return int(self.values["mode"])

    @property
    def half_bytes(self) -> bool:
        """Whether a byte holds two pixels of four bits, the left one low."""
        return self.mode == _PACKED or (self.mode == 0 and bool((self.flags or 0) & _FLAG_HALF_BYTES))

    @property
    def columns(self) -> int:
        """Pixels in a row; SerialEM's half bytes in mode 0 are counted in bytes."""
        return int(self.values["nx"]) * (2 if self.half_bytes and self.mode == 0 else 1)

    @property
    def rows(self) -> int:
        """Rows of an image."""
        return int(self.values["ny"])

    @property
    def sections(self) -> int:
        """Images in the file."""
        return int(self.values["nz"])

    @property
    def samples(self) -> int:
        """Numbers per pixel: 3 for colour."""
        return MODES[self.mode][1]

    @property
    def dtype(self) -> str:
        """The numpy dtype as stored."""
        unsigned = self.mode == 0 and (self.half_bytes or not self._signed)
        return self.order + ("u1" if unsigned else MODES[self.mode][0])

    @property
    def _signed(self) -> bool:
        if self.flags is not None:
            return bool(self.flags & _FLAG_SIGNED)
        low, high = self.values["dmin"], self.values["dmax"]
        return not (low >= 0 and 127 < high <= 255)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row as stored."""
        if self.half_bytes:
            return (self.columns + 1) // 2
        return self.columns * self.samples * int(self.dtype[2:])

    @property
    def extended(self) -> int:
        """Bytes of the extended header."""
        return max(int(self.values["nsymbt"]), 0)

    @property
    def data(self) -> int:
        """Where the pixels begin [byte]."""
        return SIZE + self.extended

    @property
    def end(self) -> int:
        """Where the pixels end [byte]."""
        return self.data + self.sections * self.rows * self.row_bytes

    def leading(self, suffix: str) -> tuple[str, ...]:
        """Return the names of the leading axes: ``frame``, ``z``, or both; none for a single image."""
        group, depth = int(self.values["ispg"]), int(self.values["mz"])
        if group >= _VOLUME_STACK and 0 < depth < self.sections and self.sections % depth == 0:
            return ("frame", "z")
        if self.sections == 1:
            return ()
        return ("frame",) if group == 0 or depth == 1 or suffix.lower() in _STACK_SUFFIXES else ("z",)

    def step(self, axis: int) -> float | None:
        """Return cell over sampling [angstrom] along column, row or section (0, 1, 2); None where unset.

        Zeros, NaN and negative lengths are what programs write that do not know it.
        """
        order = tuple(int(self.values[name]) for name in ("mapc", "mapr", "maps"))
        spatial = (order if sorted(order) == [1, 2, 3] else (1, 2, 3))[axis] - 1
        length, count = self.values["xyz"[spatial] + "len"], int(self.values["m" + "xyz"[spatial]])
        return length / count if count > 0 and math.isfinite(length) and length > 0 else None

    def told(self) -> dict[str, Any]:
        """Return the header for `Scan.original`."""
        binary = {name: self.values[name].hex() for name in ("extra1", "extra2", "machst")}
        return {**self.values, **binary, "labels": list(self.labels)}


def read_header(head: bytes, size: int) -> Header | None:
    """Return the header of a file of `size` bytes, or None where its sizes and mode make no sense."""
    if len(head) < SIZE:
        return None
    found = [header for order in "<>" if (header := _parse(head, order)) is not None]
    stamped = [header for header in found if head[212:214] in (_LITTLE if header.order == "<" else _BIG)]
    fitting = [header for header in found if header.mode in MODES and header.end <= size]
    return next(iter([*stamped, *fitting, *found]), None)


def _parse(head: bytes, order: str) -> Header | None:
    numbers = struct.unpack_from(order + _LAYOUT, head)
    values = dict(zip(_NAMES, numbers, strict=True))
    columns, rows, sections, mode = numbers[:4]
    if not (0 < columns < _SIDE and 0 < rows < _SIDE and sections > 0):
        return None
    if mode not in MODES and mode not in UNREAD_MODES:
        return None
    used = min(max(values["nlabl"], 0), 10)
    labels = tuple(text(head[224 + 80 * number : 304 + 80 * number]) for number in range(used))
    stamp, flags = struct.unpack_from(f"{order}2i", head, 152)
    return Header(order, values, labels, flags if stamp == _IMOD_STAMP else None)

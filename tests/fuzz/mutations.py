"""Damage, reproducible: the name of a seed and a number give the same mutant for ever."""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.fuzz.seeds import Seed

_HEAD = 4096  # [byte] where most formats keep what their reader believes
_TEXT = 1 << 16  # [byte] how far headers of text reach
_BLOCKS = (1, 2, 4, 16, 128, 512, 4096)  # [byte]
_NUMBERS = (b"9999999999", b"-1", b"nan", b"", b"0", b"1e308", b"99999999999999999999999", b"2147483648")
# As floating-point numbers: the smallest of all, infinity (single, double), not a number.
_WORDS = (0, 1, -1, 65536, 0x7FFFFFFF, 0x7F800000, 0x7FF0 << 48, 0x7FF8 << 48)
_MARKS = (b"GCOL", b"TREE", b"SNOD", b"OHDR", b"PK\x01\x02", b"IDAT", b"moov", b"LIST", b"DATA", b"\x78\x9c")
EXTENSIONS = (
    ".000", ".avi", ".blo", ".bmp", ".bcf", ".dat", ".dm3", ".dm4", ".dm5", ".elid", ".emd", ".emi", ".gif",
    ".gwy", ".h5", ".hspy", ".ibw", ".img", ".jpg", ".jpk", ".map", ".mib", ".mkv", ".mov", ".mp4", ".mrc",
    ".mrcs", ".mtrx", ".nd2", ".nxs", ".png", ".prz", ".rpl", ".ser", ".sm4", ".spm", ".stp", ".sur", ".sxm",
    ".tar", ".tar.gz", ".tif", ".top", ".tvips", ".txt", ".unf", ".webm", ".webp", ".z_mtrx", ".zip", "",
)  # fmt: skip
Damage = Callable[[random.Random, bytes], bytes]


def mutant(seed: Seed, number: int, others: Sequence[Seed], folder: Path) -> Path:
    """Write mutant `number` of a seed into an empty folder; return the file to open. Number 0 is sound."""
    opened, *companions = seed.files
    rng = random.Random(f"{seed.name}:{number}")
    hurt, missing = opened, None
    if number and companions and rng.random() < 0.3:
        hurt = rng.choice(companions)
        missing = hurt if rng.random() < 0.2 else None
    for file in companions:
        if file not in (hurt, missing):
            _link(file, folder / file.name)
    if hurt != opened:
        _link(opened, folder / opened.name)
    if missing:
        return folder / opened.name
    content = hurt.read_bytes()
    name = hurt.name
    if number and hurt == opened and rng.random() < 0.08:
        name = f"{opened.name.partition('.')[0]}{rng.choice(EXTENSIONS)}"
        damages = rng.choice((0, 1))
    else:
        damages = rng.choice((1, 1, 1, 2, 3)) if number else 0
    for _ in range(damages):
        damage = rng.choice(DAMAGES)
        partner = rng.choice(others).files[0] if damage is splice else None
        content = splice(rng, content, partner.read_bytes()) if partner else damage(rng, content)
    (folder / name).unlink(missing_ok=True)  # never through a link into a seed
    (folder / name).write_bytes(content)
    return folder / (name if hurt == opened else opened.name)


def _link(file: Path, place: Path) -> None:
    try:
        os.link(file, place)
    except OSError:  # another file system
        shutil.copy(file, place)


def _place(rng: random.Random, size: int) -> int:
    """Return a position: half of them stand in the head."""
    return rng.randrange(min(size, _HEAD) if rng.random() < 0.5 else size) if size else 0


def flip_bits(rng: random.Random, content: bytes) -> bytes:
    """Turn over 1 to 64 bits."""
    mutable = bytearray(content)
    for _ in range(rng.choice((1, 2, 4, 8, 16, 32, 64)) if content else 0):
        mutable[_place(rng, len(content))] ^= 1 << rng.randrange(8)
    return bytes(mutable)


def cut(rng: random.Random, content: bytes) -> bytes:
    """Cut anywhere, or near a place that the file itself points to."""
    if rng.random() < 0.5:
        return content[: _place(rng, len(content))]
    borders = _borders(content)
    border = rng.choice(borders) if borders else len(content)
    return content[: max(0, border + rng.choice((-1, 0, 1, 4)))]


def _borders(content: bytes) -> list[int]:
    """Return positions where structures begin: what words of the head point to, and well-known marks."""
    found = {content.find(mark) for mark in _MARKS}
    for at in range(0, min(len(content), 1024) - 4, 2):
        word = content[at : at + 4]
        found |= {int.from_bytes(word, "little"), int.from_bytes(word, "big")}
    return sorted(border for border in found if 8 < border < len(content))


def overwrite(rng: random.Random, content: bytes) -> bytes:
    """Put an extreme number where a count, a length or an offset may stand."""
    mutable = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        width = rng.choice((2, 4, 8))
        at = _place(rng, len(content)) // width * width
        size = len(content)
        word = rng.choice((*_WORDS, size, size - 1, size + 1, 1 << 8 * width - 1, (1 << 8 * width - 1) - 1))
        written = (word % (1 << 8 * width)).to_bytes(width, rng.choice(("little", "big")))
        mutable[at : at + width] = written[: max(0, size - at)]
    return bytes(mutable)


def _span(rng: random.Random, content: bytes) -> tuple[int, int]:
    start = _place(rng, len(content))
    return start, min(len(content), start + rng.choice(_BLOCKS))


def remove_block(rng: random.Random, content: bytes) -> bytes:
    """Leave some bytes out: what follows moves up."""
    start, end = _span(rng, content)
    return content[:start] + content[end:]


def double_block(rng: random.Random, content: bytes) -> bytes:
    """Write some bytes again, up to 64 times: what follows moves down."""
    start, end = _span(rng, content)
    return content[:start] + content[start:end] * rng.choice((2, 3, 64)) + content[end:]


def swap_blocks(rng: random.Random, content: bytes) -> bytes:
    """Exchange two blocks of one length."""
    length = rng.choice(_BLOCKS)
    first, second = sorted(_place(rng, max(1, len(content) - length)) for _ in range(2))
    if second < first + length:
        return content[:first] + bytes(length) + content[first + length :]
    middle, tail = content[first + length : second], content[second + length :]
    swapped = content[second : second + length] + middle + content[first : first + length]
    return content[:first] + swapped + tail


def edit_number(rng: random.Random, content: bytes) -> bytes:
    """Write another number into text, in ASCII or UTF-16, with and without moving what follows."""
    found = list(re.finditer(rb"(?:[0-9.]\0){1,24}|[0-9.]{1,24}", content[:_TEXT]))
    for _ in range(rng.choice((1, 1, 2, 5)) if found else 0):
        match = rng.choice(found)
        number = rng.choice(_NUMBERS)
        if match.group().endswith(b"\0"):
            number = number.decode().encode("utf-16-le")
        if rng.random() < 0.5:
            number = number.ljust(len(match.group()), b" ")[: len(match.group())]
        content = content[: match.start()] + number + content[match.end() :]
    return content


def splice(rng: random.Random, content: bytes, other: bytes = b"") -> bytes:
    """Go on with another file, at the same place or anywhere in it."""
    at = _place(rng, len(content))
    return content[:at] + other[at if rng.random() < 0.5 else _place(rng, len(other)) :]


DAMAGES: tuple[Damage, ...] = (
    flip_bits, flip_bits, flip_bits, cut, cut, overwrite, overwrite, overwrite, remove_block, double_block,
    swap_blocks, edit_number, edit_number, splice,
)  # fmt: skip

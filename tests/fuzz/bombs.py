"""Files that were built to hurt: small ones that claim or unpack to very much, lead out, or never end."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from tests.fuzz.seeds import Maker

BOMBS: dict[str, Maker] = {}
ZEROS = bytes(1 << 20)
LAUGHS = "".join(
    ["<?xml version='1.0'?><!DOCTYPE lol [<!ENTITY a0 'ha'>"]
    + [f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 12)]
    + ["]>"]
)  # ten to the eleventh laughs


def bombs() -> dict[str, Maker]:
    """Return every bomb: name -> writes it into an empty folder."""
    for module in ("archives", "images", "trees"):
        import_module(f"tests.fuzz.bombs_{module}")
    return BOMBS


def bomb(name: str) -> Callable[[Maker], Maker]:
    """Register a maker."""

    def enter(maker: Maker) -> Maker:
        BOMBS[name] = maker
        return maker

    return enter


def content(name: str, make_bytes: Callable[[], bytes]) -> None:
    """Register a file by its bytes."""

    def maker(at: Path) -> Path:
        place = at / Path(name).name
        place.write_bytes(make_bytes())
        return place

    BOMBS[name] = maker


def deflated(megabytes: int) -> bytes:
    """Return so many megabytes of zeros, packed a thousandfold: a zlib stream (RFC 1950) of equal blocks."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(ZEROS) + packer.flush(zlib.Z_FULL_FLUSH)
    adler = (megabytes * len(ZEROS) % 65521 << 16) | 1
    return b"\x78\xda" + block * megabytes + b"\x03\x00" + adler.to_bytes(4, "big")

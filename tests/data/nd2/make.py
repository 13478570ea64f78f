"""Tiny NIS-Elements files: chunks with a map, and metadata trees in both encodings."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

MAGIC = 0x0ABECEDA
JULIAN_DAY = 2459486.0682717753  # 2021-09-28T13:38:18.7 UTC


def write(
    path: Path,
    images: np.ndarray,
    *,
    loops: Sequence[Mapping[str, Any]] = (),
    planes: Sequence[Mapping[str, Any]] | None = None,
    picture: Mapping[str, Any] | None = None,
    attributes: Mapping[str, Any] | None = None,
    text: Mapping[str, str] | None = None,
    times: Sequence[float] | None = None,
    version: str = "Ver3.0",
    compressed: bool = False,
    packed_metadata: bool = False,
    skip: Sequence[int] = (),
    more: Mapping[str, bytes] | None = None,
) -> Path:
    """Write ``(frame, y, x, component)`` images.

    Parameters
    ----------
    loops
        Nested loops, the outermost first, as `time_loop`, `z_loop`, `position_loop` return them.
    planes
        Channels; one of all components when not given.
    picture, attributes, text
        Added to the metadata of the picture, the attributes and the text fields.
    times
        Time of each frame [ms].
    skip
        Frames that are left out.
    more
        Chunks to add or replace.
    """
    _, height, width, components = images.shape
    row = width * components * images.itemsize
    padded = -(-row // 4) * 4  # rows are padded to four bytes
    raw = {
        "uiWidth": width, "uiWidthBytes": padded, "uiHeight": height, "uiComp": components,
        "uiBpcInMemory": images.itemsize * 8, "uiBpcSignificant": images.itemsize * 8,
        "uiSequenceCount": len(images), "eCompression": 0 if compressed else 2, **(attributes or {}),
    }  # fmt: skip
    planes = planes or [plane("Mono" if components == 1 else "RGB", components)]
    meta = {
        "dTimeAbsolute": JULIAN_DAY, "dTimeMSec": 12.5, "dXPos": 26950.2, "dYPos": -1801.6, "dZPos": 494.3,
        "bCalibrated": True, "dCalibration": 0.65, "dAspect": -1.0, "dObjectiveMag": 10.0,
        "wsObjectiveName": "Plan Fluor 10x Ph1 DLL", "dObjectiveNA": 0.3, "dTemperK": 293.0,
        "sPicturePlanes": {
            "uiCount": len(planes), "uiCompCount": components,
            "sPlaneNew": {f"a{number}": each for number, each in enumerate(planes)},
            "sSampleSetting": {"a0": {
                "pCameraSetting": {"CameraUserName": "Flash4.0, SN:101412"},
                "pDeviceSetting": {"m_sMicroscopeFullName": "Ti2 Microscope"},
                "pObjectiveSetting": {"dObjectiveMag": 10.0}, "dExposureTime": 100.0,
            }},
        },
        **(picture or {}),
    }  # fmt: skip
    lines = {f"TextInfoItem_{number}": (text or {}).get(str(number), "") for number in range(15)}
    modern = version >= "Ver3"
    encode = (lambda root, tree: lite(root, tree, packed=packed_metadata)) if modern else xml
    suffix = "LV" if modern else ""
    contents = {
        f"ImageAttributes{suffix}": encode("SLxImageAttributes", raw),
        f"ImageMetadataSeq{suffix}|0": encode("SLxPictureMetadata", meta),
        f"ImageTextInfo{suffix}": encode("SLxImageTextInfo", lines),
    }
    if loops:
        contents[f"ImageMetadata{suffix}"] = encode("SLxExperiment", _nested(loops))
    if times is not None:
        contents["CustomData|AcqTimesCache"] = np.asarray(times, dtype="<f8").tobytes()
    for number, image in enumerate(images):
        rows = np.ascontiguousarray(image).reshape(height, -1).view(np.uint8)
        block = np.pad(rows, ((0, 0), (0, padded - row))).tobytes()
        if number not in skip:
            start = struct.pack("<d", 0.0 if times is None else times[number])
            contents[f"ImageDataSeq|{number}"] = start + (zlib.compress(block) if compressed else block)
    return write_chunks(path, {**contents, **(more or {})}, version)


def write_chunks(path: Path, contents: Mapping[str, bytes], version: str) -> Path:
    """Write the chunks and their map."""
    signature = b"ND2 FILE SIGNATURE CHUNK NAME01!"
    file = struct.pack("<IIQ", MAGIC, 32, 64) + signature + version.encode().ljust(64, b"\0")
    listed = b""
    for name, content in contents.items():
        field = f"{name}!".encode().ljust(4072 if name.startswith("ImageDataSeq") else 64, b"\0")
        listed += f"{name}!".encode() + struct.pack("<QQ", len(file), len(content))
        file += struct.pack("<IIQ", MAGIC, len(field), len(content)) + field + content
    mark = b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", len(file))
    listed += mark[:32] + struct.pack("<QQ", len(file), 0)
    file += struct.pack("<IIQ", MAGIC, 32, len(listed)) + b"ND2 FILEMAP SIGNATURE NAME 0001!" + listed + mark
    path.write_bytes(file)
    return path


def plane(name: str, components: int = 1, **more: Any) -> dict[str, Any]:
    """Return the description of one channel."""
    probe = {"m_sName": "", "m_uiColor": 0}
    known = {
        "uiCompCount": components,
        "uiModalityMask": 0x101,
        "uiSampleIndex": 0,
        "pFluorescentProbe": probe,
    }
    return {"sDescription": name, **known, **more}


def time_loop(count: int, period: float = 1000.0) -> dict[str, Any]:
    """Return a loop over time, `period` [ms] apart as planned."""
    pars = {"uiCount": count, "dStart": 0.0, "dPeriod": period, "dDuration": 0.0}
    return {"eType": 1, "uLoopPars": pars}


def z_loop(count: int, step: float, kind: int = 2) -> dict[str, Any]:
    """Return a stack of `count` planes `step` [um] apart; kinds below 4 go from the bottom to the top."""
    height = step * (count - 1)
    pars = {
        "uiCount": count,
        "dZLow": 0.0,
        "dZHigh": height,
        "dZStep": step,
        "dZHome": height / 2,
        "iType": kind,
    }
    return {"eType": 4, "uLoopPars": pars}


def position_loop(*places: tuple[float, float, str]) -> dict[str, Any]:
    """Return a loop over stage positions: x [um], y [um], name."""
    points = {
        f"i{number:010}": {"dPosX": x, "dPosY": y, "dPosZ": 0.0, "dPosName": name, "dPFSOffset": -1.0}
        for number, (x, y, name) in enumerate(places)
    }
    return {"eType": 2, "uLoopPars": {"uiCount": len(places), "bUseZ": False, "Points": points}}


def _nested(loops: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    inner = {"ppNextLevelEx": {"i0000000000": _nested(loops[1:])}} if len(loops) > 1 else {}
    return {**loops[0], **inner}


def lite(name: str, value: Any, *, packed: bool = False) -> bytes:
    """Return a tree as version 3 stores it: type, name and value of each item, levels with their length."""
    if packed:
        return b"L\0" + bytes(10) + zlib.compress(lite(name, value))
    label = bytes([len(name) + 1]) + f"{name}\0".encode("utf-16-le")
    if isinstance(value, Mapping):
        children = b"".join(lite(key, child) for key, child in value.items())
        length = 1 + len(label) + 12 + len(children)
        return b"\x0b" + label + struct.pack("<IQ", len(value), length) + children + bytes(8 * len(value))
    if isinstance(value, bool):
        return b"\x01" + label + bytes([value])
    if isinstance(value, int):
        return b"\x03" + label + struct.pack("<I", value)
    if isinstance(value, float):
        return b"\x06" + label + struct.pack("<d", value)
    return b"\x08" + label + f"{value}\0".encode("utf-16-le")


def xml(name: str, value: Any) -> bytes:
    """Return a tree as version 2 stores it."""
    inner = "".join(_element(key, child) for key, child in value.items())
    tree = f'<no_name runtype="{name}">{inner}</no_name>'
    return f'<?xml version="1.0"?><variant version="1.0">{tree}</variant>'.encode()


def _element(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        inner = "".join(_element(key, child) for key, child in value.items())
        return f'<{name} runtype="CLxListVariant">{inner}</{name}>'
    kinds = {bool: "bool", int: "lx_uint32", float: "double", str: "CLxStringW"}
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    return f'<{name} runtype="{kinds[type(value)]}" value={quoteattr(shown)}/>'

"""Tiny TIFF files with the private tags of microscope makers."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

FEI = """[User]\r
Date=02/13/2020\r
Time=09:23:51 PM\r
User=supervisor\r
[System]\r
SystemType=Quanta 3D FEG\r
[Beam]\r
HV=20000\r
Beam=EBeam\r
[EBeam]\r
HV=20000\r
WD=0.0083\r
BeamCurrent=4e-009\r
[Scan]\r
Dwelltime=3e-005\r
PixelWidth=5.8e-007\r
PixelHeight=5.9e-007\r
[Stage]\r
StageX=-0.005\r
StageR=1.5707963267948966\r
[Image]\r
ResolutionX=8\r
[Detectors]\r
Name=ETD\r
Mode=None\r
"""

ZEISS = "\r\n".join([
    "0", "0", "0", "5.932882e-07", "1.881884e+02", "6",
    "DP_DETECTOR_CHANNEL", "Signal A = InLens",
    "AP_PIXEL_SIZE", "Pixel Size = 1186.6 nm",
    "AP_IMAGE_PIXEL_SIZE", "Image Pixel Size = 593.3 nm",
    "AP_ACTUALKV", "EHT =  5.00 kV",
    "AP_MAG", "Mag =  10.03 K X",
    "AP_WD", "WD =  5.2 mm",
    "AP_STAGE_AT_T", "Stage at T =   2.0 \xb0",
    "AP_DATE", "Date: 11 Apr 2023", "AP_TIME", "Time: 8:40:47", "",
])  # fmt: skip

TESCAN_MAIN = (
    b"Date=2016-05-16\r\nDevice=MIRA3 XMU\r\nMagnification=108.08\r\n"
    b"PixelSizeX=2.5e-6\r\nPixelSizeY=2.6e-6\r\nTime=16:03:27\r\n"
)
TESCAN_SEM = b"Detector=SE\r\nHV=10000.0\r\nWD=0.01325\r\n"


def tescan() -> bytes:
    """The value of tag 50431: a thumbnail block and two blocks of text."""
    blocks = ((1, b"thumbnail"), (2, TESCAN_MAIN), (3, TESCAN_SEM))
    return b"".join(
        (len(payload) + 2).to_bytes(4, "little") + kind.to_bytes(2, "little") + payload
        for kind, payload in blocks
    )


PHENOM = b"""<?xml version="1.0"?><FeiImage><pixelWidth unit="nm">975.5</pixelWidth>
<pixelHeight unit="nm">980.5</pixelHeight><time>2019-08-07T09:37:31</time><currentUser/>
<acquisition><scan><dwellTime unit="ns">200</dwellTime><spotSize>4.3</spotSize>
<detectors><QBSD><mixFactor>1</mixFactor></QBSD><SED><mixFactor>0</mixFactor></SED></detectors>
<highVoltage unit="kV">-15</highVoltage><emissionCurrent unit="uA">40.3</emissionCurrent></scan></acquisition>
<workingDistance unit="mm">8.14</workingDistance>
<instrument><type>PhenomXL</type><edition>G5 XL</edition></instrument></FeiImage>"""

SIGHTX = """<?xml version="1.0" encoding="utf-8"?>
<TemReporter><DateTime>2021-06-15T10:20:30.1234567+09:00</DateTime><Instruments>JEM-F200</Instruments>
  <ElectronGun><AccelerationVoltage>200000</AccelerationVoltage></ElectronGun>
  <Eos><EosMode>eosTEM</EosMode></Eos>
  <GonioStage><StagePosition><TX>1.5</TX><TY>-2</TY></StagePosition></GonioStage>
  <IlluminationSystem><ImageField>ifldBright</ImageField></IlluminationSystem>
  <ImageFormingSystem><ModeString>MODE</ModeString><SelectorString>SELECTED</SelectorString>
    <SelectorValue>VALUE</SelectorValue><SelectorUnitString>UNIT</SelectorUnitString>
    <ImageFormingMode>ifmdNORMAL</ImageFormingMode></ImageFormingSystem>
</TemReporter>"""


def tvips(path: Path, pixels: np.ndarray, version: int = 2, **fields: Any) -> Path:
    """Write a TVIPS file: the tag holds the place of a structure, here at the end of the file."""
    first = np.zeros(1, tifffile.TIFF.TVIPS_HEADER_V1)
    second = np.zeros(1, tifffile.TIFF.TVIPS_HEADER_V2)
    first["Version"], second["Magic"] = version, 0xAAAAAAAA
    for name, value in fields.items():
        target = first if name in (first.dtype.names or ()) and version == 1 else second
        written = value.encode("utf-16-le") if isinstance(value, str) else value
        target[name] = np.void(written.ljust(160, b"\0")) if isinstance(written, bytes) else written
    structure = first.tobytes() + (second.tobytes() if version == 2 else b"")
    return _append(path, pixels, 37706, structure)


def olympus(path: Path, pixels: np.ndarray, camera: str = "Quemesa") -> Path:
    """Write an Olympus SIS file: 2.4 and 2.5 times 1e-11 m, magnification 600 000."""
    header = struct.pack("<4s6xhhhhh6x32sH", b"SIS0", 42, 19, 15, 10, 118, b"a name", 1)
    block = struct.pack("<10xhdd8xd2x34s32s", -11, 2.4, 2.5, 6e5, camera.encode(), b"")
    return _append(path, pixels, 33560, header, lambda start: struct.pack("<hhI", 1, 1, start + 68) + block)


def park(path: Path, stored: np.ndarray, **fields: Any) -> Path:
    """Write a Park Systems file of version 1 (int16) or 2; `stored` has its rows from the bottom up."""
    version = 1 if stored.dtype == np.int16 else 2
    rows, columns = stored.shape
    given = {
        "source": "Topography", "mode": "NCM", "width": columns, "height": rows, "x_size": 5.0, "y_size": 2.5,
        "gain": 0.5, "scale": 1.0, "unit": "nm", "sample_bias": -1.5, "forward": 1,
        "data_type": {"int16": 0, "int32": 1, "float32": 2}[stored.dtype.name],
    } | fields  # fmt: skip
    header = b""
    for name, code in PARK_FIELDS + (PARK_MORE if version == 2 else ()):
        value = given.get(name, "" if code.endswith("s") else 0)
        header += struct.pack("<" + code, value.encode("utf-16-le") if isinstance(value, str) else value)
    tags = {
        50432: 0x0E031301,
        50433: 0x1000000 + version,
        50434: stored.tobytes(),
        50435: header + bytes(228),
    }
    return write(path, np.zeros(stored.shape, np.uint8), tags=tags)


# The maker's structure, in order.
PARK_FIELDS = (
    ("type", "i"), ("source", "64s"), ("mode", "16s"), ("low_pass", "d"), ("flattened", "i"),
    ("flatten_order", "i"), ("width", "i"), ("height", "i"), ("angle", "d"), ("sine_scan", "i"),
    ("overscan", "d"), ("forward", "i"), ("up", "i"), ("swapped", "i"), ("x_size", "d"), ("y_size", "d"),
    ("x_offset", "d"), ("y_offset", "d"), ("scan_rate", "d"), ("setpoint", "d"), ("setpoint_unit", "16s"),
    ("tip_bias", "d"), ("sample_bias", "d"), ("gain", "d"), ("scale", "d"), ("offset", "d"),
    ("unit", "16s"), ("minimum", "i"), ("maximum", "i"), ("mean", "i"), ("compressed", "i"),
    ("logarithmic", "i"), ("square", "i"),
)  # fmt: skip
PARK_MORE = (
    ("servo_gain", "d"), ("scanner_range", "d"), ("xy_voltage", "16s"), ("z_voltage", "16s"),
    ("xy_servo", "16s"), ("data_type", "i"),
)  # fmt: skip


def _append(
    path: Path, pixels: np.ndarray, tag: int, structure: bytes, more: Callable[[int], bytes] | None = None
) -> Path:
    """Write a file whose `tag` is the place of the appended `structure`; `more` follows it."""
    write(path, pixels, tags={tag: 8})
    with tifffile.TiffFile(path) as file:
        entry = next(entry for entry in file.pages.first.tags if entry.code == tag)
        place = entry.offset + 8
    content = bytearray(path.read_bytes())
    start = len(content)
    content[place : place + 4] = start.to_bytes(4, "little")
    path.write_bytes(bytes(content) + structure + (more(start) if more else b""))
    return path


def write(path: Path, pixels: np.ndarray, *, tags: dict[int, Any] | None = None, **options: Any) -> Path:
    """Write one TIFF; `tags` maps a private tag to text, bytes, an integer or a double."""
    extra = []
    for code, value in (tags or {}).items():
        if isinstance(value, str):
            extra.append((code, "s", 0, value.encode("latin-1"), True))
        elif isinstance(value, bytes):
            extra.append((code, "B", len(value), value, True))
        elif isinstance(value, int):
            extra.append((code, "I", 1, value, True))
        else:
            extra.append((code, "d", 1, value, True))
    options.setdefault("metadata", None)
    options.setdefault("photometric", "minisblack")
    tifffile.imwrite(path, pixels, extratags=extra, **options)
    return path

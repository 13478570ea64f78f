"""Writes tiny NanoScope files: a padded text header, then a block per image, bottom row first."""

from __future__ import annotations

from pathlib import Path

import numpy as np

HEADER_SIZE = 4096  # [byte]

FILE = {"Version": "0x05310001", "Date": "01:02:03 PM Tue Jul 30 2019", "Start context": "OL"}
EQUIPMENT = {"Description": "D3100 NS3a", "Controller": "IIIA", "Microscope": "D3100"}
SCANNER = {"@Sens. Zscan": "V 10.00000 nm/V", "@Sens. Current": "V 10.00000 nA/V"}
SCAN = {
    "Operating mode": "Image",
    "Scan size": "1000 nm",
    "X offset": "120 nm",
    "Y offset": "-3 nm",
    "Rotate Ang.": "45",
    "Aspect ratio": "1:1",
    "Scan rate": "2",
    "Tip velocity": "4",
    "@Sens. Amplitude": "V 1.000000 ",
    "@Sens. AmplSens": "V 50.00000 nm/V",
    "@2:Bias": "V (0.3051758 mV/LSB) 100.0000 mV",
    "@2:STMSetCurrent": "V [Sens. Current] (0.0003051758 V/LSB) 0.2000000 V",
}
IMAGE = {
    "Bytes/pixel": "2",
    "Data type": "AFM",
    "Note": "",
    "Frame direction": "Up",
    "Aspect ratio": "1:1",
    "Scan size": "1 1 ~m",
    "Scan line": "Main",
    "Line direction": "Trace",
    "@2:Image Data": 'S [Height] "Height"',
    "@2:Z scale": "V [Sens. Zscan] (0.006713867 V/LSB) 440.0000 V",
}


def write_spm(
    path: Path,
    images: list[tuple[np.ndarray, dict[str, str | None]]],
    *,
    first: str = "\\*File list",
    image_list: str = "Ciao image list",
    newline: str = "\r\n",
    **lists: dict[str, str | None],
) -> Path:
    """Write a file of `images`: integers ``(y, x)`` as seen on the screen, and fields that override `IMAGE`.

    `lists` overrides the fields of FILE, EQUIPMENT, SCANNER and SCAN by the names in lower case; None
    leaves a field out.
    """
    ny, nx = images[0][0].shape
    common = {"Samps/line": str(nx), "Lines": str(ny)}
    lines = [first, *_lines({"Data length": str(HEADER_SIZE)} | FILE | lists.get("file", {}))]
    lines += ["\\*Equipment list", *_lines(EQUIPMENT | lists.get("equipment", {}))]
    lines += ["\\*Scanner list", *_lines(SCANNER | lists.get("scanner", {}))]
    lines += ["\\*Ciao scan list", *_lines(common | SCAN | lists.get("scan", {}))]
    data = b""
    for stored, fields in images:
        block = np.flipud(stored).astype(stored.dtype.newbyteorder("<")).tobytes()
        place = {"Data offset": str(HEADER_SIZE + len(data)), "Data length": str(len(block))}
        size = {"Samps/line": str(stored.shape[1]), "Number of lines": str(stored.shape[0])}
        lines += [f"\\*{image_list}", *_lines(place | size | IMAGE | fields)]
        data += block
    text = newline.join([*lines, "\\*File list end", ""]).encode("latin-1") + b"\x1a"
    path.write_bytes(text.ljust(HEADER_SIZE, b"\0") + data)
    return path


def _lines(fields: dict[str, str | None]) -> list[str]:
    return [f"\\{key}: {value}" for key, value in fields.items() if value is not None]

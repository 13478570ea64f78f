"""Simulated images written as the files real instruments write, so that every reader is met on the way in.

Keys and layout follow real files: FEI/Thermo (tag 34682), Zeiss (34118) and TESCAN (50431) TIFF; MRC2014;
Velox EMD; Nanonis ``.sxm`` (manual, chapter "File formats"); ImageJ TIFF.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_FEI_TAG, _ZEISS_TAG, _TESCAN_TAG = 34682, 34118, 50431
_ASCII, _BYTE = 2, 1  # TIFF data types
_VELOX_METADATA = 60_000  # [byte] Velox reserves a fixed block per frame and fills it up with zeros


def write_fei_tiff(
    path: Path,
    image: Array,
    *,
    pixel_size: float,
    acquired: datetime,
    voltage: float = 20e3,
    sample: str = "",
) -> None:
    """Write an SEM image as an FEI/Thermo TIFF.

    Parameters
    ----------
    path
        File to write.
    image
        ``(y, x)`` uint8.
    pixel_size
        [nm].
    acquired
        Local time.
    voltage
        [V].
    sample
        Text in ``[User] UserText``.
    """
    height, width = image.shape
    metre = pixel_size * 1e-9
    sections = {
        "User": {
            "Date": f"{acquired:%m/%d/%Y}", "Time": f"{acquired:%I:%M:%S %p}", "User": "operator",
            "UserText": sample,
        },
        "System": {"Type": "SEM", "Software": "6.3.4", "Source": "FEG", "SystemType": "Quanta 250 FEG"},
        "Beam": {"HV": f"{voltage:g}", "Spot": "3", "Beam": "EBeam", "Scan": "EScan"},
        "EBeam": {
            "HV": f"{voltage:g}", "HFW": f"{width * metre:g}", "VFW": f"{height * metre:g}", "WD": "0.0101",
            "BeamCurrent": "4e-010",
        },
        "Scan": {
            "InternalScan": "true", "Dwelltime": "1e-005",
            "PixelWidth": f"{metre:g}", "PixelHeight": f"{metre:g}",
            "HorFieldsize": f"{width * metre:g}", "VerFieldsize": f"{height * metre:g}",
            "Average": "0", "Integrate": "0",
        },
        "Stage": {"StageX": "0.0012", "StageY": "-0.0034", "StageZ": "0.0101", "StageR": "0", "StageT": "0"},
        "Image": {"ResolutionX": str(width), "ResolutionY": str(height), "DataBarHeight": "0"},
        "Detectors": {"Number": "1", "Name": "ETD", "Mode": "SE"},
        "ETD": {"Contrast": "78.1", "Brightness": "38.2", "Signal": "SE", "Grid": "250"},
    }  # fmt: skip
    text = "\r\n".join(_ini(sections))
    _write_tiff(path, image, tag=(_FEI_TAG, _ASCII, 0, text.encode("latin-1"), True))


def write_zeiss_tiff(
    path: Path,
    image: Array,
    *,
    pixel_size: float,
    acquired: datetime,
    voltage: float = 15e3,
    sample: str = "",
) -> None:
    """Write an SEM image as a Zeiss SmartSEM TIFF; parameters as in `write_fei_tiff`."""
    width = image.shape[1]
    magnification = 0.1143 / (width * pixel_size * 1e-9)  # SmartSEM counts on a 114.3 mm wide Polaroid print
    entries = {
        "AP_ACTUALKV": f"EHT = {voltage / 1e3:.2f} kV",
        "AP_MAG": f"Mag = {magnification / 1e3:.2f} K X",
        "AP_WD": "WD =  8.1 mm",
        "AP_IMAGE_PIXEL_SIZE": f"Image Pixel Size = {pixel_size:.4g} nm",
        "AP_PIXEL_SIZE": f"Pixel Size = {pixel_size * width / 1024:.4g} nm",
        "AP_WIDTH": f"Width = {width * pixel_size / 1e3:.4g} µm",
        "AP_STAGE_AT_X": "Stage at X = 61.204 mm",
        "AP_STAGE_AT_Y": "Stage at Y = 59.118 mm",
        "AP_DATE": f"Date :{acquired:%d %b %Y}",
        "AP_TIME": f"Time :{acquired:%H:%M:%S}",
        "DP_DETECTOR_CHANNEL": "Signal A = SE2",
        "DP_SEM": "SEM = Sigma 300",
        "SV_SAMPLE_ID": f"Sample ID = {sample}",
        "SV_VERSION": "Version = V06.02",
    }
    numbers = ["0", "0", "0", f"{pixel_size * 1e-9:e}", f"{magnification:e}", "6", f"{voltage:e}"]
    lines = [*numbers, *(line for key, text in entries.items() for line in (key, text))]
    text = "\r\n".join(lines) + "\r\n"
    _write_tiff(path, image, tag=(_ZEISS_TAG, _ASCII, 0, text.encode("cp1252"), True))


def write_tescan_tiff(
    path: Path,
    image: Array,
    *,
    pixel_size: float,
    acquired: datetime,
    voltage: float = 10e3,
    sample: str = "",
) -> None:
    """Write an SEM image as a TESCAN TIFF; parameters as in `write_fei_tiff`."""
    metre = pixel_size * 1e-9
    main = {
        "Date": f"{acquired:%Y-%m-%d}", "Time": f"{acquired:%H:%M:%S}", "Description": sample,
        "Device": "MIRA3 XMU",
        "Magnification": f"{0.27 / (image.shape[1] * metre):.2f}",  # of a print 270 mm wide, as in real files
        "PixelSizeX": f"{metre:.6g}", "PixelSizeY": f"{metre:.6g}", "Sign": "", "UserName": "operator",
        "Detector": "SE", "DwellTime": "3.2e-6", "HV": f"{voltage:.6g}", "WD": "10.1e-3",
    }  # fmt: skip
    text = "\n".join(f"{key}={value}" for key, value in main.items())
    _write_tiff(path, image, tag=(_TESCAN_TAG, _BYTE, len(text), text.encode("latin-1"), True))


def write_imagej_tiff(path: Path, image: Array, *, pixel_size: float) -> None:
    """Write an image ``(y, x)`` as ImageJ does, calibrated in nm.

    Parameters
    ----------
    path, image
        File and pixels.
    pixel_size
        [nm].
    """
    import tifffile

    per_nm = 1 / pixel_size
    tifffile.imwrite(path, image, imagej=True, resolution=(per_nm, per_nm), metadata={"unit": "nm"})


def write_mrc(path: Path, image: Array, *, pixel_size: float) -> None:
    """Write an image ``(y, x)`` as MRC2014 with its cell in angstrom.

    Parameters
    ----------
    path, image
        File, and pixels in a type of MRC: float32, int16, uint16.
    pixel_size
        [nm].
    """
    import mrcfile

    with mrcfile.new(path, data=np.ascontiguousarray(image), overwrite=True) as file:
        file.voxel_size = pixel_size * 10


def write_velox_emd(
    path: Path,
    image: Array,
    *,
    pixel_size: float,
    acquired: datetime,
    voltage: float = 80e3,
    sample: str = "",
) -> None:
    """Write a STEM image as Velox does: ``/Data/Image/<id>/Data`` and one JSON text per frame.

    Parameters
    ----------
    path
        File to write.
    image
        ``(y, x)``, any integer or float type.
    pixel_size
        [nm].
    acquired
        UTC.
    voltage
        [V].
    sample
        Description of the sample.
    """
    import h5py

    metre = f"{pixel_size * 1e-9:.10g}"
    tree = {
        "Core": {"MetadataDefinitionVersion": "7.9", "guid": "0" * 32},
        "Instrument": {"InstrumentModel": "Titan-3141", "Manufacturer": "FEI Company"},
        "Acquisition": {"AcquisitionStartDatetime": {"DateTime": str(int(acquired.timestamp()))}},
        "Optics": {
            "AccelerationVoltage": f"{voltage:g}", "OperatingMode": "2", "ProjectorMode": "2",
            "BeamConvergence": "0.031", "CameraLength": "0.115",
        },
        "Scan": {"DwellTime": "2e-06", "ScanRotation": "0"},
        "Stage": {"Position": {"x": "1.2e-05", "y": "-3.4e-05", "z": "1e-07"}, "AlphaTilt": "0"},
        "Sample": {"SampleDescription": sample},
        "BinaryResult": {
            "Detector": "HAADF", "PixelSize": {"width": metre, "height": metre},
            "Offset": {"x": "0", "y": "0"}, "PixelUnitX": "m", "PixelUnitY": "m",
        },
    }  # fmt: skip
    text = json.dumps(tree).encode()
    block = np.zeros((_VELOX_METADATA, 1), dtype=np.uint8)
    block[: len(text), 0] = np.frombuffer(text, dtype=np.uint8)
    with h5py.File(path, "w") as file:
        file["Version"] = json.dumps({"format": "Velox", "version": "1.9"})
        group = file.create_group(f"Data/Image/{'0' * 31}1")
        group["Data"] = np.ascontiguousarray(image)[:, :, None]
        group["Metadata"] = block


def write_sxm(
    path: Path,
    channels: Mapping[str, tuple[Array, str]],
    *,
    pixel_size: float,
    acquired: datetime,
    bias: float = 0.1,
) -> None:
    """Write an STM image as a Nanonis ``.sxm``, scanned down, forward and backward alike.

    Parameters
    ----------
    path
        File to write.
    channels
        Name to image ``(y, x)`` and its unit: ``{"Z": (height, "m")}``. All of one shape.
    pixel_size
        [nm].
    acquired
        Local time.
    bias
        [V].
    """
    shape = next(iter(channels.values()))[0].shape
    header = _sxm_header(path.name, shape, pixel_size=pixel_size, acquired=acquired, bias=bias)
    rows = ["\tChannel\tName\tUnit\tDirection\tCalibration\tOffset"]
    for number, (name, (_, unit)) in enumerate(channels.items()):
        rows.append(f"\t{number}\t{name}\t{unit}\tboth\t1.000E+0\t0.000E+0")
    header["DATA_INFO"] = "\n".join(rows)
    text = "".join(f":{key}:\n{value}\n" for key, value in header.items()) + "\n:SCANIT_END:\n\n\n"
    with path.open("wb") as file:
        file.write(text.encode("latin-1") + b"\x1a\x04")
        for image, _ in channels.values():
            forward = np.asarray(image, dtype=">f4")
            file.write(forward.tobytes() + np.ascontiguousarray(forward[:, ::-1]).tobytes())


def _sxm_header(
    name: str, shape: tuple[int, ...], *, pixel_size: float, acquired: datetime, bias: float
) -> dict[str, str]:
    height, width = shape
    metre = pixel_size * 1e-9
    return {
        "NANONIS_VERSION": "2",
        "SCANIT_TYPE": "              FLOAT            MSBFIRST",
        "REC_DATE": f" {acquired:%d.%m.%Y}",
        "REC_TIME": f"{acquired:%H:%M:%S}",
        "REC_TEMP": "      290.0000000000",
        "ACQ_TIME": "       415.9",
        "SCAN_PIXELS": f"       {width}       {height}",
        "SCAN_FILE": name,
        "SCAN_TIME": "             1.296E+0             1.296E+0",
        "SCAN_RANGE": f"           {width * metre:.6E}           {height * metre:.6E}",
        "SCAN_OFFSET": "             0.000000E+0         0.000000E+0",
        "SCAN_ANGLE": "            0.000E+0",
        "SCAN_DIR": "down",
        "BIAS": f"            {bias:.3E}",
        "Z-CONTROLLER": (
            "\tName\ton\tSetpoint\tP-gain\tI-gain\tT-const\n"
            "\tlog Current\t1\t1.000E-10 A\t1.150E-12 m\t1.000E-8 m/s\t1.150E-4 s"
        ),
        "COMMENT": "simulated",
    }


def _ini(sections: Mapping[str, Mapping[str, str]]) -> list[str]:
    lines = []
    for name, entries in sections.items():
        lines += [f"[{name}]", *(f"{key}={value}" for key, value in entries.items()), ""]
    return lines


def _write_tiff(path: Path, image: Array, *, tag: tuple[int, int, int, bytes, bool]) -> None:
    import tifffile

    tifffile.imwrite(path, image, photometric="minisblack", metadata=None, extratags=[tag])

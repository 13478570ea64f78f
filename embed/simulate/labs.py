"""Two laboratories with samples, images in vendor files and sheets: what the demo and the tests ingest.

Ultrahigh-carbon steel, three heat treatments. The feature length follows the treatment, hardness follows
the feature length, so that images carry what a link can find:

spheroidite
    d**3 = d0**3 + K exp(-Q / R T) t   (coarsening: Lifshitz and Slyozov 1961, Wagner 1961)
pearlite, network
    length = a exp(b (T - 1100 K))     (austenite grain growth, empirical)
hardness
    HV = 120 + 78 / sqrt(length / um)  (Hall-Petch form; Hall 1951, Petch 1953)

The laws' constants are chosen for images in which the features can be seen; they are not measured.
Every sample deviates from them by 4 % in length and 3 % in hardness.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from micdb.embed.simulate import vendors
from micdb.embed.simulate.lattices import crystal
from micdb.embed.simulate.microstructures.scenes import SCENES
from micdb.embed.simulate.microstructures.sem import Detector, scan
from micdb.embed.simulate.microstructures.view import View
from micdb.embed.simulate.stem import adf_image
from micdb.embed.simulate.stm import topograph

_GAS_CONSTANT = 8.314  # [J/(mol K)]
_ACTIVATION = 250e3  # [J/mol] between iron (240e3) and carbon-controlled coarsening in ferrite
_RATE = 7.5e10  # [um**3/h]
_FIRST_DIAMETER = 0.15  # [um]
_START = datetime(2025, 3, 3, 9, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Sample:
    """A heat-treated sample and its truth.

    Parameters
    ----------
    name
        As in the sheet.
    microconstituent
        ``spheroidite``, ``pearlite`` or ``network``.
    temperature
        [degC].
    time
        [h].
    length
        Particle diameter, lamella spacing or grain size [nm].
    hardness, hardness_sd
        [HV].
    """

    name: str
    microconstituent: str
    temperature: float
    time: float
    length: float
    hardness: float
    hardness_sd: float


@dataclass(frozen=True, slots=True)
class Lab:
    """A laboratory's folder: ``samples.csv``, ``map.toml`` and the images they name.

    Parameters
    ----------
    name
        ``Lab A``.
    folder
        Where its files are.
    samples
        The truth.
    files
        Image files in the order of the sheet.
    """

    name: str
    folder: Path
    samples: tuple[Sample, ...]
    files: tuple[Path, ...]

    @property
    def sheet(self) -> Path:
        """The samples sheet."""
        return self.folder / "samples.csv"

    @property
    def map(self) -> Path:
        """The map of the sheet's columns."""
        return self.folder / "map.toml"


@dataclass(frozen=True, slots=True)
class Labs:
    """What `write_labs` wrote.

    Parameters
    ----------
    folder
        Holds one folder per laboratory, and ``atoms`` with images at atomic resolution, without a sheet.
    labs
        Lab A and Lab B.
    atoms
        Files at atomic resolution.
    """

    folder: Path
    labs: tuple[Lab, ...]
    atoms: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Style:
    """How one laboratory works."""

    name: str
    folder: str
    prefix: str
    treatments: tuple[tuple[str, float, float], ...]  # microconstituent, [degC], [h]
    view: View
    detector: Detector
    write: Callable[..., None]
    row: Callable[[str, Sample], dict[str, Any]]
    map: str


def feature_length(microconstituent: str, *, temperature: float, time: float) -> float:
    """Return the characteristic length [nm] of a treatment; see the module for the laws.

    Parameters
    ----------
    microconstituent
        ``spheroidite``, ``pearlite`` or ``network``.
    temperature
        [degC].
    time
        [h].
    """
    kelvin = temperature + 273.15
    if microconstituent == "spheroidite":
        grown = _RATE * math.exp(-_ACTIVATION / (_GAS_CONSTANT * kelvin)) * time
        return float(1e3 * (_FIRST_DIAMETER**3 + grown) ** (1 / 3))
    base = {"pearlite": 300.0, "network": 2200.0}[microconstituent]  # [nm] at 1100 K
    return base * math.exp(0.004 * (kelvin - 1100))


def hardness(length: float) -> float:
    """Return the hardness [HV] of a feature length [nm]."""
    return 120 + 78 / math.sqrt(length / 1e3)


def write_labs(folder: Path | str, *, seed: int = 0, images_per_sample: int = 4) -> Labs:
    """Write two laboratories and a few images at atomic resolution.

    Parameters
    ----------
    folder
        Created when missing; files in it are overwritten.
    seed
        Same seed, same pixels.
    images_per_sample
        Fields of view per sample.
    """
    folder = Path(folder)
    labs = tuple(
        _write_lab(style, folder / style.folder, seed=seed + 1000 * number, images=images_per_sample)
        for number, style in enumerate(_STYLES)
    )
    return Labs(folder, labs, tuple(_write_atoms(folder / "atoms", seed)))


def _write_lab(style: _Style, folder: Path, *, seed: int, images: int) -> Lab:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    samples = tuple(_sample(style, number, rng) for number in range(len(style.treatments)))
    rows: list[dict[str, Any]] = []
    files: list[Path] = []
    for sample in samples:
        for field in range(images):
            path = folder / f"{sample.name}_{field + 1:02d}.tif"
            field_seed = int(rng.integers(1 << 31))
            scene = SCENES[sample.microconstituent](style.view, sample.length, field_seed)
            style.write(
                path, scan(scene, style.detector, seed=field_seed), pixel_size=style.view.pixel_size,
                acquired=_START + timedelta(minutes=7 * len(files)), sample=sample.name,
            )  # fmt: skip
            rows.append(style.row(path.name, sample))
            files.append(path)
    lab = Lab(style.name, folder, samples, tuple(files))
    with lab.sheet.open("w", newline="", encoding="utf-8") as sheet:
        writer = csv.DictWriter(sheet, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    lab.map.write_text(style.map, encoding="utf-8")
    return lab


def _sample(style: _Style, number: int, rng: np.random.Generator) -> Sample:
    kind, temperature, time = style.treatments[number]
    length = feature_length(kind, temperature=temperature, time=time) * math.exp(rng.normal(0.0, 0.04))
    value = hardness(length)
    name = f"{style.prefix}{number + 1}"
    return Sample(name, kind, temperature, time, length, value * (1 + rng.normal(0.0, 0.03)), 0.02 * value)


def _write_atoms(folder: Path, seed: int) -> Iterator[Path]:
    """Write graphene and disulphides with vacancies (EMD, MRC) and two topographs (.sxm)."""
    folder.mkdir(parents=True, exist_ok=True)
    pixel, shape = 0.0125, (384, 384)  # [nm], [pixel]
    field = (shape[0] * pixel, shape[1] * pixel)
    for number, material in enumerate(("graphene", "graphene", "MoS2", "MoS2", "WS2", "WS2")):
        columns = crystal(
            material,
            field,
            seed=seed + number,
            rotation=7.0 * number,
            jitter=0.003,
            vacancies=3 * (number % 2) + 1,
        )
        counts = 60.0 if number % 2 == 0 else 25.0
        image = adf_image(
            columns,
            shape,
            pixel_size=pixel,
            seed=seed + number,
            counts=counts,
            contamination=0.25,
            line_jitter=0.002,
        ).image
        acquired = _START + timedelta(days=1, minutes=11 * number)
        if number % 2 == 0:
            path = folder / f"{material}_{number + 1}.emd"
            grey = np.clip(image * 16, 0, 65535).astype(np.uint16)  # 16 digital units per count
            vendors.write_velox_emd(path, grey, pixel_size=pixel, acquired=acquired, sample=material)
        else:
            path = folder / f"{material}_{number + 1}.mrc"
            vendors.write_mrc(path, image, pixel_size=pixel)
        yield path
    for number in range(2):
        path = folder / f"Au111_{number + 1}.sxm"
        height = topograph((256, 256), pixel_size=0.04, seed=seed + number, steps=number)
        acquired = _START + timedelta(days=2, minutes=30 * number)
        vendors.write_sxm(path, {"Z": (height * 1e-9, "m")}, pixel_size=0.04, acquired=acquired)
        yield path


_MAP_A = """# Lab A: what the columns of samples.csv mean
file = "file"
sample = "sample"
lab = { value = "Lab A" }
material = { value = "UHCS" }

[[step]]
kind = "anneal"
temperature = { column = "anneal_C", unit = "degC" }
time = { column = "anneal_h", unit = "h" }

[property.hardness]
column = "hardness_GPa"
unit = "GPa"
sd = "hardness_sd_GPa"
method = "nanoindentation"

[label.microconstituent]
column = "microconstituent"
"""

_MAP_B = """# Lab B: other names, other units, the same meaning
file = "image"
sample = "specimen"
lab = { value = "Lab B" }
material = { value = "UHCS" }

[[step]]
kind = "anneal"
temperature = { column = "T_K", unit = "K" }
time = { column = "t_min", unit = "min" }

[property.hardness]
column = "hardness_MPa"
unit = "MPa"
sd = "hardness_sd_MPa"
method = "nanoindentation"

[label.microconstituent]
column = "structure"
"""

_MPA_PER_HV = 9.80665  # Vickers hardness is kgf/mm**2


def _row_a(file: str, sample: Sample) -> dict[str, Any]:
    return {
        "file": file,
        "sample": sample.name,
        "microconstituent": sample.microconstituent,
        "anneal_C": f"{sample.temperature:g}",
        "anneal_h": f"{sample.time:g}",
        "hardness_GPa": f"{sample.hardness * _MPA_PER_HV / 1e3:.3f}",
        "hardness_sd_GPa": f"{sample.hardness_sd * _MPA_PER_HV / 1e3:.3f}",
    }


def _row_b(file: str, sample: Sample) -> dict[str, Any]:
    return {
        "image": file,
        "specimen": sample.name,
        "structure": sample.microconstituent,
        "T_K": f"{sample.temperature + 273.15:g}",
        "t_min": f"{sample.time * 60:g}",
        "hardness_MPa": f"{sample.hardness * _MPA_PER_HV:.0f}",
        "hardness_sd_MPa": f"{sample.hardness_sd * _MPA_PER_HV:.0f}",
    }


_TREATMENTS_A = (
    ("spheroidite", 600.0, 4.0), ("spheroidite", 640.0, 8.0), ("spheroidite", 670.0, 16.0),
    ("spheroidite", 700.0, 24.0), ("spheroidite", 720.0, 48.0),
    ("pearlite", 800.0, 1.0), ("pearlite", 860.0, 1.0), ("network", 960.0, 2.0),
)  # fmt: skip
_TREATMENTS_B = (
    ("spheroidite", 620.0, 6.0), ("spheroidite", 655.0, 12.0), ("spheroidite", 685.0, 20.0),
    ("spheroidite", 710.0, 36.0),
    ("pearlite", 780.0, 1.0), ("pearlite", 840.0, 1.0), ("network", 920.0, 2.0), ("network", 990.0, 2.0),
)  # fmt: skip
_DETECTOR_B = Detector(contrast=80.0, brightness=95.0, edge=0.25, electrons=90.0, blur=18.0)
_STYLES = (
    _Style(
        "Lab A", "lab_a", "A", _TREATMENTS_A, View((480, 640), 20.0), Detector(),
        vendors.write_fei_tiff, _row_a, _MAP_A,
    ),
    _Style(
        "Lab B", "lab_b", "B-", _TREATMENTS_B, View((480, 640), 26.0), _DETECTOR_B,
        vendors.write_zeiss_tiff, _row_b, _MAP_B,
    ),
)  # fmt: skip

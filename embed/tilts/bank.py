"""A bank of multislice images of tilted perovskites along [110]: built once, in a folder outside the package.

One file per crystal holds images of one cell for many thicknesses, mistilts and lenses; each follows from
the name of its set and its number alone, so that a build that was cut short goes on where it stopped. Noise,
dose, source size and distortion are no part of it: they are drawn when it is used.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from micdb.embed.simulate.multislice import Period, Scattering, annular_image, mesh, scatter
from micdb.embed.simulate.perovskites import OXYGEN, Perovskite
from micdb.embed.simulate.probe import Optics, wavelength
from micdb.embed.tilts.view import View, view

Floats = npt.NDArray[np.float64]

#: Grid ``(y, x)`` over the cell: 0.02 nm, under the Nyquist limit of 0.024 nm for 26 mrad at 200 kV.
GRID = (40, 28)
VOLTAGE = 200.0  # [kV]
LARGEST_TILT = 13.0  # [deg]
SETS = {"train": 1350, "held": 135, "LaFeO3": 45, "NdGaO3": 45}  # crystals
#: What a bank takes, before it is begun.
COST = "1,575 crystals, about 10 minutes of one processor and 80 MB"

_DRAWS = 24  # images per crystal
_PERIODS = (8, 36)  # along the beam: 4.4 to 20 nm
_STRIDE = 4  # periods between the exits of a crystal
_SLICES = 4  # per period: the planes of atoms
_CUTOFF = 18.0  # [1/nm] within the crystal: images stay within 1 to 4 % of those with 28/nm
_FIELD = 1.0  # [nm] that the probe stays within
_DEFOCUS = (-4.0, 3.0)  # [nm] within 3.5 nm of the strongest contrast
_CONVERGENCE = (20.0, 25.0)  # [mrad]
_MISTILT = 3.2  # [mrad]
# Share of diffusely scattered electrons that miss the detector: 0.25 is nearest to frozen phonons in SrTiO3,
_ABSORPTION = (0.1, 0.4)  # 10 nm thick; beside the bank's other simplifications it is drawn
_EDGE = 2.0  # [mrad] distance of waves for that field

# Elements of the unseen compositions (Fe, Nd, Ga) are in none of these.
A_SITES = (20, 38, 39, 56, 57, 59, 62, 64, 82, 83)
B_SITES = (13, 21, 22, 24, 25, 27, 28, 40, 41, 44, 50, 73)
KNOWN = (  # pseudo-cubic constants, rounded
    Perovskite(38, 22, 0.3905), Perovskite(20, 22, 0.382), Perovskite(57, 13, 0.379),
    Perovskite(57, 25, 0.390), Perovskite(38, 44, 0.393), Perovskite(38, 40, 0.410),
    Perovskite(20, 25, 0.373), Perovskite(57, 28, 0.384), Perovskite(57, 24, 0.388),
    Perovskite(64, 21, 0.397), Perovskite(39, 13, 0.370), Perovskite(56, 22, 0.401),
    Perovskite(57, 27, 0.382), Perovskite(38, 50, 0.403), Perovskite(20, 40, 0.401),
    Perovskite(59, 13, 0.377),
)  # fmt: skip
UNSEEN = {"LaFeO3": Perovskite(57, 26, 0.393), "NdGaO3": Perovskite(60, 31, 0.386)}


@dataclass(frozen=True, slots=True)
class Element:
    """Images of one crystal.

    Parameters
    ----------
    kind
        Elements and lattice constant.
    tilts
        Rotations about the axes of `micdb.embed.tilts.view.AXES` ``(3,)`` [deg].
    images
        Shares of the electrons on the detector ``(draw, y, x)``, on `GRID`.
    thickness
        ``(draw,)`` [nm].
    mistilt
        Of the beam ``(draw, 2)`` as x, y [mrad]: along [1-10] and along [00-1].
    lens
        ``(draw, 5)``: convergence, inner and outer angle [mrad], defocus [nm], third-order spherical
        aberration [um].
    """

    kind: Perovskite
    tilts: Floats
    images: npt.NDArray[np.float16]
    thickness: Floats
    mistilt: Floats
    lens: Floats

    def save(self, path: Path) -> None:
        """Write it; a file is there whole or not at all."""
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez_compressed(
                file, kind=np.array(self.kind, dtype=float), tilts=self.tilts, images=self.images,
                thickness=self.thickness, mistilt=self.mistilt, lens=self.lens,
            )  # fmt: skip
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> Element:
        """Read it."""
        with np.load(path) as file:
            a, b, constant = file["kind"].tolist()
            kept = [file[name] for name in ("tilts", "images", "thickness", "mistilt", "lens")]
        return cls(Perovskite(int(a), int(b), constant), *kept)


def element(name: str, number: int, *, draws: int = _DRAWS) -> Element:
    """Simulate a crystal of a set of `SETS` by its number; the same every time."""
    rng = np.random.default_rng((zlib.crc32(name.encode()), number))
    kind = UNSEEN[name] if name in UNSEEN else _composition(rng)
    tilts = rng.uniform(0.0, LARGEST_TILT, 3)
    crystal = _crystal(rng, kind, tilts)
    thermal = _vibrations(rng, crystal, kind)
    exits = np.arange(_PERIODS[0] + rng.integers(_STRIDE), _PERIODS[1] + 1, _STRIDE)
    periods = rng.choice(exits, draws)
    lens = _lenses(rng, draws)
    size, way = rng.uniform(0.0, _MISTILT, draws), rng.uniform(0.0, 2 * math.pi, draws)
    mistilt = size[:, None] * np.column_stack((np.cos(way), np.sin(way)))
    parts = _scattered(crystal, thermal, exits, absorption=rng.uniform(*_ABSORPTION))
    images = [
        _image(parts[int(n)], row, tilt) for n, row, tilt in zip(periods, lens, mistilt, strict=True)
    ]  # fmt: skip
    thickness = periods * crystal.cell[2]
    return Element(kind, tilts, np.array(images, dtype=np.float16), thickness, mistilt, lens)


def build(folder: Path, watch: Callable[[int, int], None] | None = None) -> int:
    """Simulate what a bank lacks, and return how many crystals that were.

    Parameters
    ----------
    folder
        Of the bank; made if need be.
    watch
        Called before each crystal with how many there are and how many there will be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [(number / count, name, number) for name, count in SETS.items() for number in range(count)]
    missing = [one for one in sorted(wanted) if not _path(folder, *one[1:]).is_file()]  # all sets grow alike
    for done, (_, name, number) in enumerate(missing):
        if watch:
            watch(len(wanted) - len(missing) + done, len(wanted))
        element(name, number).save(_path(folder, name, number))
    return len(missing)


def load(folder: Path, name: str) -> list[Element]:
    """Return the crystals of a set that are in a bank, by number."""
    return [Element.load(path) for path in sorted(folder.glob(f"{name}-*.npz"))]


def _path(folder: Path, name: str, number: int) -> Path:
    return folder / f"{name}-{number:05d}.npz"


def _composition(rng: np.random.Generator) -> Perovskite:
    """Return a known perovskite, or as often any two elements."""
    known = KNOWN[rng.integers(len(KNOWN))]
    a, b = (known.a, known.b) if rng.random() < 0.5 else (int(rng.choice(A_SITES)), int(rng.choice(B_SITES)))
    constant = known.constant if (a, b) == (known.a, known.b) else rng.uniform(0.37, 0.41)
    return Perovskite(a, b, float(constant * rng.uniform(0.99, 1.01)))


def _crystal(rng: np.random.Generator, kind: Perovskite, tilts: Floats) -> View:
    polar = rng.normal(0.0, 0.005, 3) if rng.random() < 0.3 else np.zeros(3)  # [nm]
    antipolar = rng.uniform(0.0, 0.02) if rng.random() < 0.5 else 0.0  # [nm]
    angles = (float(tilts[0]), float(tilts[1]), float(tilts[2]))
    shift = (float(polar[0]), float(polar[1]), float(polar[2]))
    return view(kind, angles, in_phase=bool(rng.random() < 0.5), polar=shift, antipolar=float(antipolar))


def _vibrations(rng: np.random.Generator, crystal: View, kind: Perovskite) -> Floats:
    """Return standard deviations of the atoms' vibration [nm], as at room temperature."""
    a, b, oxygen = rng.uniform(0.006, 0.011), rng.uniform(0.005, 0.009), rng.uniform(0.007, 0.012)
    return np.where(crystal.number == OXYGEN, oxygen, np.where(crystal.number == kind.b, b, a))


def _lenses(rng: np.random.Generator, draws: int) -> Floats:
    convergence = rng.uniform(*_CONVERGENCE, draws)
    inner = convergence * rng.uniform(0.4, 0.6, draws)
    outer = convergence * rng.uniform(0.9, 1.0, draws)
    return np.column_stack(
        (convergence, inner, outer, rng.uniform(*_DEFOCUS, draws), rng.normal(0.0, 1.0, draws))
    )


def _scattered(
    crystal: View, thermal: Floats, exits: npt.NDArray[np.int64], *, absorption: float
) -> dict[int, list[Scattering]]:
    period = Period.of(
        crystal.xyz, crystal.number, thermal, crystal.cell,
        slices=_SLICES, cutoff=_CUTOFF, voltage=VOLTAGE, absorption=absorption,
    )  # fmt: skip
    reach = 1e-3 * (_CONVERGENCE[1] + _MISTILT + _EDGE) / wavelength(VOLTAGE)
    parts: dict[int, list[Scattering]] = {n: [] for n in exits.tolist()}
    for offset in mesh(period.cell, _FIELD):
        family = scatter(
            period, offset, aperture=reach, cutoff=_CUTOFF, first=int(exits[0]), stride=_STRIDE
        )  # fmt: skip
        for n, part in zip(parts, family, strict=False):
            parts[n].append(part)
    return parts


def _image(parts: list[Scattering], lens: Floats, mistilt: Floats) -> Floats:
    convergence, inner, outer, defocus, c3 = lens.tolist()
    optics = Optics(VOLTAGE, convergence, defocus=defocus, c3=c3, source=0.0)
    tilt = (float(mistilt[1]), float(mistilt[0]))
    return annular_image(parts, optics, (inner, outer), shape=GRID, tilt=tilt, edge=_EDGE)

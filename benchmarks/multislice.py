"""The simulator's images against abTEM's multislice: ``python benchmarks/multislice.py`` (some 15 minutes).

Needs abTEM (GPL-3.0), which is no dependency of micdb: install it beside micdb in an environment of its own.
Both images are blurred by the same source. The linear one is scaled and shifted to fit best; what is left is
printed as a share of the multislice image's standard deviation, beside what another exponent of the atomic
number would leave, and how the signal grows with the number of atoms in a column.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

os.environ.setdefault("OMP_NUM_THREADS", "1")

import abtem
import ase
import dask
import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize
from scipy.signal import resample

from micdb.embed.nets import weights
from micdb.embed.nets.whitened import WhitenedNet
from micdb.embed.simulate.abf import ABF_EXPONENT
from micdb.embed.simulate.dichalcogenides import dichalcogenide
from micdb.embed.simulate.graphene import graphene
from micdb.embed.simulate.metals import crystal_of
from micdb.embed.simulate.multislice import Period, annular_image, mesh, scatter
from micdb.embed.simulate.perovskites import PEROVSKITES, tilted_cell
from micdb.embed.simulate.probe import Optics
from micdb.embed.simulate.render import Blur, draw
from micdb.embed.simulate.slabs import Crystal, slab
from micdb.embed.simulate.stem import Probe
from micdb.embed.simulate.structure import CONTRAST_EXPONENT, Structure
from micdb.embed.tilts.angles import measure
from micdb.embed.tilts.bank import GRID
from micdb.embed.tilts.view import View, view

Floats = npt.NDArray[np.float64]

_SOURCE = 0.03  # [nm] standard deviation
_STEP = 0.03  # [nm] of the scan, under the Nyquist limit of every probe here
_BORDER = 5  # [pixel] cut off after the blur of an image that is not periodic
_THERMAL = 0.0085  # [nm] along each axis, as in these crystals at room temperature
_SCAN = 12  # points along a period
_NOISE = 3e-3  # of the mean: 110,000 electrons in each sample of a cell


@dataclass(frozen=True)
class Microscope:
    """Voltage [kV], convergence [mrad], and detectors' inner and outer angles [mrad]."""

    voltage: float
    convergence: float
    detectors: tuple[tuple[float, float], ...]

    @property
    def optics(self) -> Optics:
        """The same lens in the simulator."""
        return Optics(self.voltage, self.convergence, source=float(np.hypot(_SOURCE, _THERMAL)))


THIN = Microscope(60.0, 31.0, ((80.0, 200.0),))
THICK = Microscope(200.0, 25.0, ((70.0, 160.0), (12.0, 25.0)))


@dataclass(frozen=True)
class Scan:
    """Where the beam goes: first point ``(x, y)`` [nm], ``(y, x)`` points, step [nm]."""

    start: tuple[float, float]
    shape: tuple[int, int]
    step: float

    def linear(self, structure: Structure, probe: Blur, exponent: float) -> Floats:
        """Return the simulator's image."""
        xy, weight = structure.xyz[:, :2] - np.array(self.start), structure.number.astype(float) ** exponent
        return draw(xy, weight, self.shape, pixel_size=self.step, probe=probe)


def multislice(
    structure: Structure,
    cell: tuple[float, float, float],
    microscope: Microscope,
    scan: Scan,
    *,
    slices: float,
    planes: int | None = None,
    phonons: int = 0,
) -> list[Floats]:
    """Return an image ``(thickness, y, x)`` per detector, of a periodic cell [nm] cut in slices [nm]."""
    atoms = structure.to_ase()
    atoms.set_cell(np.array(cell) * 10)
    atoms.wrap()
    source: ase.Atoms | abtem.FrozenPhonons = atoms
    if phonons:
        source = abtem.FrozenPhonons(atoms, num_configs=phonons, sigmas=_THERMAL * 10, seed=1)
    outer = max(angles[1] for angles in microscope.detectors) * 1e-3
    sampling = (
        microscope.optics.wavelength * 10 / (3.05 * outer)
    )  # abTEM keeps two thirds of the Nyquist limit
    potential = abtem.Potential(source, sampling=sampling, slice_thickness=slices * 10, exit_planes=planes)
    probe = abtem.Probe(energy=microscope.voltage * 1e3, semiangle_cutoff=microscope.convergence)
    probe.grid.match(potential)
    points = scan.shape[::-1]
    end = tuple(10 * (a + n * scan.step) for a, n in zip(scan.start, points, strict=True))
    grid = abtem.GridScan(start=tuple(10 * a for a in scan.start), end=end, gpts=points, endpoint=False)
    detectors = [abtem.AnnularDetector(*angles) for angles in microscope.detectors]
    found = probe.scan(potential, scan=grid, detectors=detectors).compute()
    found = found if isinstance(found, list) else [found]
    arrays = (np.asarray(one.array, dtype=np.float64).reshape(-1, *points) for one in found)
    return [np.swapaxes(array, 1, 2) for array in arrays]


def residual(true: Floats, model: Floats) -> float:
    """Return what the best scale and offset leave, as a share of the standard deviation."""
    return float(np.sqrt(max(1 - np.corrcoef(true.ravel(), model.ravel())[0, 1] ** 2, 0.0)))


def best_exponent(true: Floats, model: Callable[[float], Floats]) -> tuple[float, float]:
    """Return the exponent that fits best, and what it leaves."""
    found = minimize(lambda v: residual(true, model(float(v[0]))), [1.5], method="Nelder-Mead")
    return float(found.x[0]), float(found.fun)


def probes() -> None:
    """Print how far aberrated probes are from abTEM's, whose symbols are in angstrom and radian."""
    side, points = 2.56, 256
    lenses = {
        "perfect": (Optics(80.0, 31.0, source=0.0), {}),
        "defocus 6 nm": (Optics(80.0, 31.0, source=0.0, defocus=6.0), {"C10": -60.0}),
        "C5 5 mm": (Optics(80.0, 31.0, source=0.0, c5=5.0), {"C50": 5e7}),
        "defocus 4 nm, C3 5 um, astigmatism 3 nm at -50 degrees": (
            Optics(80.0, 31.0, source=0.0, defocus=4.0, c3=5.0, astigmatism=3.0, astigmatism_angle=-50.0),
            {"C10": -40.0, "C30": 5e4, "C12": 30.0, "phi12": np.radians(-50.0)},
        ),
    }
    for name, (optics, aberrations) in lenses.items():
        probe = abtem.Probe(
            energy=80e3, semiangle_cutoff=31.0, extent=side * 10, gpts=points, aberrations=aberrations
        )
        true = np.asarray(probe.build((0, 0)).intensity().compute().array).T
        gap = np.abs(true / true.max() - optics.intensity((points, points), side / points)).max()
        print(f"probe, {name}: largest difference {gap:.1e} of the peak")


def atoms() -> None:
    """Print how the integrated scattering of one atom goes with its number."""
    numbers = np.array([6, 8, 14, 16, 22, 38, 42, 74, 79])
    scan = Scan((0.0, 0.0), (36, 36), 1 / 36)
    for microscope in (THIN, THICK):
        total = []
        for number in numbers:
            one = Structure(np.array([[0.5, 0.5, 0.1]]), np.array([number]))
            total.append(multislice(one, (1.0, 1.0, 0.2), microscope, scan, slices=0.2)[0].sum())
        slope = np.polyfit(np.log(numbers), np.log(total), 1)[0]
        share = np.array(total) / numbers**CONTRAST_EXPONENT
        text = " ".join(f"{z}: {one:.2f}" for z, one in zip(numbers, share / share[6], strict=True))
        print(
            f"single atoms, {microscope.voltage:.0f} kV, {microscope.detectors[0]} mrad: exponent {slope:.2f}"
        )
        print(f"  over Z**{CONTRAST_EXPONENT}, Mo as 1: {text}")


def layers() -> None:
    """Print the residuals of single layers with defects."""
    field, margin = (1.4, 1.4), 0.5
    cases = {
        "graphene, Si1C3 and Si1C4": graphene(
            field, seed=2, rotation=10.0, defects={"Si1C3": 1, "Si1C4": 1}, separation=0.5, margin=margin
        ),
        "MoS2, S vacancy": dichalcogenide(
            "MoS2", field, seed=2, rotation=10.0, defects={"chalcogen-vacancy": 1}, margin=margin
        ),
    }
    edge = margin + 0.1  # [nm] the cell is a little wider than the layer
    side = field[0] + 2 * edge
    scan = Scan((edge, edge), (47, 47), _STEP)
    inner = (slice(_BORDER, -_BORDER),) * 2
    for name, structure in cases.items():
        placed = structure.shifted(edge, edge)
        lifted = Structure(placed.xyz + np.array([0.0, 0.0, 0.4]), placed.number)
        (images,) = multislice(lifted, (side, side, 0.8), THIN, scan, slices=0.4)
        true = gaussian_filter(images[-1], np.hypot(_SOURCE, _THERMAL) / _STEP)[inner]
        _report(name, true, lambda e, p=THIN.optics, s=lifted: scan.linear(s, p, e)[inner], CONTRAST_EXPONENT)
        fast = _fast_probe(true, lambda p, s=lifted: scan.linear(s, p, CONTRAST_EXPONENT)[inner])
        print(f"{'':28} Gaussian core with Airy tail, fitted: {fast[0]} {fast[1]:.3f}")


def crystals() -> None:
    """Print residuals and growth of crystals of several thicknesses."""
    titanate = PEROVSKITES["SrTiO3"]
    _series("SrTiO3 [001]", tilted_cell(titanate), titanate.constant, count=20, each=2, phonons=3)
    gold = crystal_of("Au")
    period = float(gold.cell[0, 0])
    _series("Au [001]", gold, period, count=8, each=1, phonons=3)
    _series("Au [001], 16 phonons", gold, period, count=2, each=1, phonons=16)


def tilted() -> None:
    """Print how far the bank's multislice of tilted perovskites is from abTEM's with frozen phonons.

    And, where weights ship, what `abf-tilts` makes of abTEM's images.
    """
    microscope = Microscope(200.0, 25.0, ((12.5, 25.0),))
    periods, points = 18, (20, 14)  # 10 nm thick; every second point of the bank's grid
    for name, tilts in (
        ("SrTiO3", (6.0, 4.0, 7.0)),
        ("SrTiO3", (0.0, 0.0, 0.0)),
        ("LaMnO3", (9.0, 3.0, 6.0)),
    ):
        kind = PEROVSKITES[name]
        cell = view(kind, tilts)
        true = _frozen(cell, microscope, periods, points)
        for absorption in (0.0, 0.25, 1.0):
            model = _families(cell, microscope, periods, absorption)[::2, ::2]
            left = residual(*(_blurred_cell(one, cell.cell) for one in (true, model)))
            print(
                f"{name}, rotations {tilts} deg: residual {residual(true, model):.3f}, blurred {left:.3f}, "
                f"with a share of {absorption} of diffuse scattering lost"
            )
        fine = resample(resample(true, GRID[0], axis=0), GRID[1], axis=1)  # by Fourier series
        value, sd = measure(
            weights.load("abf-tilts", WhitenedNet),
            _blurred_cell(fine, cell.cell)[None],
            np.array([_NOISE * true.mean()]),
        )
        print(f"  abf-tilts: {np.round(value[0, :3], 1)} +- {np.round(sd[0, :3], 1)} deg")


def _frozen(cell: View, microscope: Microscope, periods: int, points: tuple[int, int]) -> Floats:
    """Return abTEM's image of one cell ``(y, x)``, the probe in a field of 2 x 3 cells."""
    box = np.array(cell.cell)[[1, 0, 2]]
    steps = np.array([(i, j, k) for i in range(3) for j in range(2) for k in range(periods)])
    lift = np.array([0.0, 0.0, box[2] / 8])
    xyz = (cell.xyz + (steps * box)[:, None]).reshape(-1, 3) + lift  # off the slices' faces
    whole = Structure(xyz, np.tile(cell.number, len(steps)))
    atoms = whole.to_ase()
    atoms.set_cell(box * [3, 2, periods] * 10)
    atoms.wrap()
    source = abtem.FrozenPhonons(atoms, num_configs=12, sigmas=_THERMAL * 10, seed=1)
    potential = abtem.Potential(source, gpts=(144, 144), slice_thickness=box[2] / 4 * 10)
    probe = abtem.Probe(energy=microscope.voltage * 1e3, semiangle_cutoff=microscope.convergence)
    probe.grid.match(potential)
    grid = abtem.GridScan(start=(0, 0), end=tuple(10 * box[:2]), gpts=points[::-1], endpoint=False)
    found = probe.scan(potential, scan=grid, detectors=abtem.AnnularDetector(*microscope.detectors[0]))
    return np.asarray(found.compute().array, dtype=np.float64).reshape(points[::-1]).T


def _families(cell: View, microscope: Microscope, periods: int, absorption: float) -> Floats:
    """Return the same image by the simulator's own multislice, on the bank's grid."""
    period = Period.of(
        cell.xyz, cell.number, np.full(len(cell.number), _THERMAL), cell.cell,
        slices=4, cutoff=20.0, voltage=microscope.voltage, absorption=absorption,
    )  # fmt: skip
    parts = [
        next(scatter(period, offset, aperture=12.0, cutoff=20.0, first=periods))
        for offset in mesh(period.cell, 1.5)
    ]
    optics = Optics(microscope.voltage, microscope.convergence, source=0.0)
    return annular_image(parts, optics, microscope.detectors[0], shape=GRID, edge=1.6)


def _blurred_cell(image: Floats, cell: tuple[float, float, float]) -> Floats:
    y, x = (np.fft.fftfreq(n, side / n) for n, side in zip(image.shape, cell, strict=False))
    blur = np.exp(-2 * (np.pi * _SOURCE) ** 2 * (y[:, None] ** 2 + x[None, :] ** 2))
    return np.asarray(np.fft.ifft2(np.fft.fft2(image) * blur).real)


def _series(name: str, crystal: Crystal, period: float, *, count: int, each: int, phonons: int) -> None:
    side, half = 4 * period, period / 2
    whole = slab(crystal, (side, side), thickness=count * period - 1e-4, margin=0.0)
    lifted = Structure(whole.xyz + np.array([0.0, 0.0, half / 2]), whole.number)  # off the slices' faces
    scan = Scan((period, period), (_SCAN, _SCAN), period / _SCAN)
    dark, bright = multislice(
        lifted, (side, side, count * period), THICK, scan, slices=half, planes=2 * each, phonons=phonons
    )
    flat = slab(crystal, (side, side), thickness=period - 1e-4, margin=0.5)
    heights = np.arange(1, len(dark)) * each
    for kind, images, exponent in (("HAADF", dark, CONTRAST_EXPONENT), ("ABF", bright, ABF_EXPONENT)):
        signal = np.abs(images.mean(axis=(1, 2)) - images[0].mean())[1:]
        growth = np.polyfit(np.log(heights), np.log(signal), 1)[0]
        each_atom = signal / heights / max(signal / heights)
        share = " ".join(f"{n}: {one:.2f}" for n, one in zip(heights, each_atom, strict=True))
        print(f"{name}, {kind}: signal grows as n**{growth:.2f}; per atom, the most as 1: {share}")
        for step in sorted({1, 2, 3, 5, 8, len(dark) - 1} & set(range(len(dark)))):
            high, true = step * each, _periodic_blur(images[step], scan.step)
            sharp = residual(true, scan.linear(flat, THICK.optics, exponent))
            broad = THICK.optics.broadened(high * period)
            _report(f"  {high} high", true, lambda e, p=broad: scan.linear(flat, p, e), exponent)
            print(f"{'':28} {sharp:.3f} without broadening")


def _report(name: str, true: Floats, model: Callable[[float], Floats], exponent: float) -> None:
    best, left = best_exponent(true, model)
    print(
        f"{name:28} residual {residual(true, model(exponent)):.3f} at Z**{exponent}, {left:.3f} at {best:.2f}"
    )


def _fast_probe(true: Floats, model: Callable[[Probe], Floats]) -> tuple[Probe, float]:
    def probe(values: Floats) -> Probe:
        return Probe(abs(float(values[0])), float(np.clip(values[1], 0, 1)), abs(float(values[2])))

    found = minimize(
        lambda v: residual(true, model(probe(v))), [0.045, 0.15, 0.09],
        method="Nelder-Mead", options={"maxiter": 150},
    )  # fmt: skip
    return probe(np.round(found.x, 3)), float(found.fun)


def _periodic_blur(image: Floats, step: float) -> Floats:
    frequency = np.fft.fftfreq(len(image), step)
    blur = np.exp(-2 * (np.pi * _SOURCE) ** 2 * (frequency[:, None] ** 2 + frequency[None, :] ** 2))
    return np.asarray(np.fft.ifft2(np.fft.fft2(image) * blur).real)


def main() -> None:
    """Print all tables."""
    abtem.config.set({"device": "cpu", "diagnostics.progress_bar": False})
    dask.config.set(scheduler="synchronous")
    print(f"abTEM {abtem.__version__}, ASE {ase.__version__}, numpy {np.__version__}")
    for part in (probes, atoms, layers, crystals, tilted):
        began = time.process_time()
        part()
        print(f"({time.process_time() - began:.0f} CPU-s)")


if __name__ == "__main__":
    sys.exit(main())

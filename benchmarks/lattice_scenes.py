"""Scenes of `benchmarks/lattice.py`: lattices of known type, mixed phases, strained crystals.

T0 is what the method was developed on, with other seeds. T1 differs in spacing, probe, sites in the cell,
noise (Poisson) and scan distortion, and its scenes without a lattice are of other kinds.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from micdb.embed.lattice.bravais import TYPES
from micdb.embed.simulate.plane_lattices import (
    blobs,
    distorted,
    even_cell,
    lattice_points,
    random_cell,
    with_noise,
)

Floats = npt.NDArray[np.float64]

CLASSES = (*TYPES, "none")
SIDE = 128  # [pixel]
_SPACING = {"T0": ((8.0, 16.0),), "T1": ((6.0, 7.9), (16.1, 19.0))}  # [pixel]
_PROBE = {"T0": (0.15, 0.25), "T1": (0.11, 0.3)}  # [spacing]
_SHEAR = 0.007  # standard deviation of each entry of T1's scan distortion
_LINE = 0.15  # [pixel] T1's jitter of scan lines


def typed(kind: str, tier: str, *, snr: float, seed: int) -> Floats:
    """Return an image ``(SIDE, SIDE)`` of a lattice of a type, or of none, at a signal-to-noise ratio."""
    rng = np.random.default_rng([seed, CLASSES.index(kind), round(100 * snr), tier == "T1"])
    spans = _SPACING[tier]
    spacing = spans[rng.integers(len(spans))]
    if kind == "none":
        return _grainy(_disorder(tier, spacing, rng), tier, snr, rng)
    vectors = random_cell(kind, seed=int(rng.integers(2**31)), spacing=spacing)
    near = float(np.hypot(*vectors.T).min())
    sites = ((0.0, 0.0), (0.37, 0.29)) if tier == "T1" and rng.random() < 0.3 else ((0.0, 0.0),)
    xy, site = lattice_points(
        vectors, (SIDE, SIDE), seed=int(rng.integers(2**31)), sites=sites, jitter=0.03,
        vacancies=rng.uniform(0, 0.1),
    )  # fmt: skip
    if tier == "T1":
        xy = (xy - SIDE / 2) @ (np.eye(2) + rng.normal(0, _SHEAR, (2, 2))) + SIDE / 2
    height = np.where(site == 0, 1.0, 0.45)
    return _grainy(
        blobs(xy, (SIDE, SIDE), sigma=near * rng.uniform(*_PROBE[tier]), height=height), tier, snr, rng
    )


def close(kind: str, *, seed: int) -> Floats:
    """Return an image at SNR 1 of a lattice that may be next to a more special one, distorted by 1 %."""
    number = 1000 * CLASSES.index(kind) + seed
    vectors = distorted(even_cell(kind, seed=number), 0.01, seed=number)
    xy, _ = lattice_points(vectors, (SIDE, SIDE), seed=seed, jitter=0.03, vacancies=0.05)
    return with_noise(blobs(xy, (SIDE, SIDE), sigma=2.0), snr=1.0, seed=seed)


def _disorder(tier: str, spacing: tuple[float, float], rng: np.random.Generator) -> Floats:
    kind, near = rng.integers(3), rng.uniform(*spacing)
    if kind == 0:
        return np.zeros((SIDE, SIDE))
    if tier == "T0":
        if kind == 1:  # a gas of atoms
            xy = rng.uniform(-10, SIDE + 10, (round(SIDE**2 / near**2), 2))
            return blobs(xy, (SIDE, SIDE), sigma=0.2 * near)
        return np.asarray(ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), rng.uniform(1, 4)))
    if kind == 1:  # a liquid: no two atoms nearer than 0.8 spacings
        kept = np.empty((0, 2))
        for point in rng.uniform(-10, SIDE + 10, (20 * round(SIDE**2 / near**2), 2)):
            if not len(kept) or np.hypot(*(kept - point).T).min() > 0.8 * near:
                kept = np.vstack((kept, point))
        return blobs(kept, (SIDE, SIDE), sigma=0.2 * near)
    angle, y, x = rng.uniform(0, math.pi), *np.mgrid[:SIDE, :SIDE]  # fringes
    return np.asarray(np.exp(np.cos(2 * math.pi * (x * math.cos(angle) + y * math.sin(angle)) / near)))


def _grainy(clean: Floats, tier: str, snr: float, rng: np.random.Generator) -> Floats:
    if tier == "T0":
        return with_noise(clean, snr=snr, seed=int(rng.integers(2**31)))
    shifts = rng.normal(0, _LINE, SIDE)
    rows = np.arange(SIDE, dtype=float)
    clean = np.stack([np.interp(rows - shift, rows, line) for shift, line in zip(shifts, clean, strict=True)])
    background = 0.2 * max(float(clean.max()), 1e-9) if clean.std() > 0 else 1.0
    level = clean + background
    # counts for which the standard deviation of the signal is snr times that of Poisson noise
    dose = snr**2 * float(level.mean()) / max(float(clean.var()), 1e-9) if clean.std() > 0 else 10.0
    return np.asarray(rng.poisson(level * dose), dtype=np.float64)


def mixed(tier: str, *, snr: float, seed: int, side: int = 256) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return an image with two regions that meet at a curve, and the label of each pixel, 0 or 1.

    Odd seeds show one lattice at two rotations 8 to 22 deg apart, even ones two types.
    """
    rng = np.random.default_rng([seed, round(100 * snr), tier == "T1"])
    spacing = (8.0, 12.0) if tier == "T0" else (12.5, 15.0)
    first = int(rng.integers(5))
    cells = [random_cell(TYPES[first], seed=int(rng.integers(2**31)), spacing=spacing)]
    if seed % 2:
        turn = math.radians(rng.uniform(8, 22)) * rng.choice([-1, 1])
        cells.append(
            cells[0] @ np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
        )
    else:
        second = (first + int(rng.integers(1, 5))) % 5
        cells.append(random_cell(TYPES[second], seed=int(rng.integers(2**31)), spacing=spacing))
    angle, centre = rng.uniform(0, 2 * math.pi), side / 2 + rng.uniform(-30, 30, 2)
    wave = (rng.uniform(8, 25), rng.uniform(80, 200), rng.uniform(0, 6))

    def region(x: Floats, y: Floats) -> npt.NDArray[np.int64]:
        dx, dy = x - centre[0], y - centre[1]
        along = -dx * math.sin(angle) + dy * math.cos(angle)
        bend = wave[0] * np.sin(2 * math.pi * along / wave[1] + wave[2])
        return (dx * math.cos(angle) + dy * math.sin(angle) + bend > 0).astype(np.int64)

    parts = []
    for label, vectors in enumerate(cells):
        xy, _ = lattice_points(
            vectors, (side, side), seed=int(rng.integers(2**31)), jitter=0.03, vacancies=0.05
        )
        parts.append(xy[region(xy[:, 0], xy[:, 1]) == label])
    near = min(float(np.hypot(*vectors.T).min()) for vectors in cells)
    image = blobs(np.concatenate(parts), (side, side), sigma=near * (0.2 if tier == "T0" else 0.14))
    y, x = np.mgrid[:side, :side].astype(float)
    return with_noise(image, snr=snr, seed=int(rng.integers(2**31))), region(x, y)


def strained(
    kind: str, tier: str, *, counts: float, seed: int, side: int = 256
) -> tuple[Floats, Floats, Floats]:
    """Return an image of Poisson counts, its unstrained basis, and the deformation ``(y, x, 2, 2)``.

    Displacements are waves with strains up to about 2 %, one wavelength over the image (T1: 1.5 of them).
    """
    rng = np.random.default_rng([seed, tier == "T1", TYPES.index(kind)])
    vectors = random_cell(kind, seed=seed, spacing=(11.0, 12.0) if tier == "T0" else (9.0, 10.0))
    k = 2 * math.pi / side * (1.0 if tier == "T0" else 1.5)
    height, phase = 0.01 / k * rng.uniform(0.7, 1.3, (2, 2)), rng.uniform(0, 6, (2, 2))

    def displacement(xy: Floats) -> Floats:
        return np.stack(
            [(height[axis] * np.sin(k * xy + phase[axis])).sum(axis=1) for axis in (0, 1)], axis=1
        )

    # what is seen at a place came from elsewhere: the deformation is evaluated there
    y, x = np.mgrid[:side, :side].astype(float)
    place = np.stack((x, y), axis=-1).reshape(-1, 2)
    before = place.copy()
    for _ in range(8):
        before = place - displacement(before)
    slope = height[None] * k * np.cos(k * before[:, None, :] + phase[None])
    deformation = (np.eye(2) + slope).reshape(side, side, 2, 2)
    xy, _ = lattice_points(vectors, (side, side), seed=seed, displacement=displacement)
    image = blobs(xy, (side, side), sigma=2.2 if tier == "T0" else 1.8)
    return np.asarray(rng.poisson(counts * (image + 0.1)), dtype=np.float64), vectors, deformation

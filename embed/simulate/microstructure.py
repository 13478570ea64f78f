"""SEM-like microstructures of steels and foams, drawn from objects that lie in nanometres.

The same seed gives the same objects at every pixel size. Particle sizes are log-normal, grains and
colonies are Voronoi cells, lamellae are bent by a smooth random field. `scan` turns a scene into
what a detector records: edge effect, shading, blur, shot noise, eight bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from micdb.embed.simulate.stem import smooth_noise

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class View:
    """A field of view.

    Parameters
    ----------
    shape
        ``(y, x)`` [pixel].
    pixel_size
        [nm].
    """

    shape: tuple[int, int]
    pixel_size: float

    @property
    def extent(self) -> tuple[float, float]:
        """``(y, x)`` [nm]."""
        return self.shape[0] * self.pixel_size, self.shape[1] * self.pixel_size

    def grid(self) -> tuple[Floats, Floats]:
        """Return ``y`` as a column and ``x`` as a row [nm], at pixel centres."""
        y = (np.arange(self.shape[0], dtype=np.float64) + 0.5) * self.pixel_size
        x = (np.arange(self.shape[1], dtype=np.float64) + 0.5) * self.pixel_size
        return y[:, None], x[None, :]

    def points(self) -> Floats:
        """Return the pixel centres as ``(y * x, 2)`` x, y [nm]."""
        y, x = np.broadcast_arrays(*self.grid())
        return np.column_stack((x.ravel(), y.ravel()))


@dataclass(frozen=True, slots=True)
class Scene:
    """A microstructure before any detector.

    Parameters
    ----------
    coverage
        Share of the second phase in each pixel ``(y, x)``, 0 to 1: the mask, with smooth edges.
    relief
        Brightness of the matrix ``(y, x)``, about 0: orientation contrast of grains.
    pixel_size
        [nm].
    truth
        What was drawn: sizes [nm], fractions.
    """

    coverage: Floats
    relief: Floats
    pixel_size: float
    truth: dict[str, float] = field(default_factory=dict)


def spheroidite(
    view: View, *, diameter: float, seed: int, fraction: float = 0.15, spread: float = 0.35
) -> Scene:
    """Draw round carbides in ferrite.

    Parameters
    ----------
    view
        Field of view.
    diameter
        Median diameter [nm].
    seed
        Of sizes and positions.
    fraction
        Area fraction before overlaps.
    spread
        Standard deviation of the logarithm of the diameter.
    """
    rng = np.random.default_rng(seed)
    mean_area = math.pi / 4 * diameter**2 * math.exp(2 * spread**2)
    count = max(1, round(fraction * math.prod(view.extent) / mean_area))
    centres = _spread_points(count, view.extent, rng)
    radii = diameter / 2 * np.exp(rng.normal(0.0, spread, count))
    stretch, angle = np.exp(rng.normal(0.0, 0.15, count)), rng.uniform(0, math.pi, count)
    coverage = np.zeros(view.shape)
    for centre, radius, ratio, turn in zip(centres, radii, stretch, angle, strict=True):
        _stamp(coverage, view, centre=centre, radius=radius, ratio=ratio, turn=turn)
    relief = _grain_relief(view, grain=25 * diameter, rng=rng)
    truth = {"median_diameter_nm": diameter, "fraction": float(coverage.mean()), "particles": float(count)}
    return Scene(coverage, relief, view.pixel_size, truth)


def pearlite(view: View, *, spacing: float, seed: int, fraction: float = 0.3, colony: float = 12.0) -> Scene:
    """Draw colonies of lamellae.

    Parameters
    ----------
    view
        Field of view.
    spacing
        Distance from lamella to lamella [nm].
    seed
        Of colonies, directions and bending.
    fraction
        Share of carbide.
    colony
        Size of a colony in units of `spacing`.
    """
    rng = np.random.default_rng(seed)
    cell, _, n = _voronoi(view, size=colony * spacing, rng=rng)
    angle, phase = rng.uniform(0, math.pi, n), rng.uniform(0, 1, n)
    local = spacing * np.exp(rng.normal(0.0, 0.08, n))
    bend = _waves(view, length=4 * spacing, rng=rng) * 0.25 * spacing
    y, x = view.grid()
    across = x * np.cos(angle)[cell] + y * np.sin(angle)[cell] + bend
    turn = (across / local[cell] + phase[cell]) % 1.0
    distance = (fraction / 2 - np.abs(turn - 0.5)) * local[cell]  # [nm] positive inside a lamella
    relief = 0.12 * rng.normal(size=n)[cell]
    return Scene(_smooth_step(distance, view), relief, view.pixel_size, {"spacing_nm": spacing})


def network(view: View, *, grain: float, seed: int, width: float = 0.05) -> Scene:
    """Draw a carbide film along grain boundaries.

    Parameters
    ----------
    view
        Field of view.
    grain
        Grain size [nm].
    seed
        Of the grains.
    width
        Thickness of the film in units of `grain`.
    """
    rng = np.random.default_rng(seed)
    cell, boundary, count = _voronoi(view, size=grain, rng=rng)
    swell = 1 + 0.5 * _waves(view, length=grain / 2, rng=rng)
    relief = 0.1 * rng.normal(size=count)[cell]
    truth = {"grain_nm": grain, "film_nm": width * grain}
    return Scene(_smooth_step(width * grain * swell / 2 - boundary, view), relief, view.pixel_size, truth)


def porous(view: View, *, length: float, seed: int, fraction: float = 0.4) -> Scene:
    """Draw a bicontinuous foam: a level set of a random field (Cahn, J. Chem. Phys. 42, 93, 1965).

    Parameters
    ----------
    view
        Field of view.
    length
        Mean distance of ligaments [nm].
    seed
        Of the field.
    fraction
        Share of solid.
    """
    rng = np.random.default_rng(seed)
    level = _waves(view, length=length, rng=rng, band=0.1)
    edge = float(np.quantile(level, 1 - fraction))
    coverage = _smooth_step((level - edge) * length / 9, view)  # length / 9: about 1 / gradient of the field
    relief = 0.1 * _waves(view, length=2 * length, rng=rng)
    return Scene(coverage, relief, view.pixel_size, {"length_nm": length, "fraction": fraction})


#: Scenes by the microconstituent they show, each as a function of view, characteristic length [nm] and seed.
SCENES: dict[str, Callable[[View, float, int], Scene]] = {
    "spheroidite": lambda view, length, seed: spheroidite(view, diameter=length, seed=seed),
    "pearlite": lambda view, length, seed: pearlite(view, spacing=length, seed=seed),
    "network": lambda view, length, seed: network(view, grain=length, seed=seed),
    "porous": lambda view, length, seed: porous(view, length=length, seed=seed),
}


@dataclass(frozen=True, slots=True)
class Detector:
    """How a scene is recorded.

    Parameters
    ----------
    contrast, brightness
        Grey levels between matrix and second phase, and of the matrix, of 255.
    edge
        Edge effect of secondary electrons, relative to the contrast.
    electrons
        Mean electrons per pixel: shot noise.
    blur
        Standard deviation of the beam [nm].
    shading
        Slow change of brightness across the field, relative to the contrast.
    """

    contrast: float = 110.0
    brightness: float = 70.0
    edge: float = 0.5
    electrons: float = 150.0
    blur: float = 12.0
    shading: float = 0.3


def scan(scene: Scene, detector: Detector, *, seed: int) -> npt.NDArray[np.uint8]:
    """Return the image a detector records ``(y, x)``; shading, blur and noise from `seed`."""
    rng = np.random.default_rng(seed)
    blur = detector.blur / scene.pixel_size
    phase = ndimage.gaussian_filter(scene.coverage, max(blur, 0.4))
    rim = np.hypot(*np.gradient(phase)) * 4
    grain = ndimage.gaussian_filter(scene.relief, max(blur, 0.4)) * (1 - phase)
    slow = smooth_noise(scene.coverage.shape, scale=min(scene.coverage.shape) / 2, rng=rng) - 0.5
    signal = phase + detector.edge * np.minimum(rim, 1.0) + grain + detector.shading * slow
    grey = np.maximum(detector.brightness + detector.contrast * signal, 1.0)
    gain = detector.electrons / (detector.brightness + detector.contrast / 2)
    counted = np.clip(rng.poisson(grey * gain) / gain, 0, 255)
    return np.asarray(counted.round(), dtype=np.uint8)


def _spread_points(count: int, extent: tuple[float, float], rng: np.random.Generator) -> Floats:
    """Return points x, y [nm] that keep some distance: the best of three candidates (Mitchell 1991)."""
    upper = np.array([extent[1], extent[0]])
    chosen = rng.uniform(0, upper, (count, 2))
    trials = rng.uniform(0, upper, (3, count, 2))
    gaps = np.stack([cKDTree(chosen).query(trial)[0] for trial in trials])
    better = np.argmax(gaps, axis=0)
    crowded = cKDTree(chosen).query(chosen, k=min(2, count))[0].reshape(count, -1)[:, -1]
    moved = gaps[better, np.arange(count)] > crowded
    chosen[moved] = trials[better, np.arange(count)][moved]
    return chosen


def _stamp(coverage: Floats, view: View, *, centre: Floats, radius: float, ratio: float, turn: float) -> None:
    """Add one ellipse of area pi radius**2 to the coverage, in place."""
    p = view.pixel_size
    reach = radius * max(ratio, 1 / ratio) + 2 * p
    left, right = (max(0, int((centre[0] + sign * reach) / p) + (sign > 0)) for sign in (-1, 1))
    top, bottom = (max(0, int((centre[1] + sign * reach) / p) + (sign > 0)) for sign in (-1, 1))
    patch = coverage[top:bottom, left:right]
    if patch.size == 0:
        return
    y = (np.arange(top, top + patch.shape[0]) + 0.5)[:, None] * p - centre[1]
    x = (np.arange(left, left + patch.shape[1]) + 0.5)[None, :] * p - centre[0]
    along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    distance = radius - np.hypot(along / ratio, across * ratio)
    np.maximum(patch, _smooth_step(distance, view), out=patch)


def _smooth_step(distance: Floats, view: View) -> Floats:
    """Return the share of a pixel inside, from the signed distance to the edge [nm]."""
    return np.clip(distance / view.pixel_size + 0.5, 0.0, 1.0)


def _voronoi(
    view: View, *, size: float, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], Floats, int]:
    """Return the cell number of each pixel, its distance to the nearest boundary [nm], and the cells."""
    height, width = view.extent
    margin = 2 * size
    count = max(4, round((height + 2 * margin) * (width + 2 * margin) / size**2))
    seeds = rng.uniform([-margin, -margin], [width + margin, height + margin], (count, 2))
    points = view.points()
    near, index = cKDTree(seeds).query(points, k=2)
    gap = np.linalg.norm(seeds[index[:, 0]] - seeds[index[:, 1]], axis=1)
    boundary = (near[:, 1] ** 2 - near[:, 0] ** 2) / (2 * np.maximum(gap, 1e-9))
    return index[:, 0].reshape(view.shape), boundary.reshape(view.shape), count


def _grain_relief(view: View, *, grain: float, rng: np.random.Generator) -> Floats:
    cell, _, count = _voronoi(view, size=grain, rng=rng)
    return np.asarray(0.06 * rng.normal(size=count)[cell])


def _waves(
    view: View, *, length: float, rng: np.random.Generator, count: int = 48, band: float = 0.3
) -> Floats:
    """Return a random field of unit variance: plane waves of about one wavelength [nm], any direction."""
    angle = rng.uniform(0, 2 * math.pi, count)
    k = 2 * math.pi / length * np.exp(rng.normal(0.0, band, count))
    phase = rng.uniform(0, 2 * math.pi, count)
    y, x = view.grid()
    # a plane wave is a product of functions of x and of y: one matrix product draws all of them
    rows = np.exp(1j * (y * (k * np.sin(angle))[None, :] + phase))
    columns = np.exp(1j * (x.T * (k * np.cos(angle))[None, :]))
    return np.asarray((rows @ columns.T).real * math.sqrt(2 / count))

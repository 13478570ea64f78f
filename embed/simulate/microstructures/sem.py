"""Scanning electron micrographs of a scene, with what detector, beam and preparation do to them.

Secondary electrons: the yield grows as 1 / cos of the slope, edges shine, and the detector's side is
brighter (Reimer, Scanning Electron Microscopy, 2nd ed., 1998, chapters 4 and 6); close to something high
fewer escape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from micdb.embed.simulate.microstructures import artefacts
from micdb.embed.simulate.microstructures.view import Scene
from micdb.embed.simulate.stem import smooth_noise

Floats = npt.NDArray[np.float64]
Grey = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

_STEEPEST = 3.0  # 1 / cos where the growth of the yield ends: the escape depth limits it (Reimer 1998)


@dataclass(frozen=True, slots=True)
class Detector:
    """How a scene is recorded.

    What is relative to the contrast adds to a signal that is 0 in the matrix and 1 in the second phase.

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
    topography
        Of scenes with a height: yield of slopes, relative to the contrast.
    side
        The same for slopes that face the detector, which is on the right.
    shadow
        Darkness beside what is higher, relative to the contrast.
    charging
        Bright halos about objects that charge, and streaks after them along the lines, relative to the
        contrast.
    curtaining
        Stripes of ion milling along y, relative to the contrast.
    scratches
        Depth of polishing scratches, relative to the contrast.
    roughness
        Etch relief finer than the structure, relative to the contrast.
    jitter
        Standard deviation of each line's displacement along x [nm].
    gamma
        Of the contrast curve: grey levels go as its power.
    bits
        8 or 16 per pixel.
    """

    contrast: float = 110.0
    brightness: float = 70.0
    edge: float = 0.5
    electrons: float = 150.0
    blur: float = 12.0
    shading: float = 0.3
    topography: float = 0.5
    side: float = 0.15
    shadow: float = 0.4
    charging: float = 0.0
    curtaining: float = 0.0
    scratches: float = 0.0
    roughness: float = 0.0
    jitter: float = 0.0
    gamma: float = 1.0
    bits: Literal[8, 16] = 8


@dataclass(frozen=True, slots=True)
class Micrograph:
    """An image and the same without noise.

    Parameters
    ----------
    image
        ``(y, x)``, `Detector.bits` per pixel.
    clean
        What is expected at each pixel ``(y, x)`` float32, in grey levels of the image: without shot noise.
    scene
        What was there.
    """

    image: Grey
    clean: npt.NDArray[np.float32]
    scene: Scene


def scan(scene: Scene, detector: Detector, *, seed: int) -> Grey:
    """Return the image a detector records ``(y, x)``; artefacts and noise from `seed`."""
    return record(scene, detector, seed=seed).image


def record(scene: Scene, detector: Detector, *, seed: int) -> Micrograph:
    """Return the image a detector records, with the same free of noise; artefacts and noise from `seed`."""
    rng = np.random.default_rng(seed)
    phase, signal = _signal(scene, detector)
    slow = smooth_noise(scene.coverage.shape, scale=min(scene.coverage.shape) / 2, rng=rng) - 0.5
    signal = signal + detector.shading * slow
    signal = artefacts.added(signal, phase, detector, pixel_size=scene.pixel_size, seed=seed)
    grey = np.maximum(detector.brightness + detector.contrast * signal, 1.0)
    if detector.gamma != 1:
        grey = 255 * np.maximum(grey / 255, 1 / 255) ** detector.gamma
    gain = detector.electrons / (detector.brightness + detector.contrast / 2)
    counted = np.clip(rng.poisson(grey * gain) / gain, 0, 255)
    scale = 1 if detector.bits == 8 else 257  # 65535 / 255
    whole = (counted * scale).round()
    image: Grey = whole.astype(np.uint8) if detector.bits == 8 else whole.astype(np.uint16)
    return Micrograph(image, (np.clip(grey, 0, 255) * scale).astype(np.float32), scene)


def _signal(scene: Scene, detector: Detector) -> tuple[Floats, Floats]:
    """Return the second phase as the beam blurs it, and the signal of the specimen itself."""
    blur = max(detector.blur / scene.pixel_size, 0.4)
    phase = ndimage.gaussian_filter(scene.coverage, blur)
    rim = np.hypot(*np.gradient(phase)) * 4
    grain = ndimage.gaussian_filter(scene.relief, blur) * (1 - phase)
    signal = phase + detector.edge * np.minimum(rim, 1.0) + grain
    if scene.tone is not None:
        signal = signal + ndimage.gaussian_filter(scene.tone, blur) * phase
    if scene.height is not None:
        signal = signal + _topography(scene, detector, scene.height, blur)
    return phase, signal


def _topography(scene: Scene, detector: Detector, height: Floats, blur: float) -> Floats:
    """Return what slopes and hollows add to the signal."""
    surface = ndimage.gaussian_filter(height, blur)
    down, right = np.gradient(surface, scene.pixel_size)
    steepness = np.sqrt(1 + down**2 + right**2)  # 1 / cos of the slope
    brighter = np.minimum(steepness - 1, _STEEPEST - 1) / (_STEEPEST - 1)
    facing = -right / steepness
    span = max(float(np.ptp(height)), scene.pixel_size)
    reach = round(span / scene.pixel_size) | 1  # hollows are as wide as their walls are high
    around = ndimage.uniform_filter(ndimage.uniform_filter(surface, reach), reach)
    walls = np.maximum(around - surface, 0.0) / span
    return np.asarray(detector.topography * brighter + detector.side * facing - 3 * detector.shadow * walls)

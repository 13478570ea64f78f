"""Images of scenes at random, as a scanning electron microscope or a transmitted beam shows them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from micdb.embed.simulate.microstructures.mass_thickness import Transmission, look_through
from micdb.embed.simulate.microstructures.sem import Detector, Micrograph, record
from micdb.embed.simulate.microstructures.varied_scenes import KINDS, random_scene
from micdb.embed.simulate.microstructures.view import Scene, View

Range = tuple[float, float]
Image = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SemRanges:
    """From what `random_detector` draws.

    Parameters
    ----------
    electrons
        Per pixel, log-uniform: a fast scan has about 5, a slow one hundreds.
    blur
        [pixel].
    contrast, brightness
        [grey level of 255].
    edge, shading, topography, shadow, gamma
        As in `Detector`.
    fault
        Chance of each artefact, and its largest strength as in `Detector`.
    jitter
        Largest [pixel].
    inverted
        Chance that the second phase is darker.
    """

    electrons: Range = (5.0, 2000.0)
    blur: Range = (0.4, 1.8)
    contrast: Range = (35.0, 150.0)
    brightness: Range = (40.0, 110.0)
    edge: Range = (0.0, 1.0)
    shading: Range = (0.0, 0.6)
    topography: Range = (0.1, 0.9)
    shadow: Range = (0.0, 0.7)
    gamma: Range = (0.65, 1.5)
    fault: Range = (0.25, 0.6)
    jitter: float = 0.6
    inverted: float = 0.25


_RANGES = SemRanges()


def random_micrograph(
    view: View,
    *,
    seed: int,
    kinds: Sequence[str] = tuple(KINDS),
    length: float | None = None,
    ranges: SemRanges = _RANGES,
) -> tuple[str, Micrograph]:
    """Return a kind and an SEM image of it, proportions and detector at random.

    Parameters
    ----------
    view
        Field of view.
    seed
        Of everything.
    kinds
        Which of `KINDS`, each as likely.
    length
        Characteristic length [nm]; None: log-uniform between what the pixels and the field allow.
    ranges
        Of the detector.

    Raises
    ------
    UsageError
        For a kind there is none of.
    """
    rng = np.random.default_rng((seed, 1))
    kind = str(rng.choice(list(kinds)))
    scene = random_scene(view, kind, seed=seed, length=length)
    return kind, record(scene, random_detector(view.pixel_size, seed=seed, ranges=ranges), seed=seed)


def random_detector(pixel_size: float, *, seed: int, ranges: SemRanges = _RANGES) -> Detector:
    """Return a detector at random.

    Parameters
    ----------
    pixel_size
        [nm].
    seed
        Of the settings.
    ranges
        Of the settings.
    """
    rng = np.random.default_rng((seed, 3))
    contrast, brightness = rng.uniform(*ranges.contrast), rng.uniform(*ranges.brightness)
    dark = rng.random() < ranges.inverted
    chance, worst = ranges.fault
    faults = np.where(rng.random(5) < chance, rng.uniform(0, worst, 5), 0.0).tolist()
    return Detector(
        contrast=-contrast if dark else contrast, brightness=250 - brightness if dark else brightness,
        edge=rng.uniform(*ranges.edge), electrons=_log(rng, *ranges.electrons),
        blur=pixel_size * rng.uniform(*ranges.blur), shading=rng.uniform(*ranges.shading),
        topography=rng.uniform(*ranges.topography), shadow=rng.uniform(*ranges.shadow),
        side=rng.uniform(0, 0.3),
        charging=faults[0], curtaining=faults[1] / 2, scratches=faults[2], roughness=faults[3] / 2,
        jitter=min(faults[4], ranges.jitter) * pixel_size, gamma=_log(rng, *ranges.gamma),
    )  # fmt: skip


def random_transmission(view: View, *, seed: int, dark: bool = True) -> tuple[Scene, Image, Image]:
    """Return particles looked through: the scene, the counts, and the counts expected.

    Parameters
    ----------
    view
        Field of view.
    seed
        Of everything.
    dark
        Annular dark field, or bright field.
    """
    rng = np.random.default_rng((seed, 5))
    scene = random_scene(view, "particles", seed=seed)
    diameter = scene.truth["median_diameter_nm"]
    transmission = Transmission(
        dark=dark, mean_free_path=diameter * _log(rng, 0.3, 6.0), support=_log(rng, 0.03, 1.0),
        uneven=rng.uniform(0.1, 0.8), support_length=diameter * _log(rng, 1.0, 12.0),
        counts=_log(rng, 10.0, 3000.0), blur=view.pixel_size * rng.uniform(0.3, 1.8),
    )  # fmt: skip
    return scene, *look_through(scene, transmission, seed=seed)


def _log(rng: np.random.Generator, least: float, most: float) -> float:
    return math.exp(rng.uniform(math.log(least), math.log(most)))

"""Crystal defects in diffraction-contrast TEM and STEM, with masks, line length, numbers and diameters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from micdb.embed.simulate.microstructures.canvas import Canvas
from micdb.embed.simulate.microstructures.dislocations import Line, draw_lines, inside, lengths, shade
from micdb.embed.simulate.microstructures.foil import Beams, Foil, beams
from micdb.embed.simulate.microstructures.inclusions import (
    Painting,
    Population,
    draw_loops,
    draw_precipitates,
    draw_voids,
)
from micdb.embed.simulate.microstructures.view import Bools, Ints, Objects, View
from micdb.embed.simulate.microstructures.waves import waves
from micdb.embed.simulate.probe import wavelength

Floats = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]

#: Classes of defects, in the order of the masks.
DEFECTS = ("line", "loop", "precipitate", "void")

_LOOPS, _PRECIPITATES = Population(2e-4, 14.0), Population(5e-5, 20.0)
_VOIDS = Population(1e-4, 10.0, 0.3, (0.15, 0.4))


@dataclass(frozen=True, slots=True)
class Content:
    """What is in the crystal.

    Parameters
    ----------
    lines
        Length of dislocations over volume [nm**-2]; 1e-4 is 1e14 per m**2.
    loops, precipitates, voids
        Populations.
    inclination
        Range of the angle of lines against the foil's plane [deg].
    waviness
        How much the direction changes along a line [radian].
    strength
        Range of the contrast of lines, as a share of the intensity.
    """

    lines: float = 1e-4
    loops: Population = _LOOPS
    precipitates: Population = _PRECIPITATES
    voids: Population = _VOIDS
    inclination: tuple[float, float] = (15.0, 60.0)
    waviness: float = 0.4
    strength: tuple[float, float] = (0.4, 0.85)


@dataclass(frozen=True, slots=True)
class Camera:
    """How the beam is recorded.

    Parameters
    ----------
    counts
        Electrons per pixel without a specimen.
    blur
        Standard deviation of the probe or of the camera's blur [nm].
    defocus
        Underfocus is positive [nm]; it gives voids their rim. STEM in focus: 0.
    voltage
        [kV].
    dark_field
        The diffracted beam: lines bright on dark.
    mottle
        Standard deviation of the surface's fine contrast (oxide, ion damage), relative.
    mottle_length
        Its wavelength [nm].
    """

    counts: float = 300.0
    blur: float = 0.8
    defocus: float = 1000.0
    voltage: float = 200.0
    dark_field: bool = False
    mottle: float = 0.04
    mottle_length: float = 12.0

    @property
    def fringe(self) -> float:
        """Width of the first Fresnel fringe [nm], negative in overfocus."""
        return math.copysign(math.sqrt(wavelength(self.voltage) * abs(self.defocus)), self.defocus)


@dataclass(frozen=True, slots=True)
class DefectImage:
    """A simulated image and its truth.

    Parameters
    ----------
    image
        Counts ``(y, x)``.
    clean
        Counts expected ``(y, x)``: without noise.
    pixel_size
        [nm].
    masks
        Of each of `DEFECTS` ``(4, y, x)``; they may overlap.
    instance
        Loop, precipitate or void seen at each pixel ``(y, x)``: its row in `objects` plus 1, or 0.
    objects
        Loops, precipitates and voids; their kind counts from 0 in `DEFECTS`.
    lines
        Projections of the dislocations, each ``(n, 2)`` x, y [nm] from the top-left pixel centre: the parts
        within the field, which may be empty.
    excited
        How strongly defects show ``(y, x)``, 0 to 1: far from the Bragg angle the truth is hardly seen.
    truth
        ``line_length_nm`` in projection, ``line_length_3d_nm``, ``line_density_nm-2`` (length over volume),
        and of each other kind the number and the mean diameter [nm]: of loops the long axis.
    """

    image: Image
    clean: Image
    pixel_size: float
    masks: Bools
    instance: Ints
    objects: Objects
    lines: tuple[Floats, ...]
    excited: Image
    truth: dict[str, float]


_FOIL, _CONTENT, _CAMERA = Foil(), Content(), Camera()


def defect_image(
    view: View, *, seed: int, foil: Foil = _FOIL, content: Content = _CONTENT, camera: Camera = _CAMERA
) -> DefectImage:
    """Image defects in a foil.

    Parameters
    ----------
    view
        Field of view; pixels of 0.3 to 3 nm.
    seed
        Of everything; the same seed gives the same defects at every pixel size.
    foil
        The crystal.
    content
        What is in it.
    camera
        How it is recorded.
    """
    streams = [np.random.default_rng((seed, number)) for number in range(7)]  # one changes no other
    beam = beams(view, foil, streams[0])
    canvas = Canvas(view)
    shown = np.ones(view.shape)
    painting = Painting(canvas, shown, beam.excited, foil, float(streams[0].uniform(0, math.pi)))
    draw_voids(painting, content.voids, streams[1], kind=3, fringe=camera.fringe)
    draw_precipitates(painting, content.precipitates, streams[2], kind=2)
    draw_loops(painting, content.loops, streams[3], kind=1)
    lines = draw_lines(
        view, foil, density=content.lines, inclination=content.inclination, waviness=content.waviness,
        strength=content.strength, rng=streams[4],
    )  # fmt: skip
    masks = np.zeros((len(DEFECTS), *view.shape), dtype=bool)
    for line in lines:
        shade(shown, masks[0], line, view=view, foil=foil, excited=beam.excited)
    objects = canvas.objects()
    for row, kind in enumerate(objects.kind):
        masks[kind] |= objects.whole(row, view.shape)
    expected = _expected(view, camera, beam, shown, streams[5])
    image = streams[6].poisson(expected).astype(np.float32)
    return DefectImage(
        image, expected.astype(np.float32), view.pixel_size, masks, canvas.instance, objects,
        tuple(line.xy[inside(line, view)] - view.pixel_size / 2 for line in lines),
        beam.excited.astype(np.float32), _truth(view, foil, lines, objects),
    )  # fmt: skip


def _expected(view: View, camera: Camera, beam: Beams, shown: Floats, rng: np.random.Generator) -> Floats:
    """Return the counts expected; in dark field what the direct beam loses is won."""
    mottle = 1 + camera.mottle * waves(view, length=camera.mottle_length, rng=rng, count=96, band=0.5)
    if camera.dark_field:
        signal = 0.3 * beam.dark / np.maximum(shown, 1.0) + beam.bright * np.maximum(1 - shown, 0.0)
    else:
        signal = beam.bright * shown
    blurred = ndimage.gaussian_filter(signal * np.maximum(mottle, 0.0), camera.blur / view.pixel_size)
    return np.asarray(camera.counts * blurred)


def _truth(view: View, foil: Foil, lines: tuple[Line, ...], objects: Objects) -> dict[str, float]:
    flat, whole = lengths(lines, view)
    truth = {
        "line_length_nm": flat, "line_length_3d_nm": whole,
        "line_density_nm-2": whole / (view.area * foil.thickness),
    }  # fmt: skip
    for number, name in enumerate(DEFECTS[1:], start=1):
        mine = objects.kind == number
        truth[f"{name}s"] = float(mine.sum())
        across = objects.axes[:, 0] if name == "loop" else objects.diameter
        truth[f"{name}_diameter_nm"] = float(across[mine].mean()) if mine.any() else math.nan
    return truth

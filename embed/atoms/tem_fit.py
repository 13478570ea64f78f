"""Heights of the columns of a TEM image, by making the image again from them.

The network says about how tall each column is, without knowing focus or aberrations. Here the image is
simulated from those heights, and heights and lens are fitted together by Gauss-Newton steps, the network's
answer as prior. What the image leaves open, all columns a little taller in another focus, is settled by their
being whole numbers. Only a crystal whose columns are known along the beam can be simulated: fcc metals along
[001], [110] and [111], told apart by the angle of their columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import minimize
from scipy.spatial import cKDTree
from scipy.special import logsumexp

from micdb.embed.atoms.tem_heights import TALLEST, Counted, beliefs
from micdb.embed.lattice.positions import fit_positions
from micdb.embed.simulate.hrtem import exit_wave, intensity
from micdb.embed.simulate.metals import METALS
from micdb.embed.simulate.probe import Optics
from micdb.errors import UsageError

Floats = npt.NDArray[np.float64]

_ROUNDS = 5
_VALLEY = 3.0  # [standard deviations] that are looked through for whole numbers
_REACH = 0.3  # [nm] around a column, in which its height changes the image
_FAR = 0.45  # [nm] from all columns: there is no particle
_STEP = 0.5  # [atoms] of the derivative
_LONGEST = 1.5  # [atoms] of a step of Gauss-Newton
_UNSURE = 1.8  # times the sd of counting: errors of 12 simulated particles, with films and tilts, over it
_PRIOR = 1.5  # times the network's standard deviation: it is a look at the same image
_LEAST_SD = 0.4  # [atoms] of the prior
_SMOOTHED = 3.0  # [neighbour distances] over which displacements from the lattice are alike
_SLACK = 0.08  # relative, of the distance of columns
_DARKEST = 0.05  # [mean of the image] that is expected anywhere: no variance is smaller
_APERTURE, _BLUR = 25.0, 0.02  # [mrad], [nm] of the microscopes that are fitted


class _Axis(NamedTuple):
    """Distance of columns, and of atoms along the beam [lattice constants]; angle of the columns [deg]."""

    columns: float
    along: float
    gamma: float


_AXES = (  # [001], [110] and [111] of fcc
    _Axis(0.5, 1.0, 90.0),
    _Axis(math.sqrt(3 / 8), math.sqrt(0.5), 109.5),
    _Axis(math.sqrt(1 / 6), math.sqrt(3.0), 120.0),
)

# Defocus [nm], spherical aberration [um], focal spread [nm], two components of astigmatism [nm]: where
# the fit begins, how far each may usually be, and its first steps.
_START = np.array([6.0, -10.0, 3.0, 0.0, 0.0])
_USUAL = np.array([1.5, 4.0, 0.7, 1.0, 1.0])
_FIRST = np.array([1.0, 3.0, 0.6, 0.5, 0.5])
_TRIALS = 80  # of the simplex of Nelder and Mead


@dataclass(frozen=True, slots=True)
class Fitted:
    """Heights and the microscope that explain an image.

    Parameters
    ----------
    mean, sd
        Of each column's height ``(n,)`` [atoms].
    lens
        The microscope.
    misfit
        Variance of what is left over that of counting.
    """

    mean: Floats
    sd: Floats
    lens: Optics
    misfit: float


def crystal(element: str, xy: Floats) -> tuple[float, Floats] | None:
    """Return the distance of atoms along the beam [nm] and columns where their lattice has them.

    A column is found to some picometres; where its neighbours are tells better where it is.

    Parameters
    ----------
    element
        Symbol.
    xy
        Columns ``(n, 2)`` [nm].

    Returns
    -------
    spacing, xy
        None where they are of no axis that is known.
    """
    constant, lattice = METALS[element].constant, METALS[element].lattice
    if lattice != "fcc":
        return None
    try:
        fit = fit_positions(xy)
    except UsageError:
        return None
    near = min(fit.basis.lengths) / constant
    axis = min(_AXES, key=lambda one: abs(one.gamma - fit.basis.gamma_deg))
    if abs(near / axis.columns - 1) > _SLACK:
        return None
    of = np.flatnonzero(fit.site == 0)
    place, reach = fit.places(), _SMOOTHED * min(fit.basis.lengths)
    distance = cKDTree(place[of]).sparse_distance_matrix(cKDTree(place[of]), reach, output_type="coo_matrix")
    weight = sparse.csr_array(
        (np.square(1 - np.square(distance.data / reach)), (distance.row, distance.col)), shape=distance.shape
    )
    moved = (weight @ fit.residual[of]) / np.asarray(weight.sum(axis=1)).reshape(-1, 1)
    smooth = np.array(xy, dtype=np.float64)
    smooth[of] = place[of] + moved
    return axis.along * constant, smooth


def refined(image: Floats, pixel: float, found: Counted, *, element: str, voltage: float) -> Floats:
    """Return the probability of 1, 2, ... `TALLEST` atoms of each column of a network ``(n, TALLEST)``.

    Parameters
    ----------
    image
        ``(y, x)`` counts.
    pixel
        [nm].
    found
        What the network says; it stays where the crystal is of no axis that can be simulated.
    element
        Symbol.
    voltage
        [kV].
    """
    atoms = np.arange(1, TALLEST + 1)
    mean = found.belief @ atoms
    sd = np.sqrt((found.belief * np.square(atoms - mean[:, None])).sum(axis=1))
    fitted = refine(image, pixel, found.xy * pixel, (mean, sd), element=element, voltage=voltage)
    return found.belief if fitted is None else beliefs(fitted.mean, np.log(fitted.sd), _UNSURE)


def refine(
    image: Floats, pixel: float, xy: Floats, prior: tuple[Floats, Floats], *, element: str, voltage: float
) -> Fitted | None:
    """Fit heights and lens to an image; None where the crystal is not known.

    Parameters
    ----------
    image
        ``(y, x)`` counts.
    pixel
        [nm].
    xy
        Columns ``(n, 2)`` as x, y [nm].
    prior
        Mean and standard deviation of the heights as the network says ``(n,)`` [atoms].
    element
        Symbol.
    voltage
        [kV].
    """
    known = crystal(element, xy)
    if known is None:
        return None
    scene = _Scene(image, pixel, known[1], METALS[element].number, known[0], voltage)
    expected, broad = prior[0], _PRIOR * np.maximum(prior[1], _LEAST_SD)
    n, mean = len(xy), np.maximum(expected, 1.0)
    lens = scene.fitted(mean, _START)
    for _ in range(_ROUNDS):
        noise, misfit = scene.noise(mean, lens)
        slopes, left = scene.slopes(mean, lens)
        weighed = slopes.T @ sparse.diags(1 / (misfit * noise.ravel()))
        normal = (weighed @ slopes).toarray() + np.diag(np.concatenate((broad, _USUAL)) ** -2.0)
        off = np.concatenate(((mean - expected) / broad**2, (lens - _START) / _USUAL**2))
        step = np.linalg.solve(normal, weighed @ left - off)
        step *= min(1.0, _LONGEST / np.abs(step[:n]).max(), 1.0 / np.abs(step[n:] / _USUAL).max())
        mean, lens = np.maximum(mean + step[:n], 0.5), lens + step[n:]
    covariance = np.linalg.inv(normal)[:n, :n]
    alone = np.sqrt(np.diag(np.linalg.inv(normal[:n, :n])))
    scale = _whole(mean, alone, math.sqrt(mean @ covariance @ mean) / float(mean @ mean))
    return Fitted(scale * mean, alone, scene.optics(lens), misfit)


def _whole(mean: Floats, sd: Floats, slack: float) -> float:
    """Return the factor that makes heights whole numbers.

    A little more defocus looks like columns that are all a little taller; what the image leaves open there,
    the atoms decide.

    Parameters
    ----------
    mean, sd
        Of the heights, the lens given ``(n,)`` [atoms].
    slack
        Standard deviation of the factor, as the image tells it.
    """
    atoms = np.arange(1, int(mean.max() * 1.5) + 2)
    factors = np.linspace(1 - _VALLEY * slack, 1 + _VALLEY * slack, _TRIALS + 1)
    scores = [
        float(logsumexp(-0.5 * np.square((atoms - one * mean[:, None]) / sd[:, None]), axis=1).sum())
        - 0.5 * ((one - 1) / slack) ** 2
        for one in factors
    ]
    return float(factors[int(np.argmax(scores))])


@dataclass(frozen=True, slots=True)
class _Scene:
    """An image and the columns it is made again from."""

    image: Floats
    pixel: float
    xy: Floats
    number: int
    spacing: float
    voltage: float

    def optics(self, lens: Floats) -> Optics:
        focus, c3, spread, across, slanted = (float(one) for one in lens)
        return Optics(
            self.voltage, _APERTURE, defocus=focus, c3=c3, source=_BLUR, focal_spread=abs(spread),
            astigmatism=math.hypot(across, slanted),
            astigmatism_angle=math.degrees(math.atan2(slanted, across)) / 2,
        )  # fmt: skip

    def wave(self, heights: Floats) -> npt.NDArray[np.complex128]:
        """Return the wave behind columns; a height that is no whole number ends in a part of an atom."""
        whole = np.maximum(np.ceil(heights - 1e-9).astype(int), 1)
        of = np.repeat(np.arange(len(heights)), whole)
        order = np.arange(len(of)) - np.repeat(np.cumsum(whole) - whole, whole)
        z = (order - (heights[of] - 1) / 2) * self.spacing
        share = np.where(order == whole[of] - 1, heights[of] - order, 1.0)
        xyz, number = np.column_stack((self.xy[of], z)), np.full(len(of), self.number)
        size = self.image.shape
        return exit_wave(xyz, number, size, pixel_size=self.pixel, voltage=self.voltage, share=share)

    def made(self, wave: npt.NDArray[np.complex128], lens: Floats) -> Floats:
        """Return the image, with as many counts as there are."""
        found = intensity(wave, self.pixel, self.optics(lens))
        return np.asarray(found * (self.image.sum() / found.sum()))

    def fitted(self, heights: Floats, start: Floats) -> Floats:
        """Return the lens that explains the image best."""
        wave = self.wave(np.maximum(np.rint(heights), 1.0))

        def surprise(lens: Floats) -> float:
            found = self.made(wave, lens)
            off = np.square(self.image - found) / np.maximum(found, _DARKEST * self.image.mean())
            return float(off.sum() + np.square((lens - _START) / _USUAL).sum())

        simplex = np.vstack((start, start + np.diag(_FIRST)))
        options = {"maxfev": _TRIALS, "initial_simplex": simplex}
        return np.asarray(minimize(surprise, start, method="Nelder-Mead", options=options).x)

    def noise(self, heights: Floats, lens: Floats) -> tuple[Floats, float]:
        """Return the variance of each pixel, with what a film adds, and how much more than that is left."""
        found = self.made(self.wave(heights), lens)
        y, x = np.indices(self.image.shape).reshape(2, -1) * self.pixel
        away = (cKDTree(self.xy).query(np.column_stack((x, y)))[0] > _FAR).reshape(self.image.shape)
        off = np.square(self.image - found)
        film = max(float((off - found)[away].mean()), 0.0) if away.sum() > len(self.xy) else 0.0
        variance = np.maximum(found, _DARKEST * self.image.mean()) + film
        return variance, float((off / variance)[~away].mean())

    def slopes(self, heights: Floats, lens: Floats) -> tuple[sparse.csr_array, Floats]:
        """Return the change of pixels with heights and lens ``(pixels, n + 5)``, and what is left."""
        y, x = np.indices(self.image.shape).reshape(2, -1) * self.pixel
        near = cKDTree(np.column_stack((x, y))).query_ball_point(self.xy, _REACH)
        parts = []
        for group in _apart(self.xy, 2 * _REACH):
            taller, lower = heights.copy(), heights.copy()
            taller[group] += _STEP
            lower[group] = np.maximum(lower[group] - _STEP, 0.3)
            change = self.made(self.wave(taller), lens) - self.made(self.wave(lower), lens)
            parts += [
                (np.array(near[one]), one, change.ravel()[near[one]] / (taller[one] - lower[one]))
                for one in group
            ]
        rows = np.concatenate([pixels for pixels, _, _ in parts])
        columns = np.concatenate([np.full(len(pixels), one) for pixels, one, _ in parts])
        values = np.concatenate([value for _, _, value in parts])
        shape = (self.image.size, len(self.xy))
        wave = self.wave(heights)
        optics = [
            (self.made(wave, lens + shift) - self.made(wave, lens - shift)).ravel() / (2 * shift.max())
            for shift in np.diag(0.1 * _FIRST)
        ]
        left = self.image - self.made(wave, lens)
        local = sparse.csr_array((values, (rows, columns)), shape=shape)
        return sparse.hstack((local, sparse.csr_array(np.column_stack(optics))), format="csr"), left.ravel()


def _apart(xy: Floats, distance: float) -> list[list[int]]:
    """Return groups of columns, in each of which none is nearer to another than a distance."""
    groups: list[list[int]] = []
    near = cKDTree(xy).query_ball_point(xy, distance)
    of = np.full(len(xy), -1)
    for one in range(len(xy)):
        taken = {int(of[other]) for other in near[one]}
        free = next(number for number in range(len(groups) + 1) if number not in taken)
        if free == len(groups):
            groups.append([])
        groups[free].append(one)
        of[one] = free
    return groups

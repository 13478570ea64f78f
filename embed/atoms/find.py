"""From an image to fitted columns: the network says where, the joint fit how exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from micdb.embed import graph
from micdb.embed.atoms.band_pass import Spectrum, apart, flatten
from micdb.embed.atoms.detect import Sampled, heat_map, peaks
from micdb.embed.atoms.fit import Fit, fit_gaussians
from micdb.embed.atoms.heat_map import NM_PER_PIXEL

if TYPE_CHECKING:
    from torch import nn

Floats = npt.NDArray[np.float64]

WIDTH = 0.045  # [nm] standard deviation of a column where nothing better is known
PLANES = (0.06, 0.9)  # [nm] distances of the strongest lattice planes of crystals, higher orders included
_LATTICE = 60.0  # power of the strongest spot over its ring's median; noise reaches 23 in 1e6 samples
_TYPICAL_PLANES = 0.22  # [nm] graphene 0.21, dichalcogenides 0.27, fcc metals 0.20 to 0.24
_SCALES = (0.6, 0.77, 1.0, 1.3, 1.7)  # of the typical one: what is tried when the pixel size is unknown
_MORE = 0.03  # of mean probability that twice the columns are worth
_FINE = 2.0  # [pixel] a column that is wider loses nothing when pixels are averaged
_SAMPLE = 200  # columns that tell the width of all
# The network's own error beyond that of counting [nm]. Where counting leaves more, its positions are the
# better ones: it has learnt what columns and their neighbours look like, the fit sees one window.
_NETWORK = 0.003
# In pure noise the network sees a column now and then, alone and unsure (under 0.77 in 1e4 nm**2): a column
# without another one so near [nm] has to be surer.
_COMPANY, _ALONE = 0.5, 0.8
_SPACING_TOLERANCE = 0.08  # calibrations are a few per cent off; a wrong one, or a wrong lattice, is more
_TOO_CLOSE = 0.06  # [nm] two fits that fell into one column


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns found in an image.

    Parameters
    ----------
    fit
        In pixels of the image, from the top, row by row.
    probability
        The network's ``(n,)``.
    nm_per_pixel
        Pixel size that the network took it for [nm].
    """

    fit: Fit
    probability: Floats
    nm_per_pixel: float


def find(image: Floats, pitch: float | None, network: nn.Module, threshold: float) -> Columns | str:
    """Find and fit the atom columns of an image, or say why there are none.

    Parameters
    ----------
    image
        ``(y, x)``, finite, not constant; columns bright.
    pitch
        Pixel size [nm]; None when unknown.
    network
        The U-Net of `stem-atoms`.
    threshold
        Least probability of a column.
    """
    image = image / float(np.abs(image).max())
    spectrum = Spectrum.of(image)
    reason = _wrong_scale(spectrum, pitch)
    if reason:
        return reason
    assumed, xy, probability = _detect(image, spectrum, pitch, network, threshold)
    near = graph.nearest_distances(xy) * assumed <= _COMPANY
    sure = (probability >= max(_ALONE, threshold)) | near
    xy, probability = xy[sure], probability[sure]
    if not len(xy):
        return f"no atom columns: the network gives none a probability of {threshold:g} or more"
    fit = _blended(_fit(image, xy, width=WIDTH / assumed), xy, floor=_NETWORK / assumed)
    inside = (
        (fit.x >= -0.5) & (fit.x <= image.shape[1] - 0.5) & (fit.y >= -0.5) & (fit.y <= image.shape[0] - 0.5)
    )
    order = np.argsort(-probability, kind="stable")
    order = order[inside[order]]
    places = np.column_stack((fit.x, fit.y))[order]
    order = order[apart(places, _TOO_CLOSE / assumed)]
    order = order[np.lexsort((fit.x[order], np.rint(fit.y[order])))]
    return Columns(Fit(*(getattr(fit, name)[order] for name in Fit.__slots__)), probability[order], assumed)


def unlike(columns: Columns, pitch: float | None, wanted: float | None) -> str | None:
    """Return why columns are not those of a material, by their distance; None where nothing says so.

    Parameters
    ----------
    columns
        As found.
    pitch
        Pixel size [nm]; None when unknown.
    wanted
        Distance of nearest columns that the material has [nm]; None when unknown.
    """
    if wanted is None or pitch is None or len(columns.fit.x) < 2:
        return None
    xy = np.column_stack((columns.fit.x, columns.fit.y))
    near = float(np.median(graph.nearest_distances(xy))) * pitch
    if abs(near / wanted - 1) <= _SPACING_TOLERANCE:
        return None
    return (
        f"by the pixel size of {pitch:.4g} nm its columns are {near:.3g} nm apart; spacing_nm says "
        f"{wanted:g} nm: correct the pixel size, or look at the columns"
    )


def _wrong_scale(spectrum: Spectrum, pitch: float | None) -> str | None:
    """Return why a pixel size is missing or cannot be right, by the strongest lattice planes of the image."""
    if pitch is None and spectrum.ratio < _LATTICE:
        return (
            f"no pixel size, and no lattice to take it from: the strongest spot of the power spectrum is "
            f"{spectrum.ratio:.0f} times its surroundings; {_LATTICE:.0f} times are needed"
        )
    if pitch is None or spectrum.ratio < _LATTICE:
        return None
    planes = spectrum.spacing * pitch
    if PLANES[0] <= planes <= PLANES[1]:
        return None
    return (
        f"by the pixel size of {pitch:.4g} nm its lattice planes are {planes:.3g} nm apart; those "
        f"of crystals are {PLANES[0]:g} to {PLANES[1]:g} nm: the pixel size is wrong, or it shows no atoms"
    )


def _detect(
    image: Floats, spectrum: Spectrum, pitch: float | None, network: nn.Module, threshold: float
) -> tuple[float, Floats, Floats]:
    """Return the pixel size taken [nm], positions ``(n, 2)`` [pixel] and probabilities ``(n,)``."""
    if pitch is not None:
        return pitch, *_ask(image, pitch, network, threshold)
    likely = _TYPICAL_PLANES / spectrum.spacing
    tried = [(likely * scale, *_ask(image, likely * scale, network, threshold)) for scale in _SCALES]
    return max(tried, key=lambda one: _sureness(one[2]))


def _sureness(probability: Floats) -> float:
    """Return how sure the network is of what it found: too coarse a scale loses half of the columns."""
    n = len(probability)
    return float(probability.mean()) + _MORE * math.log2(n) if n else -math.inf


def _ask(image: Floats, pitch: float, network: nn.Module, threshold: float) -> tuple[Floats, Floats]:
    sampled = Sampled.of(image, NM_PER_PIXEL / pitch)
    xy, probability = peaks(heat_map(sampled.image, network), threshold)
    return sampled.original(xy), probability


def _fit(image: Floats, start: Floats, *, width: float) -> Fit:
    """Fit columns of about that width [pixel], on averaged pixels where they are much finer than it."""
    factor = max(int(width / _FINE), 1)
    coarse = averaged(image, factor)
    begin = (start + 0.5) / factor - 0.5
    near = float(np.median(graph.nearest_distances(begin))) if len(begin) > 1 else 4 * width / factor
    near = max(near, 2.5 * width / factor)
    flat = flatten(coarse, near)
    chosen = begin[:: max(len(begin) // _SAMPLE, 1)]
    sigma = max(width / factor, 0.8)
    for places in (chosen, begin):
        radius = max(2.0, 0.5 * near, min(2.5 * sigma, 0.8 * near))
        fit = fit_gaussians(flat, places, sigma=sigma, radius=radius, background=coarse - flat)
        sigma = max(float(np.median(fit.sigma)), 0.8)
    return Fit(
        (fit.x + 0.5) * factor - 0.5, (fit.y + 0.5) * factor - 0.5, fit.height, fit.sigma * factor,
        fit.sd * factor, fit.height_sd,
    )  # fmt: skip


def _blended(fit: Fit, seen: Floats, *, floor: float) -> Fit:
    """Return the fit moved towards the network's positions ``(n, 2)``, the more the less counting says.

    Both use the same counts, so the standard deviation stays that of the fit.
    """
    variance = np.where(np.isfinite(fit.sd), fit.sd, np.inf) ** 2
    share = 1 / (1 + floor**2 / variance)
    return replace(fit, x=fit.x + share * (seen[:, 0] - fit.x), y=fit.y + share * (seen[:, 1] - fit.y))


def averaged(image: Floats, factor: int) -> Floats:
    """Return the means of blocks of `factor` x `factor` pixels; incomplete ones are filled by mirroring."""
    if factor == 1:
        return image
    padded = np.pad(image, [(0, -size % factor) for size in image.shape], mode="symmetric")
    height, width = padded.shape
    return np.asarray(padded.reshape(height // factor, factor, width // factor, factor).mean(axis=(1, 3)))

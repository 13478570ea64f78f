"""Annular bright-field STEM images: columns dark on bright, light elements too.

The mode is that of Findlay et al., Ultramicroscopy 110, 903 (2010). A linear image cannot be right for what
is interference: it is good for where columns are and how dark they look, not for thickness fringes, defocus
series or mistilt, whose effects on light columns multislice alone gives. With a depth fitted, multislice of
SrTiO3 and Au [001] up to 8 nm is met to 13 to 27 % of the standard deviation (docs/benchmarks.md).
"""

from __future__ import annotations

import numpy as np

from micdb.embed.simulate.distortion import Distortion
from micdb.embed.simulate.probe import Optics
from micdb.embed.simulate.render import Blur, draw
from micdb.embed.simulate.stem import StemImage, detect, scatterers, smooth_noise, truth
from micdb.embed.simulate.structure import Columns, Structure

#: How dark a column is goes as Z to about this power: 0.72 to 1.07 for SrTiO3 of 0.8 to 8 nm.
ABF_EXPONENT = 0.8

_OPTICS = Optics(200.0, 25.0).broadened(8.0)


def abf_image(
    source: Columns | Structure,
    shape: tuple[int, int],
    *,
    pixel_size: float,
    seed: int,
    counts: float = 50.0,
    depth: float = 0.4,
    probe: Blur = _OPTICS,
    drift: tuple[float, float] = (0.0, 0.0),
    flyback: tuple[float, float] = (0.0, 1.0),
    line_jitter: float = 0.0,
    contamination: float = 0.0,
    readout: float = 0.3,
    exponent: float = ABF_EXPONENT,
) -> StemImage:
    """Image atoms in the annular bright field.

    Parameters
    ----------
    source, shape, pixel_size, seed, probe, drift, flyback, line_jitter, readout
        As in `micdb.embed.simulate.stem.adf_image`. Columns bring their own weight: make them with
        ``structure.columns(exponent=ABF_EXPONENT)``.
    counts
        Expected counts beside the sample.
    depth
        Share of `counts` that the strongest column alone takes away at its centre.
    contamination
        Share of `counts` that slowly varying absorption takes away at its most.
    exponent
        Of the atomic number in the darkness of a structure's atoms.
    """
    columns, xy, weight = scatterers(source, exponent)
    rng = np.random.default_rng(seed)
    shift = rng.normal(0.0, line_jitter, shape[0]) if line_jitter else np.zeros(shape[0])
    scan = Distortion(drift, flyback, shape[0] * pixel_size)
    dark = draw(
        scan.seen(xy), depth * weight / columns.weight.max(initial=1e-300), shape, pixel_size=pixel_size,
        probe=probe, line_shift=shift if line_jitter else None,
    )  # fmt: skip
    level = (1 - dark) * (1 - contamination * smooth_noise(shape, scale=min(shape) / 6, rng=rng))
    image = detect(level * counts, readout=readout, rng=rng)
    return truth(columns, image, pixel_size=pixel_size, scan=scan, line_shift=shift)

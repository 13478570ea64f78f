"""`micro`: what a microstructure looks like, whatever its size, and how large it is.

Two blocks, because one vector cannot answer both questions. The *pattern* is a vector that a small network
learnt from simulated specimens, each seen by several detectors at several magnifications; ``micro@px``
compares patterns of any size, ``micro@256nm`` those that show 256 nm in a pixel, as `texture` does. The
*physical* block is the table ``spectra``: power on an axis of 1/nm, where what an image cannot know is
missing, and characteristic lengths in nm. ``similar_to(scale=...)`` says which of them decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from micdb.embed.extractors.micro_pattern import LENGTH, WEIGHTS, patterns
from micdb.embed.extractors.texture import Further, Texture
from micdb.embed.extractors.texture_patches import TexturePatches
from micdb.embed.micro.spectrum import ORDERS, Spectrum, spectrum
from micdb.embed.nets import weights
from micdb.populate.extractor import Card
from micdb.populate.facts import EMBEDDINGS, SPECTRA
from micdb.records import Picture

_CARD = weights.card(WEIGHTS)
_REFERENCE = (
    "van den Oord et al., arXiv:1807.03748 (InfoNCE); Chen et al., ICML 2020 (views); Welch 1967 (spectra); "
    "Portilla & Simoncelli 2000; Ojala et al. 2002; Koenderink & van Doorn 1992"
)


class Micro(Texture):
    """Patterns of microstructures, compared by cosine, and their spectra in 1/nm.

    A vector has length 1. It hardly changes when the image is turned, mirrored, lit or scanned in another
    way or noisier, and changes when bright and dark are exchanged. A stack gets the mean pattern of at most
    16 evenly spaced frames, and the spectrum of the first of them.

    Parameters
    ----------
    nm_per_pixel
        As for `texture`.
    """

    card: ClassVar[Card] = replace(
        Texture.card,
        name="micro",
        version="1",
        summary="Patterns of microstructures at any size, and their spectra in 1/nm",
        reference=_REFERENCE,
        weights_hash=_CARD.sha256,
        validated={
            **_CARD.measured,
            "8 simulated textures, micro@px": "0.982 of the 9 nearest of the same class (texture 0.922)",
            "8 simulated textures, scale='physical'": "0.958 of the nearest of the same class and size",
            "UHCS SEM images, micro@px": "0.719 of the 5 nearest from other specimens share the "
            "microconstituent (texture 0.738, uniform LBP 0.581, chance 0.475; n = 424; benchmarks/micro.py)",
            "UHCS SEM images, scale='physical'": "0.745 of them",
        },
    )
    schemas: ClassVar[Mapping[str, pa.Schema]] = {"embeddings": EMBEDDINGS, "spectra": SPECTRA}
    dim: ClassVar[int] = LENGTH

    def describe(self, image: npt.NDArray[np.float32]) -> npt.NDArray[np.floating]:
        """Return the pattern ``(dim,)`` of one image."""
        return np.asarray(patterns([image])[0])

    def further(self, frame: npt.NDArray[np.float64], picture: Picture) -> Further:
        """Return the spectrum and its lengths; nothing where the scale is unknown."""
        if picture.pixel_size is None:
            return {}, {}
        seen = spectrum(frame, picture.pixel_size)
        if isinstance(seen, str):
            return {}, {}
        return {"spectra": _rows(picture.image, seen)}, {
            "peak_wavelength": (seen.peak, "nm"),
            "mean_wavelength": (seen.mean, "nm"),
        }


class MicroPatches(TexturePatches):
    """Patterns of windows, each with its box in the original image; parameters as for `texture-patches`."""

    card: ClassVar[Card] = replace(
        TexturePatches.card,
        name="micro-patches",
        version="1",
        summary="Patterns of every place in an image, for finding a microstructure anywhere",
        reference=_REFERENCE,
        weights_hash=_CARD.sha256,
        validated={},
    )
    dim: ClassVar[int] = LENGTH

    def describe(self, window: npt.NDArray[np.float32]) -> npt.NDArray[np.floating]:
        """Return the pattern ``(dim,)`` of a window."""
        return np.asarray(patterns([window])[0])


def _rows(image: int, seen: Spectrum) -> pa.Table:
    columns: dict[str, Any] = {
        "image": np.full(len(seen.band), image),
        "band": seen.band,
        "wavelength_nm": seen.wavelength,
        "power": seen.power,
    }
    columns |= {f"order{order}": row for order, row in zip(ORDERS, seen.orders, strict=True)}
    return pa.table(columns).cast(SPECTRA)

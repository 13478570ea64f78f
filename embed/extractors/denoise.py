"""`denoise`: micrographs with less noise, how fine they can be believed, and where noise became structure.

Fills `restorations`. The image itself stays what it is, and other extractors measure the image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from micdb.embed.nets import weights
from micdb.embed.restore.denoised import denoised
from micdb.embed.restore.extractor import Restorer
from micdb.populate.extractor import Card

if TYPE_CHECKING:
    from torch import nn

_KNOWN = weights.card("denoise")


class Denoise(Restorer):
    """Images with less noise, by a network that learnt from simulated exposures, or from a user's images.

    Parameters
    ----------
    weights
        File ``denoise.safetensors`` that ``micdb train denoise --from-images`` wrote, its card beside it;
        None for the shipped ones.
    turns
        Of the eight turned and mirrored images, how many to ask for and average: better, and slower by them.
    seed
        Of the halves by which the result is checked.
    """

    name: ClassVar[str] = "denoise"
    factor: ClassVar[int] = 1
    card: ClassVar[Card] = Card(
        name=name,
        version="1",
        summary="Micrographs with less noise, how fine they can be believed, where noise became structure",
        parameters={"weights": None, "turns": 2, "seed": 0},
        licence="BSD-3-Clause",
        reference=(
            "Zhang et al., IEEE Trans. Image Process. 26, 3142 (2017): residual learning; Batson & Royer, "
            "ICML 2019: self-supervision; Koho et al., Nat. Commun. 10, 3103 (2019): resolution"
        ),
        weights_hash=_KNOWN.sha256,
        validated=_KNOWN.texts,
        scale="any; details down to 2 pixels",
    )

    def restore(self, image: npt.NDArray[np.floating], network: nn.Module) -> npt.NDArray[np.float32]:
        """Return the image ``(y, x)`` with less noise."""
        return denoised(image, network, turns=self.parameters["turns"])

"""`super-resolve`: micrographs with pixels half as large, and where noise became structure in them.

Fills `restorations`. The image itself stays what it is, and other extractors measure the image.
"""

from __future__ import annotations

from typing import ClassVar

from micdb.embed.nets import weights
from micdb.embed.restore.extractor import Restorer
from micdb.embed.restore.network import FINER
from micdb.populate.extractor import Card

_KNOWN = weights.card("super-resolve")


class SuperResolve(Restorer):
    """Images with pixels half as large and a probe half as wide, by a network that learnt from simulations.

    Parameters
    ----------
    weights
        File ``super-resolve.safetensors`` of one's own, its card beside it; None for the shipped ones.
    adversarial
        Ask the network that had an adversary (``super-resolve-adversarial``): it finds more of the finest
        gaps; whether it invents was measured for gaps only.
    turns
        Of the eight turned and mirrored images, how many to ask for and average: better, and slower by them.
    seed
        Of the halves by which the result is checked.
    """

    name: ClassVar[str] = "super-resolve"
    factor: ClassVar[int] = FINER
    card: ClassVar[Card] = Card(
        name=name,
        version="1",
        summary="Micrographs with pixels half as large, and where noise became structure in them",
        parameters={"weights": None, "adversarial": False, "turns": 2, "seed": 0},
        licence="BSD-3-Clause",
        reference=(
            "de Haan et al., Sci. Rep. 9, 12050 (2019): super-resolution in SEM; Shi et al., CVPR 2016: "
            "sub-pixel convolution; Isola et al., CVPR 2017: adversary of patches; "
            "Koho et al., Nat. Commun. 10, 3103 (2019): resolution"
        ),
        weights_hash=_KNOWN.sha256,
        validated=_KNOWN.texts,
        scale="any; probes up to about 1.3 pixels wide (standard deviation)",
    )

    @property
    def weights_name(self) -> str:
        """Of the weights that the parameters ask for."""
        return f"{self.name}-adversarial" if self.parameters["adversarial"] else self.name

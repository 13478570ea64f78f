"""`vae`: what varies in the windows of micrographs, in a few numbers that an autoencoder learnt from them.

Fills `latents`; in a formula ``latent("rvae", 4)`` stands for the means of the first four.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from micdb.embed.atoms.frame import frames, prepared
from micdb.embed.micro.windows import windows
from micdb.embed.nets import weights
from micdb.embed.nets.threads import one_thread
from micdb.embed.sampling import factors, resample, resampled
from micdb.errors import UsageError
from micdb.extras import require
from micdb.populate.extractor import Card, Extraction, Extractor
from micdb.populate.facts import LATENTS
from micdb.records import Picture, Refusal

if TYPE_CHECKING:
    from micdb.embed.nets.vae import Vae

NAME = "vae"


class Latents(Extractor):
    """Latent variables of micrographs: of each, mean and standard deviation over the windows of a frame.

    Parameters
    ----------
    weights
        File ``vae.safetensors`` that `micdb.embed.train.vae.teach` wrote, its card beside it. Its hash makes
        the run, wherever the file lies.
    """

    card: ClassVar[Card] = Card(
        name=NAME,
        version="1",
        summary="Latent variables of windows, by an autoencoder taught on a user's images",
        parameters={"weights": None},
        licence="BSD-3-Clause",
        reference=(
            "Kingma & Welling, ICLR 2014; Bepler et al., NeurIPS 2019: rotation; Sohn, Lee & Yan, NeurIPS "
            "2015: conditions; Kalinin et al., npj Comput. Mater. 7, 181 (2021): in microscopy"
        ),
        scale="that it was taught at",
    )
    schemas: ClassVar[Mapping[str, pa.Schema]] = {"latents": LATENTS}
    places: ClassVar[frozenset[str]] = frozenset({"weights"})

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        self._known: weights.Weights | None = None
        self._folder = Path()
        if self.parameters["weights"] is not None:
            self._known, self._folder = weights.of_user(
                NAME, self.parameters["weights"], "micdb train vae --from-images"
            )
            self._learnt(self._known.sha256, self._known.texts)

    @cached_property
    def _network(self) -> Vae:
        require("torch")
        from micdb.embed.nets.vae import Vae

        network = weights.load(NAME, Vae, self._folder)
        assert isinstance(network, Vae)  # noqa: S101 (for the type)
        return network

    def extract_one(self, picture: Picture) -> Extraction | Refusal:
        """Return the latent variables of a picture, or the reason why there are none."""
        if self._known is None:
            raise UsageError(
                "vae has learnt nothing yet: teach it (micdb train vae --from-images QUERY --out FOLDER) and "
                "name --set weights=FOLDER/vae.safetensors"
            )
        if picture.modality == "diffraction":
            return Refusal(picture.image, "a diffraction pattern shows no structure in real space")
        grown = factors(picture.pixel_size, self._known.recipe["nm_per_pixel"])
        if isinstance(grown, str):
            return Refusal(picture.image, grown)
        found = frames(picture, lambda pixels: _codes(pixels, grown, self._network))
        if isinstance(found, Refusal):
            return found
        kind = kind_of(self._known)
        rows = [
            {"image": picture.image, "frame": frame, "name": f"{kind} {number}", "value": mean, "sd": sd}
            for frame, codes in found.items()
            for number, (mean, sd) in enumerate(zip(codes.mean(axis=0), codes.std(axis=0), strict=True))
        ]
        return Extraction(picture.image, {"latents": pa.Table.from_pylist(rows, schema=LATENTS)})


def kind_of(known: weights.Weights) -> str:
    """Return what the latent variables of some weights are called: ``vae``, ``rvae``, ``cvae``, ``crvae``."""
    network = known.network
    return ("c" if network["conditions"] else "") + ("r" if network["invariant"] else "") + NAME


def _codes(
    pixels: npt.NDArray[np.floating], grown: tuple[float, float], network: Vae
) -> npt.NDArray[np.float64] | str:
    """Return the latent variables of each window ``(n, latent)``, or why there is none."""
    import torch

    side = network.side
    ready = prepared(pixels, smallest=side)
    if isinstance(ready, str):
        return ready
    height, width = resampled((ready[0].shape[0], ready[0].shape[1]), grown)
    if min(height, width) < side:
        return f"{width} x {height} pixels at the scale that was taught; at least {side} x {side} are needed"
    cut = windows(resample(ready[0] / np.abs(ready[0]).max(), grown), side)
    if not len(cut):
        return f"no window of {side} x {side} pixels shows anything"
    with torch.inference_mode(), one_thread():
        mean, _ = network.encode(network.seen(torch.from_numpy(cut)[:, None]))
    return np.asarray(mean.numpy(), dtype=np.float64)

"""The pattern of `micro`: the numbers of `texture`, made comparable by a small network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from micdb.embed.extractors.texture import describe
from micdb.embed.nets import weights
from micdb.embed.nets.threads import one_thread
from micdb.extras import require

if TYPE_CHECKING:
    from micdb.embed.nets.projection import Projection

LENGTH = 128  # of a vector
WEIGHTS = "micro-pattern"


def patterns(images: Sequence[npt.NDArray[np.floating]]) -> npt.NDArray[np.float32]:
    """Return unit vectors ``(n, LENGTH)`` of images.

    Parameters
    ----------
    images
        As for `micdb.embed.extractors.texture.describe`.

    Raises
    ------
    MissingExtraError
        torch or safetensors is not installed.
    """
    torch = require("torch")
    given = torch.from_numpy(np.stack([describe(image) for image in images]).astype(np.float32))
    with torch.inference_mode(), one_thread():
        return np.asarray(_network()(given).numpy(), dtype=np.float32)


@cache
def _network() -> Projection:
    from micdb.embed.nets.projection import Projection

    return weights.load(WEIGHTS, Projection)  # type: ignore[return-value]  # built by the class it names

"""From mean cells to rotations and mistilt, with standard deviations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from micdb.embed.nets.threads import one_thread
from micdb.embed.tilts.cells import spectrum

if TYPE_CHECKING:
    from micdb.embed.nets.whitened import WhitenedNet

Floats = npt.NDArray[np.float64]

#: What the network answers: rotations about `micdb.embed.tilts.view.AXES` [deg], mistilt along x, y [mrad].
ANSWERS = 5
UNITS = np.array([10.0, 10.0, 10.0, 4.0, 4.0])  # [deg, mrad] per unit of its answers
NINETY = 1.645  # [standard deviation] half of a normal 90 % interval

_VIEWS = ((1, 1), (1, -1), (-1, 1), (-1, -1))  # steps along y and x: a cell and its mirror images


def measure(network: WhitenedNet, cells: Floats, noise: Floats) -> tuple[Floats, Floats]:
    """Return rotations [deg] and mistilt [mrad] ``(n, 5)`` of mean cells, and their standard deviations.

    Parameters
    ----------
    network
        That of `abf-tilts`.
    cells, noise
        As for `micdb.embed.tilts.cells.spectrum`.
    """
    import torch

    total, widths = np.zeros((len(cells), ANSWERS)), np.zeros((len(cells), ANSWERS))
    with one_thread(), torch.inference_mode():
        for y, x in _VIEWS:
            answer, width = network(torch.from_numpy(spectrum(cells[:, ::y, ::x], noise)))
            total += answer.numpy() * np.array([1, 1, 1, x, y]) / len(_VIEWS)
            widths += width.numpy() / len(_VIEWS)
    return total * UNITS, np.exp(widths) * network.scale.numpy() * UNITS

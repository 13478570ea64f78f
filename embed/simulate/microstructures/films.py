"""Films of carbide along grain boundaries."""

from __future__ import annotations

import numpy as np

from micdb.embed.simulate.microstructures.cells import voronoi
from micdb.embed.simulate.microstructures.view import Scene, View, labelled, regions
from micdb.embed.simulate.microstructures.waves import waves


def network(view: View, *, grain: float, seed: int, width: float = 0.05) -> Scene:
    """Draw a carbide film along grain boundaries. Objects are the grains, films included.

    Parameters
    ----------
    view
        Field of view.
    grain
        Grain size [nm].
    seed
        Of the grains.
    width
        Thickness of the film in units of `grain`.
    """
    rng = np.random.default_rng(seed)
    cells = voronoi(view, size=grain, rng=rng)
    swell = 1 + 0.5 * waves(view, length=grain / 2, rng=rng)
    relief = 0.1 * rng.normal(size=cells.count)[cells.index]
    distance = width * grain * swell / 2 - cells.boundary
    label = labelled(distance > 0)
    instance, objects = regions(cells.index, view, np.zeros(cells.count, dtype=np.uint8))
    truth = {"grain_nm": grain, "film_nm": width * grain, "fraction": float((label == 1).mean())}
    return Scene(
        view.step(distance), relief, view.pixel_size, label, ("matrix", "network"), instance, objects, truth
    )

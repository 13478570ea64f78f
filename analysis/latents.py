"""What latent variables mean: windows drawn along each, and a property beside them."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from micdb.analysis.figures import BLUE, figure_of, styled, with_data
from micdb.embed.extractors.vae import NAME, kind_of
from micdb.errors import UnknownColumnError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from micdb.query.frame import Frame

_STEPS = np.linspace(-2.0, 2.0, 9)  # standard deviations of what the latent variables are taught to have
_WIDE = 0.75  # [inch] of a window


@styled
def traversal(weights: str | PathLike[str], *, conditions: Mapping[str, float] | None = None) -> Figure:
    """Return windows drawn by a taught autoencoder: one latent variable changes along each row.

    Parameters
    ----------
    weights
        File ``vae.safetensors`` that ``micdb train vae`` wrote.
    conditions
        What is told to a conditional one; the mean of what it learnt from where nothing is said.

    Raises
    ------
    UsageError
        It is no such file.
    UnknownColumnError
        It was not taught such a condition.
    """
    import torch

    from micdb.embed.nets.vae import Vae
    from micdb.embed.nets.weights import load, of_user

    known, folder = of_user(NAME, weights, "micdb train vae --from-images")
    network = load(NAME, Vae, folder)
    assert isinstance(network, Vae)  # noqa: S101 (for the type)
    taught: Mapping[str, tuple[float, float]] = known.recipe["conditions"]
    for name in conditions or {}:
        if name not in taught:
            raise UnknownColumnError(name, list(taught), "what the autoencoder was told")
    told = [((conditions or {}).get(name, mean) - mean) / sd for name, (mean, sd) in taught.items()]
    latent = known.network["latent"]
    rows = []
    figure = figure_of((_WIDE * len(_STEPS) + 0.8, _WIDE * latent + 0.6))
    axes = figure.subplots(latent, len(_STEPS), squeeze=False)
    for number in range(latent):
        code = torch.zeros(len(_STEPS), latent + network.invariant)
        code[:, number + network.invariant] = torch.from_numpy(_STEPS).float()
        with torch.inference_mode():
            drawn = network.decode(code, torch.tensor([told] * len(_STEPS)).reshape(len(_STEPS), -1).float())
        for place, (value, window) in enumerate(zip(_STEPS, drawn[:, 0].numpy(), strict=True)):
            axes[number, place].imshow(window, cmap="gray", vmin=-2, vmax=2)
            axes[number, place].set(xticks=[], yticks=[])
            rows.append((f"{kind_of(known)} {number}", value, float(window.std())))
        axes[number, 0].set_ylabel(f"{kind_of(known)} {number}", rotation=0, ha="right", va="center")
    for place, value in enumerate(_STEPS):
        axes[-1, place].set_xlabel(f"{value:g}")
    return with_data(figure, pd.DataFrame(rows, columns=["latent", "value", "contrast"]))


@styled
def latent_figure(frame: Frame, name: str, target: str) -> Figure:
    """Return a property against the mean of a latent variable, one point per image.

    Parameters
    ----------
    frame
        Of images.
    name
        Of the latent variable: ``rvae 0``.
    target
        Column or property.
    """
    computed = frame.assign(latent_mean=frame.expression(f'mean(latents, value, name == "{name}")'))
    table = computed[["uid", "latent_mean", target]].to_pandas().dropna()
    unit = (table.attrs.get("units") or {}).get(target)
    figure = figure_of((5.2, 3.8))
    axes = figure.subplots()
    axes.scatter(
        table["latent_mean"], table[target].astype(float), s=16, color=BLUE, alpha=0.75, linewidths=0
    )
    axes.set_xlabel(name)
    axes.set_ylabel(f"{target} [{unit}]" if unit else target)
    return with_data(figure, table.rename(columns={"latent_mean": name}))

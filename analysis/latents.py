"""What latent variables mean: windows drawn along each, and a property beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from micdb.analysis.figures import BLUE, MUTED, figure_of, styled, with_data
from micdb.embed.extractors.vae import NAME, kind_of
from micdb.errors import UnknownColumnError, UsageError

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
    told = _told(known.recipe["conditions"], conditions or {})
    names = [f"{kind_of(known)} {number}" for number in range(network.latent)]
    code = torch.zeros(len(names), len(_STEPS), len(names))
    code.diagonal(dim1=0, dim2=2).copy_(torch.from_numpy(_STEPS)[:, None])
    levels = torch.tensor([level for _, level in told.values()]).expand(len(names) * len(_STEPS), -1)
    with torch.inference_mode():
        drawn = network.decode(code.flatten(0, 1), levels)[:, 0]
    drawn = torch.where(network.disc > 0, drawn, torch.nan)
    figure = _grid(drawn.reshape(*code.shape[:2], *drawn.shape[1:]).numpy(), names)
    size = known.recipe["nm_per_pixel"]
    width = f"{network.side} pixels" if size is None else f"{network.side * size:g} nm"
    figure.suptitle(
        "; ".join((f"windows {width} wide", *(f"{name} {value:.4g}" for name, (value, _) in told.items()))),
        fontsize=10, color=MUTED,
    )  # fmt: skip
    rows = [
        (name, value, float(window[network.disc > 0].std()))
        for (name, value), window in zip(product(names, _STEPS), drawn, strict=True)
    ]
    return with_data(figure, pd.DataFrame(rows, columns=["latent", "value", "contrast"]))


def _told(
    taught: Mapping[str, tuple[float, float]], given: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """Return the value of each condition, and as a decoder is told it; the mean where nothing is given."""
    for name in given:
        if name not in taught:
            raise UnknownColumnError(name, list(taught), "what the autoencoder was told")
    values = {name: given.get(name, mean) for name, (mean, _) in taught.items()}
    return {name: (value, (value - taught[name][0]) / taught[name][1]) for name, value in values.items()}


def _grid(drawn: npt.NDArray[np.float32], names: Sequence[str]) -> Figure:
    """Return windows ``(latent, step, y, x)`` in a grid, black and white the same in all."""
    figure = figure_of((_WIDE * len(_STEPS) + 1.2, _WIDE * len(names) + 1.0))
    axes = figure.subplots(*drawn.shape[:2], squeeze=False)
    limit = float(np.nanmax(np.abs(drawn)))
    for (row, column), axis in np.ndenumerate(axes):
        axis.imshow(drawn[row, column], cmap="gray", vmin=-limit, vmax=limit)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        if column == 0:
            axis.set_ylabel(names[row], rotation=0, ha="right", va="center")
        if row == len(names) - 1:
            axis.set_xlabel(f"{_STEPS[column]:g}")
    figure.supxlabel("value of the latent variable [standard deviation]", fontsize=10)
    return figure


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
        Column or property, of numbers.

    Raises
    ------
    UsageError
        No image has both, or the target is no number.
    """
    computed = frame.assign(latent_mean=frame.expression(f'mean(latents, value, name == "{name}")'))
    table = computed[["uid", "latent_mean", target]].to_pandas().dropna()
    if table.empty:
        raise UsageError(f"no image has both {name!r} and {target}: fill latents with micdb populate vae")
    if not pd.api.types.is_numeric_dtype(table[target]):
        raise UsageError(
            f"{target} holds {table[target].iloc[0]!r}; a latent variable is drawn against numbers"
        )
    unit = (table.attrs.get("units") or {}).get(target)
    figure = figure_of((5.2, 3.8))
    axes = figure.subplots()
    axes.scatter(
        table["latent_mean"], table[target].astype(float), s=16, color=BLUE, alpha=0.75, linewidths=0
    )
    axes.set_xlabel(f"{name}, mean over the windows of an image")
    axes.set_ylabel(f"{target} [{unit}]" if unit else target)
    axes.text(0, 1.02, f"{len(table)} images", transform=axes.transAxes, fontsize=8.5, color=MUTED)
    return with_data(figure, table.rename(columns={"latent_mean": name}))

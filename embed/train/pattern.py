"""The recipe of ``micro``'s pattern: views of one specimen are alike, views of others are not.

Contrastive learning (InfoNCE: van den Oord et al., arXiv:1807.03748; Chen et al., ICML 2020) over simulated
specimens: two views of one, with other detectors, turns, mirrors, magnifications, blur and noise, shall be
nearer to one another than to the views of all others; and, with less weight, views of one kind of specimen
nearer than those of other kinds (Khosla et al., NeurIPS 2020).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from micdb.embed.extractors.texture import describe
from micdb.embed.simulate.microstructures.varied_views import SPECIMENS, random_views
from micdb.embed.train.loop import Batch

Floats = npt.NDArray[np.float32]

#: Kinds that training never shows, to measure what the vector is worth for what nobody simulated.
WITHHELD = ("bainite", "cuboids", "fibres", "holes")
SHOWN = tuple(kind for kind in SPECIMENS if kind not in WITHHELD)
BATCH, VIEWS = 96, 4  # specimens, and views of each

_SIDE = 160  # [pixel] of a view
_TEMPERATURE = 0.1
_OF_KINDS = 0.3  # weight of kinds beside that of specimens
_HELD_OUT = 2**42
_EACH, _LARGE = 8, 192  # specimens of each kind, and sides of their images [pixel], to measure with
_NEAREST = 5
#: Kinds that are quick to draw and easily taken for one another, and how many of each.
_FEW, _OF_FEW = ("porous", "two phases", "tweed", "looked through", "random field", "lines"), 6


def batch(seed: int) -> Batch:
    """Return the numbers of views ``(n, views, numbers)``, and the kind of each specimen ``(n,)``."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(BATCH) % len(SHOWN)
    views = [_seen(SHOWN[kind], int(rng.integers(2**40)), VIEWS, _SIDE) for kind in kinds]
    return np.stack(views), kinds.astype(np.float32)


def loss(network: nn.Module, arrays: tuple[Tensor, ...]) -> Tensor:
    """Return InfoNCE of specimens and of kinds, the mean over all views."""
    given, kinds = arrays
    count, views, width = given.shape
    found = network(given.reshape(-1, width))
    itself = torch.eye(len(found), dtype=torch.bool)
    shares = functional.log_softmax((found @ found.T / _TEMPERATURE).masked_fill(itself, -1e9), dim=1)
    losses = []
    for names in (torch.arange(count), kinds):
        each = names.repeat_interleave(views)
        alike = ((each[:, None] == each[None, :]) & ~itself).float()
        losses.append(-((shares * alike).sum(dim=1) / alike.sum(dim=1)).mean())
    return (1 - _OF_KINDS) * losses[0] + _OF_KINDS * losses[1]


def measure(network: nn.Module) -> dict[str, Any]:
    """Return how often the nearest images show the same kind of specimen, of seeds it never saw."""
    kinds = [kind for kind in SPECIMENS for _ in range(_EACH)]
    new = np.isin(kinds, WITHHELD)
    shares = _of_kinds(network, kinds, _LARGE)
    return {
        f"the {_NEAREST} nearest of the same kind, {name}{how}": f"{share[of].mean():.3f}"
        for how, share in shares.items()
        for name, of in ((f"{len(SHOWN)} kinds shown", ~new), (f"{len(WITHHELD)} kinds never shown", new))
    } | few(network)


def few(network: nn.Module) -> dict[str, Any]:
    """Return the same on so few scenes that a test can look again whether the card still holds."""
    shares = _of_kinds(network, [kind for kind in _FEW for _ in range(_OF_FEW)], _SIDE)
    return {
        f"the {_NEAREST} nearest of the same kind, {len(_FEW)} kinds, {_OF_FEW} of each{how}": (
            f"{share.mean():.3f}"
        )
        for how, share in shares.items()
    }


def _of_kinds(network: nn.Module, kinds: list[str], side: int) -> dict[str, npt.NDArray[np.float64]]:
    """Return of each image the share of its nearest that are of its kind, by pattern and by texture."""
    given = np.stack([_seen(kind, _HELD_OUT + number, 1, side)[0] for number, kind in enumerate(kinds)])
    with torch.inference_mode():
        found = network(torch.from_numpy(given)).numpy()
    return {"": _hits(found, kinds), " by texture": _hits(given, kinds)}


def _hits(vectors: Floats, kinds: list[str]) -> npt.NDArray[np.float64]:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = unit @ unit.T
    np.fill_diagonal(likeness, -np.inf)
    nearest = np.argsort(-likeness, axis=1, kind="stable")[:, :_NEAREST]
    names = np.array(kinds)
    return np.asarray((names[nearest] == names[:, None]).mean(axis=1))


def _seen(kind: str, seed: int, count: int, side: int) -> Floats:
    views = random_views(kind, seed=seed, count=count, side=side)
    return np.stack([describe(view) for view in views]).astype(np.float32)

"""Weights that ship with micdb: a safetensors file and a card beside it, loaded once, checked by hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from micdb.errors import StoreError, UsageError, suggestion
from micdb.extras import require

if TYPE_CHECKING:
    from torch import nn

FOLDER = Path(__file__).parents[1] / "weights"


@dataclass(frozen=True, slots=True)
class Weights:
    """What is known of trained weights without loading them.

    Parameters
    ----------
    name
        Of the files ``<name>.safetensors`` and ``<name>.json``.
    sha256
        Of the safetensors file.
    network
        Arguments of the architecture.
    recipe
        Every number of the training: steps, seeds, ranges of the simulator.
    measured
        What it reached on simulations that it was not trained on, and the processor time of its training.
    """

    name: str
    sha256: str
    network: dict[str, Any]
    recipe: dict[str, Any]
    measured: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return asdict(self)


def card(name: str) -> Weights:
    """Return the card of shipped weights.

    Raises
    ------
    UsageError
        There are no weights of that name.
    """
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        known = sorted(one.stem for one in FOLDER.glob("*.json"))
        raise UsageError(f"there are no weights {name!r}{suggestion(name, known)}")
    return Weights(**json.loads(path.read_text(encoding="utf-8")))


def save(
    network: nn.Module,
    name: str,
    *,
    arguments: dict[str, Any],
    recipe: dict[str, Any],
    measured: dict[str, Any],
    folder: Path | None = None,
) -> Weights:
    """Write weights and their card to a folder, that of the shipped ones unless given."""
    safetensors = require("safetensors.torch")
    tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    content = safetensors.save(tensors)
    made = Weights(name, hashlib.sha256(content).hexdigest(), arguments, recipe, measured)
    folder = folder or FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.safetensors").write_bytes(content)
    (folder / f"{name}.json").write_text(json.dumps(made.as_json(), indent=1) + "\n", encoding="utf-8")
    return made


@cache
def unet(name: str) -> nn.Module:
    """Return a shipped U-Net, ready to be asked; one per process. Errors as for `load`."""
    require("torch")
    from micdb.embed.nets.unet import UNet

    return load(name, UNet)


def load(name: str, build: Callable[..., nn.Module]) -> nn.Module:
    """Return a shipped network, ready to be asked.

    Parameters
    ----------
    name
        Of the weights.
    build
        The architecture; it takes the card's arguments.

    Raises
    ------
    MissingExtraError
        torch or safetensors is not installed.
    StoreError
        The file is not the one the card was written for.
    """
    safetensors = require("safetensors.torch")
    known = card(name)
    path = FOLDER / f"{name}.safetensors"
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != known.sha256:
        raise StoreError(f"{path} is not the file its card was written for: install micdb again")
    network = build(**known.network)
    network.load_state_dict(safetensors.load(content))
    return network.eval().requires_grad_(False)

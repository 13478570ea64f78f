"""Weights that ship with micdb: a safetensors file and a card beside it, loaded once, checked by hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from micdb.errors import StoreError, UsageError, suggestion
from micdb.extras import require
from micdb.provenance import package_version

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

    @property
    def texts(self) -> dict[str, str]:
        """What was measured, as an extractor's card says it."""
        return {name: str(value) for name, value in self.measured.items() if name != "planted"}


def card(name: str, folder: Path | None = None) -> Weights:
    """Return the card of weights, the shipped ones unless a folder of others is given.

    Raises
    ------
    UsageError
        There are no weights of that name.
    """
    place = folder or FOLDER
    path = place / f"{name}.json"
    if not path.is_file():
        known = sorted(one.stem for one in place.glob("*.json"))
        where = "" if folder is None else f" in {folder}"
        raise UsageError(f"there are no weights {name!r}{where}{suggestion(name, known)}")
    return Weights(**json.loads(path.read_text(encoding="utf-8")))


def of_user(extractor: str, given: Any, maker: str) -> tuple[Weights, Path]:
    """Return the card of weights that a user made, and their folder.

    Parameters
    ----------
    extractor
        Whose parameter ``weights`` it is; the file has its name.
    given
        Path of the file.
    maker
        What writes such files: ``micdb train segment``.

    Raises
    ------
    UsageError
        It is no such file, or its card is missing.
    """
    path = Path(str(given)).expanduser()
    if path.name != f"{extractor}.safetensors" or not path.is_file():
        raise UsageError(
            f"{extractor}: weights is {str(given)!r}; expected a file {extractor}.safetensors that {maker} "
            "wrote, with its card beside it"
        )
    return card(extractor, path.parent), path.parent


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
    made = Weights(name, "", arguments, recipe, measured)
    return _write(safetensors.save(tensors), made, folder or FOLDER)


def save_arrays(
    arrays: Mapping[str, npt.NDArray[np.generic]],
    name: str,
    *,
    recipe: dict[str, Any],
    measured: dict[str, Any],
    folder: Path,
) -> Weights:
    """Write what was learnt by something else than a network, as arrays, and its card to a folder."""
    content = require("safetensors.numpy").save(dict(arrays))
    return _write(content, Weights(name, "", {}, recipe, measured), folder)


def _write(content: bytes, made: Weights, folder: Path) -> Weights:
    made, name = replace(made, sha256=hashlib.sha256(content).hexdigest()), made.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.safetensors").write_bytes(content)
    (folder / f"{name}.json").write_text(json.dumps(made.as_json(), indent=1) + "\n", encoding="utf-8")
    return made


@cache
def unet(name: str, folder: Path | None = None, sha256: str = "") -> nn.Module:  # noqa: ARG001
    """Return a U-Net, ready to be asked; one per process. Errors as for `load`.

    Parameters
    ----------
    name, folder
        As for `load`.
    sha256
        Of a user's weights: another file in the same place is another network.
    """
    require("torch")
    from micdb.embed.nets.unet import UNet

    return load(name, UNet, folder)


def load(name: str, build: Callable[..., nn.Module], folder: Path | None = None) -> nn.Module:
    """Return a trained network, ready to be asked.

    Parameters
    ----------
    name
        Of the weights.
    build
        The architecture; it takes the card's arguments.
    folder
        Where they are; that of the shipped ones unless given.

    Raises
    ------
    MissingExtraError
        torch or safetensors is not installed.
    StoreError
        The file is not the one the card was written for, or this micdb has another architecture.
    """
    safetensors = require("safetensors.torch")
    known, content = _read(name, folder)
    try:
        network = build(**known.network)
        network.load_state_dict(safetensors.load(content))
    except (RuntimeError, TypeError) as error:  # other tensors, or other arguments
        raise StoreError(
            f"{_file(name, folder)} was taught for another network than micdb {package_version()} has: "
            f"{_mend(folder)}"
        ) from error
    return network.eval().requires_grad_(False)


def load_arrays(name: str, folder: Path) -> dict[str, npt.NDArray[np.generic]]:
    """Return what `save_arrays` wrote; errors as for `load`."""
    _, content = _read(name, folder)
    return dict(require("safetensors.numpy").load(content))


def _read(name: str, folder: Path | None) -> tuple[Weights, bytes]:
    """Return a card and the content of its file, once that is the right one."""
    known = card(name, folder)
    path = _file(name, folder)
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != known.sha256:
        raise StoreError(f"{path} is not the file its card was written for: {_mend(folder)}")
    return known, content


def _file(name: str, folder: Path | None) -> Path:
    return (folder or FOLDER) / f"{name}.safetensors"


def _mend(folder: Path | None) -> str:
    return "install micdb again" if folder is None else "train again"

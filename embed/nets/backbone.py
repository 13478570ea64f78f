"""Pretrained vision networks: found by name, read from safetensors, asked for one vector of each window.

transformers builds them (DINOv2: Oquab et al., TMLR 2024; ConvNeXt: Liu et al., CVPR 2022; ResNet: He et al.,
CVPR 2016; ViT, Swin, ...), without torchvision. Nothing is unpickled and no code of a repository is run.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from micdb.embed.nets import torchvision_resnet
from micdb.embed.nets.threads import one_thread
from micdb.errors import UsageError
from micdb.extras import require

if TYPE_CHECKING:
    from torch import Tensor, nn

Floats32 = npt.NDArray[np.float32]

POOLS = ("cls", "mean")

_CONFIG, _PREPROCESSING = "config.json", "preprocessor_config.json"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.pth.tar", "*.ckpt", "*.pkl")
_MEAN, _SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, what most networks were trained with
_SIDE = 224  # [pixel] what most networks were trained with
_TO_SAFETENSORS = (
    'python -c "import torch; from safetensors.torch import save_file; '
    "d = torch.load('{old}', map_location='cpu', weights_only=True); d = d.get('state_dict', d); "
    "save_file({{k: v.contiguous() for k, v in d.items()}}, '{new}', {{'format': 'pt'}})\""
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a network lies, and what makes it this one.

    Parameters
    ----------
    path
        Folder as transformers writes it, or a safetensors file of a ResNet with torchvision's names.
    sha256
        Of the weights, the configuration and the preprocessing.
    """

    path: Path
    sha256: str


@dataclass(frozen=True, slots=True, eq=False)
class Backbone:
    """A network, ready to be asked.

    Parameters
    ----------
    module
        In evaluation mode, on its device.
    side
        Of the windows it was made for [pixel].
    multiple
        Sides of windows are multiples of this [pixel].
    mean, sd
        Of the grey values 0 to 1 it was trained with, by channel.
    tokens
        Tokens in front of those of places, the class token first; 0 when it has no class token.
    """

    module: nn.Module
    side: int
    multiple: int
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    tokens: int

    def vectors(self, windows: Floats32, pool: str | None) -> Floats32:
        """Return vectors ``(n, dim)``.

        Parameters
        ----------
        windows
            Grey values 0 to 1 ``(n, y, x)``.
        pool
            ``cls``: the class token; ``mean``: over all places; None: the class token where there is one.

        Raises
        ------
        UsageError
            There is no class token.
        RuntimeError, ValueError
            The network takes no windows of this size.
        """
        import torch

        if pool == "cls" and not self.tokens:
            raise UsageError("backbone: pool is 'cls', and this network has no class token; expected 'mean'")
        device = next(self.module.parameters()).device
        mean, sd = (torch.tensor(one)[:, None, None] for one in (self.mean, self.sd))
        given = ((torch.from_numpy(windows)[:, None] - mean) / sd).to(device)
        further = inspect.signature(self.module.forward).parameters.keys() & {"interpolate_pos_encoding"}
        with torch.inference_mode(), one_thread():
            answer = self.module(given, **dict.fromkeys(further, True))
            return self._pooled(answer, pool).float().cpu().numpy()

    def _pooled(self, answer: Mapping[str, Any], pool: str | None) -> Tensor:
        last: Tensor = answer["last_hidden_state"]
        if last.ndim == 4:  # maps (n, dim, y, x); the network's own mean, which ConvNeXt also normalises
            mean = answer.get("pooler_output")
            return last.mean(dim=(2, 3)) if mean is None else mean.flatten(1)
        return last[:, 0] if self.tokens and pool != "mean" else last[:, self.tokens :].mean(dim=1)


def place(model: str, revision: str | None = None) -> Place:
    """Return where a network lies; a name that is no file and no folder is asked for at the Hugging Face hub.

    Parameters
    ----------
    model
        Folder, file or name: ``facebook/dinov2-small``.
    revision
        Branch, tag or commit at the hub.

    Raises
    ------
    UsageError
        There is nothing, only a pickle, or the hub did not give it.
    MissingExtraError
        A hub is asked and transformers is not installed.
    """
    path = Path(model).expanduser()
    if path.is_file():
        if path.suffix != ".safetensors":
            raise UsageError(
                f"backbone: {path} is not read, since a pickle can run any code; {_mended(path)}"
            )
        return Place(path, _sha256([path]))
    if not path.is_dir():
        if path.is_absolute() or model.startswith((".", "~")) or model.count("/") != 1:
            raise UsageError(
                f"backbone: model is {model!r}, and there is no such folder or file; expected a folder with "
                f"{_CONFIG} and model.safetensors, or a name at the hub like 'facebook/dinov2-small'"
            )
        path = _from_hub(model, revision)
    files = sorted(path.glob("model*.safetensors"))
    if not files or not (path / _CONFIG).is_file():
        pickles = sorted(one for pattern in _PICKLES for one in path.glob(pattern))
        mend = f"; {_mended(pickles[0])}" if pickles else ""
        found = ", ".join(sorted(one.name for one in path.iterdir())) or "nothing"
        raise UsageError(
            f"backbone: {path} holds {found}; expected {_CONFIG} and model.safetensors, as save_pretrained "
            f"of transformers writes them{mend}"
        )
    told = [path / name for name in (_CONFIG, _PREPROCESSING) if (path / name).is_file()]
    return Place(path, _sha256([*files, *told]))


def _from_hub(model: str, revision: str | None) -> Path:
    """Return the folder of a network in the hub's cache, downloaded if need be."""
    require("transformers")
    hub = require("huggingface_hub")
    try:
        return Path(
            hub.snapshot_download(
                model, revision=revision, allow_patterns=[_CONFIG, _PREPROCESSING, "model*.safetensors*"]
            )
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(
            f"backbone: {model!r} is no folder here, and the Hugging Face hub did not give it ({reason}); "
            f"bring {_CONFIG}, {_PREPROCESSING} and model.safetensors from a machine that reaches it, and "
            "name their folder: model='/path/to/folder'"
        ) from error


def _mended(pickle: Path) -> str:
    new = (
        "model.safetensors"
        if (pickle.parent / _CONFIG).is_file()
        else f"{pickle.name.split('.')[0]}.safetensors"
    )
    return "make safetensors of it: " + _TO_SAFETENSORS.format(old=pickle, new=pickle.with_name(new))


def _sha256(files: list[Path]) -> str:
    """Return the hash of one file, or that of the hashes of several."""
    found = []
    for path in files:
        with path.open("rb") as file:
            found.append(hashlib.file_digest(file, "sha256").hexdigest())
    return found[0] if len(found) == 1 else hashlib.sha256("".join(found).encode()).hexdigest()


@cache
def load(path: Path, sha256: str, device: str) -> Backbone:  # noqa: ARG001 (another file in the same place)
    """Return a network; one per process.

    Parameters
    ----------
    path, sha256
        Of a `Place`.
    device
        ``cpu``, ``cuda``, ``cuda:1``.

    Raises
    ------
    MissingExtraError
        torch or transformers is not installed.
    UsageError
        The device is absent, or it is no vision network with all its weights.
    """
    where = _device(device)
    require("transformers")
    module = torchvision_resnet.load(path) if path.is_file() else _from_folder(path)
    told = path / _PREPROCESSING
    known: dict[str, Any] = json.loads(told.read_text(encoding="utf-8")) if told.is_file() else {}
    config: Any = module.config
    multiple, channels = _number(getattr(config, "patch_size", 1)), getattr(config, "num_channels", 3)
    side = _number(known.get("crop_size") or known.get("size") or getattr(config, "image_size", _SIDE))
    mean, sd = known.get("image_mean", _MEAN), known.get("image_std", _SD)
    if not known.get("do_normalize", True):
        mean, sd = (0.0,) * channels, (1.0,) * channels
    tokens = 0
    if any(name.endswith(("cls_token", "class_embedding")) for name, _ in module.named_parameters()):
        tokens = 1 + getattr(config, "num_register_tokens", 0)
    module = module.to(where).eval().requires_grad_(False)
    return Backbone(module, side, multiple, tuple(mean[:channels]), tuple(sd[:channels]), tokens)


def _from_folder(path: Path) -> nn.Module:
    """Return the network of a folder, or why it is none that sees."""
    transformers = require("transformers")
    torch = require("torch")
    try:
        config = transformers.AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        kind = transformers.MODEL_MAPPING[type(config)]
        kind = kind[0] if isinstance(kind, tuple) else kind
        if kind.main_input_name != "pixel_values":
            raise UsageError(
                f"backbone: {path} holds a {config.model_type}, which takes {kind.main_input_name}; expected "
                "a vision network, like dinov2, convnext or resnet"
            )
        module, found = kind.from_pretrained(
            path, config=config, local_files_only=True, use_safetensors=True, dtype=torch.float32,
            output_loading_info=True,
        )  # fmt: skip
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"backbone: transformers cannot read {path}: {reason}") from error
    # a head that pools by attention is not asked, and many files lack it
    lacking = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))
    if lacking:
        raise UsageError(
            f"backbone: the weights in {path} lack {len(lacking)} tensors of its {config.model_type} "
            f"({lacking[0]}, ...): they are of another network than {_CONFIG} says"
        )
    return module  # type: ignore[no-any-return]


def _device(name: str) -> str:
    torch = require("torch")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"backbone: device is {name!r}, and torch has no such device here; expected 'cpu'"
            + (f" or 'cuda:0' to 'cuda:{torch.cuda.device_count() - 1}'" if torch.cuda.is_available() else "")
        ) from error
    return name


def _number(value: Any) -> int:
    """Return a length out of the forms that configurations have: 224, [224, 224], {"height": 224, ...}."""
    if isinstance(value, Mapping):
        value = next(iter(value.values()))
    if isinstance(value, list | tuple):
        value = value[0]
    return int(value)

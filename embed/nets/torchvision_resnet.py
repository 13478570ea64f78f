"""ResNets with the names torchvision gives their tensors, as MicroNet's weights have them.

MicroNet (Stuckner, Harder & Smith, npj Comput. Mater. 8, 200, 2022) is given away as pickles; once they are
made safetensors, this table names their tensors as transformers does. torchvision is not needed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from micdb.errors import UsageError
from micdb.extras import require

if TYPE_CHECKING:
    from torch import nn

#: Name there, and here; stages count from 1 there and from 0 here, as do convolutions of a block.
_NAMES = (
    (r"conv1\.(.*)", "embedder.embedder.convolution.{0}"),
    (r"bn1\.(.*)", "embedder.embedder.normalization.{0}"),
    (r"layer(\d)\.(\d+)\.conv(\d)\.(.*)", "encoder.stages.{0}.layers.{1}.layer.{2}.convolution.{3}"),
    (r"layer(\d)\.(\d+)\.bn(\d)\.(.*)", "encoder.stages.{0}.layers.{1}.layer.{2}.normalization.{3}"),
    (r"layer(\d)\.(\d+)\.downsample\.0\.(.*)", "encoder.stages.{0}.layers.{1}.shortcut.convolution.{2}"),
    (r"layer(\d)\.(\d+)\.downsample\.1\.(.*)", "encoder.stages.{0}.layers.{1}.shortcut.normalization.{2}"),
)
_STAGES = 4


def load(path: Path) -> nn.Module:
    """Return the ResNet of a safetensors file, its classifier left out.

    Parameters
    ----------
    path
        Of the file; names may begin with ``module.`` or ``encoder.``.

    Raises
    ------
    UsageError
        It is no ResNet of torchvision with basic or bottleneck blocks.
    """
    transformers, safetensors = require("transformers"), require("safetensors.torch")
    begins = r"^(module\.|encoder\.)+"
    given = {re.sub(begins, "", name): value for name, value in safetensors.load_file(path).items()}
    tensors = {
        new: value for name, value in given.items() if not name.startswith("fc.") and (new := _renamed(name))
    }
    try:
        blocks = [
            len({k.split(".")[1] for k in given if k.startswith(f"layer{n}.")}) for n in range(1, 1 + _STAGES)
        ]
        last = "conv3" if "layer1.0.conv3.weight" in given else "conv2"
        config = transformers.ResNetConfig(
            num_channels=given["conv1.weight"].shape[1],
            embedding_size=given["conv1.weight"].shape[0],
            hidden_sizes=[given[f"layer{n}.0.{last}.weight"].shape[0] for n in range(1, 1 + _STAGES)],
            depths=blocks,
            layer_type="bottleneck" if last == "conv3" else "basic",
        )
        network: nn.Module = transformers.ResNetModel(config)
        network.load_state_dict(tensors)
    except (KeyError, RuntimeError) as error:
        raise UsageError(
            f"backbone: {path} is no ResNet with torchvision's names ({str(error).strip().splitlines()[0]}); "
            "expected one, as MicroNet has it, or a folder with config.json and model.safetensors"
        ) from error
    return network


def _renamed(name: str) -> str:
    """Return a name of transformers; that of torchvision where there is none, for load_state_dict to tell."""
    for there, here in _NAMES:
        if found := re.fullmatch(there, name):
            *numbers, tail = found.groups()
            if numbers:
                numbers[0] = str(int(numbers[0]) - 1)
            if len(numbers) == 3:
                numbers[2] = str(int(numbers[2]) - 1)
            return here.format(*numbers, tail)
    return name

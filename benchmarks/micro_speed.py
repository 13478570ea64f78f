"""Images per second of `micro`: ``python benchmarks/micro_speed.py [--count 200]``.

Simulated micrographs of 645 x 484 pixels as TIFF files go through the whole path of ``db.populate("micro")``
(read, resample, embed, write) with as many workers as there are processors. Beside it, over the same images
as arrays in memory: the extractor called in a plain loop, and the forward pass of a ResNet-50 (He et al.,
CVPR 2016; random weights, which cost the same) in eager PyTorch, at 224 x 224 and at the images' own size.
Each is the better of two rounds, in turn, so that the load of the machine falls on all.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import tifffile
import torch
from torch import Tensor, nn

import micdb as mdb
from micdb.embed.extractors.micro import Micro
from micdb.embed.simulate.microstructures.varied_images import random_micrograph
from micdb.embed.simulate.microstructures.view import View
from micdb.records import Picture

SHAPE, STEP = (484, 645), 10.0  # [pixel] as in UHCSDB without its banner; [nm]
_ROUNDS = 2
_DIFFERENT = 20  # scenes; the other images are parts of them, turned
Image = npt.NDArray[np.uint8]


class Bottleneck(nn.Module):
    """A block of ResNet-50."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        after = 4 * width
        self.path = nn.Sequential(
            nn.Conv2d(before, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, after, 1, bias=False), nn.BatchNorm2d(after),
        )  # fmt: skip
        same = stride == 1 and before == after
        self.skip: nn.Module = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        )

    def forward(self, value: Tensor) -> Tensor:
        """Return the sum of both ways."""
        return torch.relu(self.path(value) + self.skip(value))


def resnet50() -> nn.Module:
    """Return the network up to its 2048 means."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
    ]  # fmt: skip
    before = 64
    for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for number in range(count):
            layers.append(Bottleneck(before, width, stride if number == 0 else 1))
            before = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


def micrographs(count: int) -> list[Image]:
    """Return images."""
    side = max(SHAPE)
    whole = [random_micrograph(View((side, side), STEP), seed=n)[1].image for n in range(_DIFFERENT)]
    return [
        np.ascontiguousarray(np.rot90(whole[n % _DIFFERENT], n // _DIFFERENT)[: SHAPE[0], : SHAPE[1]]).astype(
            np.uint8
        )
        for n in range(count)
    ]


def populated(images: list[Image], folder: Path) -> float:
    """Return the seconds that the whole path takes."""
    sheet = ["file,nm"]
    (folder / "files").mkdir(parents=True)
    for number, image in enumerate(images):
        # one number tells each apart: the same pixels twice would be one image
        marked = image.copy()
        marked[0, :2] = divmod(number, 256)
        tifffile.imwrite(folder / "files" / f"{number}.tif", marked)
        sheet.append(f"{number}.tif,{STEP}")
    (folder / "sheet.csv").write_text("\n".join(sheet))
    (folder / "map.toml").write_text('file = "file"\n[pixel_size]\ncolumn = "nm"\nunit = "nm"\n')
    db = mdb.init(folder / "lab.micdb")
    db.ingest(folder / "files", sheet=folder / "sheet.csv", map=folder / "map.toml")
    started = time.perf_counter()
    db.populate("micro", workers=os.cpu_count())
    seconds = time.perf_counter() - started
    if db.images.embeddings("micro@px").vectors.shape[0] != len(images):
        raise SystemExit("not every image has a vector")
    return seconds


def looped(images: list[Image]) -> float:
    """Return the seconds of the extractor in a plain loop over arrays."""
    extractor = Micro()
    started = time.perf_counter()
    for number, image in enumerate(images):
        pixels = image[None].astype(np.float64)
        next(iter(extractor.extract([Picture(number, pixels, (STEP, STEP), "SEM", None, "one")])))
    return time.perf_counter() - started


def convolved(network: nn.Module, images: list[Image], side: int | None) -> float:
    """Return the seconds of a network over arrays, cut to a square of a side, or whole."""
    started = time.perf_counter()
    with torch.inference_mode():
        for image in images:
            part = image if side is None else image[:side, :side]
            value = torch.from_numpy(part.astype(np.float32) / 255)
            network(value.expand(1, 3, *value.shape))
    return time.perf_counter() - started


def main() -> None:
    """Print images per second."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=200)
    count = parser.parse_args().count
    images, network = micrographs(count), resnet50()
    few = max(4, count // 20)
    looped(images[:2])  # loads the network
    ways: dict[str, tuple[int, Callable[[Path], float]]] = {
        "db.populate, read to write": (count, lambda at: populated(images, at)),
        "the same extractor, plain loop over arrays": (count, lambda _: looped(images)),
        "ResNet-50, eager, 224 x 224": (few, lambda _: convolved(network, images[:few], 224)),
        "ResNet-50, eager, whole images": (few, lambda _: convolved(network, images[:few], None)),
    }
    best, busy = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, np.inf)
    for turn in range(_ROUNDS):
        for name, (number, run) in ways.items():
            before = time.process_time()
            with TemporaryDirectory() as folder:
                best[name] = max(best[name], number / run(Path(folder) / str(turn)))
            busy[name] = min(busy[name], (time.process_time() - before) / number)
    sys.stdout.write(f"{os.cpu_count()} processors, torch with {torch.get_num_threads()} threads\n")
    for name, rate in best.items():
        sys.stdout.write(f"{name:44} {rate:7.1f} images/s")
        # workers are other processes, whose time is not counted here
        here = "" if "populate" in name else f"   {1e3 * busy[name]:6.0f} ms of processor time for one"
        sys.stdout.write(f"{here}\n")


if __name__ == "__main__":
    main()

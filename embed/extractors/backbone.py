"""`backbone`: what a large pretrained network makes of a micrograph, by the network's name or its folder.

DINOv2, ConvNeXt, ResNet, MicroNet and others, trained on photographs or micrographs by someone else, beside
`texture` and `micro`, which know micrographs only. Their vectors are searched, classified, linked and mapped
alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from micdb.embed.extractors.texture import scaled, space_name, usable
from micdb.embed.micro.view import view
from micdb.embed.nets import backbone
from micdb.embed.sampling import constant, factors, resample
from micdb.errors import UsageError
from micdb.populate.extractor import Card, Extraction, Extractor, Space, check_positive
from micdb.populate.facts import EMBEDDINGS
from micdb.records import Picture, Refusal

Floats32 = npt.NDArray[np.float32]

NAME = "backbone"
_SMALLEST = 32  # [pixel] side: every level of a ConvNet sees a pixel, a transformer a few patches
_WINDOWS = 3  # along each axis at most; more add time and little knowledge


class PretrainedBackbone(Extractor):
    """Vectors of a pretrained vision network, compared by cosine.

    A vector has length 1: the mean over windows, at most three by three, that lie evenly on the image, and
    over at most 16 frames of a stack. Grey values are brought to 0 to 1 by their percentiles, shown to all
    channels, and normalised as the network was trained. Nothing makes such a vector blind to rotation.

    Parameters
    ----------
    model
        Folder with ``config.json`` and ``model.safetensors`` as transformers writes them, and
        ``preprocessor_config.json`` if there is one; a safetensors file of a ResNet with torchvision's names;
        or a name at the Hugging Face hub, ``facebook/dinov2-small``. A folder needs no network.
    revision
        Branch, tag or commit at the hub.
    pool
        ``cls`` takes the class token, ``mean`` the mean over places; None the class token where there is one.
    size
        Side of a window [pixel]; None for what the network was made for. Smaller images are one window.
    pixel_size
        [nm] that images are resampled to; None takes their pixels as they are.
    device
        ``cpu``, ``cuda``, ``cuda:1``.
    """

    card: ClassVar[Card] = Card(
        name=NAME,
        version="1",
        summary="Vectors of a pretrained vision network, from a local folder or the Hugging Face hub",
        parameters={
            "model": None, "revision": None, "pool": None, "size": None, "pixel_size": None, "device": "cpu",
        },
        licence="that of the weights",
        reference=(
            "Oquab et al., TMLR 2024 (DINOv2); Liu et al., CVPR 2022 (ConvNeXt); Stuckner et al., "
            "npj Comput. Mater. 8, 200 (2022) (MicroNet)"
        ),
        scale="pixels as they are, or resampled to pixel_size",
        modalities=("SEM", "TEM", "STEM", "STM", "AFM", "optical"),
    )  # fmt: skip
    schemas: ClassVar[Mapping[str, pa.Schema]] = {"embeddings": EMBEDDINGS}
    places: ClassVar[frozenset[str]] = frozenset({"model", "revision", "device"})

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        for name, expected in (
            ("pixel_size", "a length in nm, for example 20"), ("size", "a number of pixels, for example 224"),
        ):  # fmt: skip
            check_positive(self, name, expected)
        pool, size = self.parameters["pool"], self.parameters["size"]
        if pool not in (None, *backbone.POOLS):
            raise UsageError(f"backbone: pool is {pool!r}; expected 'cls', 'mean' or None")
        if size is not None and (size != int(size) or size < _SMALLEST):
            raise UsageError(f"backbone: size is {size!r}; expected a number of pixels, {_SMALLEST} or more")
        for name in ("model", "revision"):
            if not isinstance(self.parameters[name], str | None):
                raise UsageError(f"backbone: {name} is {self.parameters[name]!r}; expected a name")
        self._place: backbone.Place | None = None
        self._dim = 0
        if self.parameters["model"] is not None:
            self._place = backbone.place(self.parameters["model"], self.parameters["revision"])
            self._learnt(self._place.sha256, {})
            self._dim = self._measured()

    def _measured(self) -> int:
        """Return the length of a vector, by asking for one of nothing: what does not work says so here."""
        side = self._side((1 << 20, 1 << 20))
        try:
            return int(
                self._network.vectors(np.zeros((1, side, side), np.float32), self.parameters["pool"]).shape[1]
            )
        except (RuntimeError, ValueError, KeyError) as error:
            raise UsageError(
                f"backbone: {self.parameters['model']} gives no vector of a window of {side} pixels: {error}"
            ) from error

    @property
    def _network(self) -> backbone.Backbone:
        if self._place is None:
            raise UsageError(
                "backbone: no model is named; expected a folder with config.json and model.safetensors, or a "
                "name at the Hugging Face hub: --set model=facebook/dinov2-small"
            )
        return backbone.load(self._place.path, self._place.sha256, self.parameters["device"])

    @property
    def spaces(self) -> tuple[Space, ...]:
        """The one space it fills."""
        assert self._network  # noqa: S101 (says what is lacking)
        pitch = self.parameters["pixel_size"]
        return (Space(space_name(pitch, NAME), self._dim, None if pitch is None else float(pitch)),)

    def extract_one(self, picture: Picture) -> Extraction | Refusal:
        """Return one row for a picture, or the reason why there is none."""
        if picture.modality == "diffraction":
            return Refusal(picture.image, "a diffraction pattern shows no structure in real space")
        frames = usable(picture)
        if isinstance(frames, str):
            return Refusal(picture.image, frames)
        grown = factors(picture.pixel_size, self.parameters["pixel_size"])
        if isinstance(grown, str):
            return Refusal(picture.image, grown)
        found = []
        for frame in frames:
            vector = self._vector(resample(scaled(frame), grown))
            if isinstance(vector, str):
                return Refusal(picture.image, vector)
            if vector is not None:
                found.append(vector)
        if not found:
            return Refusal(picture.image, "the image is blank at the pixel size asked for")
        mean = _unit(np.mean(found, axis=0))
        table = {"image": [picture.image], "space": [self.spaces[0].name], "vector": [mean]}
        return Extraction(picture.image, {"embeddings": pa.table(table, schema=EMBEDDINGS)})

    def _side(self, shape: tuple[int, ...]) -> int:
        """Return the side of windows of an image of a shape [pixel]."""
        network = self._network
        return (
            min(int(self.parameters["size"] or network.side), *shape) // network.multiple * network.multiple
        )

    def _vector(self, image: Floats32) -> npt.NDArray[np.floating] | str | None:
        """Return the unit vector of an image, None for a blank one, or why there is none."""
        if min(image.shape) < _SMALLEST:
            size = f"{image.shape[1]} x {image.shape[0]} pixels at the scale asked for"
            return f"{size}; at least {_SMALLEST} x {_SMALLEST} are needed"
        if constant(image):
            return None
        grey = np.clip(view(image) / 2 + 0.5, 0, 1).astype(np.float32)
        side = self._side(image.shape)
        windows = np.stack([
            grey[top : top + side, left : left + side]
            for top in _starts(image.shape[0], side)
            for left in _starts(image.shape[1], side)
        ])  # fmt: skip
        try:
            made = self._network.vectors(windows, self.parameters["pool"])
        except (RuntimeError, ValueError) as error:  # some networks know one size alone
            return f"the network takes no windows of {side} x {side} pixels: {str(error).splitlines()[0]}"
        return _unit(np.mean([_unit(one) for one in made], axis=0))


def _starts(length: int, side: int) -> list[int]:
    """Return where windows begin along an axis, evenly; their edges are those of the image."""
    count = min(_WINDOWS, -(-length // side))
    return (
        [(length - side) // 2]
        if count == 1
        else np.linspace(0, length - side, count).round().astype(int).tolist()
    )


def _unit(vector: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), dtype=np.float32)

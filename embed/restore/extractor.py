"""What `denoise` and `super-resolve` share: a network makes an image of an image, which is then checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from micdb.embed.atoms.frame import frames, prepared
from micdb.embed.nets import weights
from micdb.embed.restore.check import Check, check
from micdb.embed.restore.network import TURNS, plain, restored
from micdb.errors import UsageError
from micdb.populate.extractor import Extraction, Extractor
from micdb.populate.facts import RESTORATIONS
from micdb.records import Picture, Refusal
from micdb.restored import packed, runs

if TYPE_CHECKING:
    from torch import nn

_SMALLEST = 32  # [pixel] side of an image
_MOST = 8192  # [pixel] of a restored image, as the root of their number: 128 MB


@dataclass(frozen=True, slots=True)
class _Frame:
    """A restored frame ``(y, x)``, NaN where nothing was scanned; its check, and the same for the mask."""

    pixels: npt.NDArray[np.float32]
    found: Check
    invented: npt.NDArray[np.bool_]


class Restorer(Extractor):
    """Makes an image of each frame; a subclass says by which weights and how much finer."""

    #: Of the extractor.
    name: ClassVar[str]
    #: Pixels of the restored image in one of the image, each way.
    factor: ClassVar[int]
    schemas: ClassVar[Mapping[str, pa.Schema]] = {"restorations": RESTORATIONS}
    places: ClassVar[frozenset[str]] = frozenset({"weights"})

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        if not 1 <= self.parameters["turns"] <= TURNS:
            raise UsageError(
                f"{self.name}: turns is {self.parameters['turns']}; expected 1 to {TURNS}, the ways an image "
                "can be turned and mirrored"
            )
        given, file = self.parameters["weights"], self.weights_name
        self._folder: Path | None = None
        self._known = weights.card(file)
        if given is not None:
            self._known, self._folder = weights.of_user(file, given, f"micdb train {file}")
        self._learnt(self._known.sha256, self._known.texts)

    @property
    def weights_name(self) -> str:
        """Of the weights that the parameters ask for."""
        return self.name

    def restore(self, image: npt.NDArray[np.floating], network: nn.Module) -> npt.NDArray[np.float32]:
        """Return the image ``(factor * y, factor * x)`` that is made of one ``(y, x)``."""
        return restored(plain(image), network, turns=self.parameters["turns"])

    def extract_one(self, picture: Picture) -> Extraction | Refusal:
        """Return the restored frames of a picture, or the reason why there are none."""
        if picture.modality == "diffraction":
            return Refusal(picture.image, f"{self.name} knows images, not diffraction patterns")
        found = frames(picture, self._frame)
        if isinstance(found, Refusal):
            return found
        rows = [
            {"image": picture.image, "frame": number, **self._row(one, picture)}
            for number, one in found.items()
        ]
        table = pa.Table.from_pylist(rows, schema=RESTORATIONS)
        return Extraction(picture.image, {"restorations": table}, _rollups(list(found.values())))

    def _frame(self, pixels: npt.NDArray[np.floating]) -> _Frame | str:
        """Return one restored frame, or why there is none."""
        if np.prod(pixels.shape) * self.factor**2 > _MOST**2:
            return (
                f"{pixels.shape[1]} x {pixels.shape[0]} pixels; {self.name} makes images of up to "
                f"{_MOST**2 // self.factor**2:,} pixels: cut the image"
            )
        ready = prepared(pixels, smallest=_SMALLEST)
        if isinstance(ready, str):
            return ready
        image, corner = ready
        unit = float(np.abs(image).max())  # squares of values of 1e-30 A would be nothing
        made, found = self._restored(image / unit)
        whole = np.full([self.factor * size for size in pixels.shape], np.nan, dtype=np.float32)
        invented = np.zeros(whole.shape, dtype=bool)
        inside = tuple(
            slice(self.factor * at, self.factor * (at + size))
            for at, size in zip(corner, image.shape, strict=True)
        )
        whole[inside], invented[inside] = unit * made, found.invented
        return _Frame(whole, replace(found, noise=unit * found.noise), invented)

    def _restored(self, image: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.float32], Check]:
        network = weights.unet(self.weights_name, self._folder, self._known.sha256)

        def restore(value: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
            return self.restore(value, network)

        made = restore(image)
        return made, check(image, made, restore, factor=self.factor, seed=self.parameters["seed"])

    def _row(self, frame: _Frame, picture: Picture) -> dict[str, Any]:
        numbers, offset, scale = packed(frame.pixels)
        found, step = frame.found, picture.pixel_size
        coarse = None if step is None else max(step)
        return {
            "factor": self.factor,
            "height_px": frame.pixels.shape[0],
            "width_px": frame.pixels.shape[1],
            "pixel_x_nm": None if step is None else step[1] / self.factor,
            "pixel_y_nm": None if step is None else step[0] / self.factor,
            "offset": offset,
            "scale": scale,
            "pixels": numbers,
            "data_resolution_px": found.data_resolution_px,
            "data_resolution_nm": _times(found.data_resolution_px, coarse),
            "resolution_px": found.resolution_px,
            "resolution_nm": _times(found.resolution_px, coarse),
            "noise": found.noise,
            "residual_correlation": found.correlation,
            "residual_correlation_sd": found.correlation_sd,
            "invented": float(frame.invented.mean()),
            "invented_runs": runs(frame.invented),
        }


def _times(value: float | None, step: float | None) -> float | None:
    return None if value is None or step is None else value * step


def _rollups(found: list[_Frame]) -> dict[str, tuple[float | None, str | None]]:
    """Return means over the frames."""
    known = [one.found.resolution_px for one in found if one.found.resolution_px is not None]
    return {
        "resolution_px": (float(np.mean(known)) if known else None, "pixel"),
        "invented": (float(np.mean([one.invented.mean() for one in found])), None),
    }

"""`stm-defects`: point defects on terraces of scanning tunneling topographs, named by how they look.

Terraces are flattened, a U-Net looks for defects at every doubling of the pixel from 0.1 to 1.6 nm, and each
is described by its profile. Whether one is a peak or a trough holds for the bias of its image. What a user
marked in images of his own decides by a forest what counts and how it is called.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from micdb.embed.atoms.frame import arrow_table, frames, in_nm, misscaled, pitch_of, prepared
from micdb.embed.nets import weights
from micdb.embed.stm.candidates import candidates
from micdb.embed.stm.describe import Looks, describe
from micdb.embed.stm.detect import Found, asked, detect
from micdb.embed.stm.forest import Forest
from micdb.embed.stm.kinds import kind_of
from micdb.embed.stm.levels import LEVELS, levels
from micdb.errors import UsageError
from micdb.populate.extractor import Card, Extraction, Extractor
from micdb.populate.facts import DEFECTS
from micdb.records import Picture, Refusal

Floats = npt.NDArray[np.float64]
_Defects = tuple[Found, Looks, list[str], Floats]  # the last two are kinds and scores

_CARD = weights.card("stm-defects")
_COARSEST = 2.5  # [nm] a defect of 10 nm is four pixels wide
_SMALLEST = 32  # [pixel]
_SHORTEST = 2.0  # [nm] side of a field: less is within one defect
_MODALITIES = ("STM", "AFM")


@dataclass(frozen=True, slots=True)
class _Frame:
    """Defects of one frame ``(n,)``.

    Parameters
    ----------
    xy
        Centres ``(n, 2)`` as x, y [pixel], from the top-left pixel of the frame.
    extent
        [nm].
    kinds
        Names.
    score
        Probability that there is a defect of that kind.
    descriptor
        ``(n, k)``.
    area
        Scanned [pixel].
    """

    xy: Floats
    extent: Floats
    kinds: list[str]
    score: Floats
    descriptor: npt.NDArray[np.float32]
    area: int


class StmDefects(Extractor):
    """Point defects of topographs by a U-Net, with their extent and a descriptor of their look.

    Parameters
    ----------
    weights
        File ``.safetensors`` that `micdb.embed.train.annotated.fine_tune` wrote, its card ``.json`` beside
        it; None for the weights that ship. Its hash makes the run, wherever the file lies.
    least_probability
        That there is a defect; ``score`` is the one that there is a defect of that kind.
    """

    card: ClassVar[Card] = Card(
        name="stm-defects",
        version="1",
        summary="Point defects on terraces of topographs, by size, contrast and sign, with a descriptor",
        parameters={"weights": None, "least_probability": 0.5},
        licence="BSD-3-Clause",
        reference=(
            "Ronneberger et al. 2015 (U-Net); kinds as in Smalley et al., arXiv 2312.05160 (2023): defects "
            "of WSe2"
        ),
        scale=(
            f"resampled to {LEVELS[0]:g} to {LEVELS[-1]:g} nm/pixel; pixels of {_COARSEST:g} nm or finer, "
            "known"
        ),
        modalities=_MODALITIES,
        weights_hash=_CARD.sha256,
        validated={
            **_CARD.texts,
            "65 annotated images of WSe2, taught with other fields of view": (
                "F1 0.742 of places, 0.733 of peaks and troughs, 0.634 of all kinds (blobs and a forest: "
                "0.575, 0.570, 0.494; benchmarks/stm.py)"
            ),
            "the same, taught with other crystals": (
                "F1 0.534 of places, 0.510 of peaks and troughs, 0.380 of all kinds"
            ),
            "the same, as shipped": "F1 0.366 of places, 0.378 of peaks and troughs, 0.200 of all kinds",
        },
        planted=_CARD.measured.get("planted", {}),
    )
    schemas: ClassVar[Mapping[str, pa.Schema]] = {"defects": DEFECTS}
    places: ClassVar[frozenset[str]] = frozenset({"weights"})

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        least = self.parameters["least_probability"]
        if not 0 < least < 1:
            raise UsageError(f"stm-defects: least_probability is {least!r}; expected one between 0 and 1")
        self._known: weights.Weights = _CARD
        self._folder: Path | None = None
        given = self.parameters["weights"]
        if given is not None:
            self._known, self._folder = _own_weights(given)
            self._learnt(self._known.sha256, self._known.texts, planted={})

    def extract_one(self, picture: Picture) -> Extraction | Refusal:
        """Return the defects of a picture, or the reason why there are none."""
        reason = _unfit(picture)
        if reason:
            return Refusal(picture.image, reason)
        pitch = pitch_of(picture)
        assert pitch is not None  # noqa: S101 (a picture without one is unfit)
        found = frames(picture, lambda pixels: self._measure(pixels, pitch))
        if isinstance(found, Refusal):
            return found
        rows = pa.concat_tables([_table(picture, number, one) for number, one in found.items()])
        return Extraction(picture.image, {"defects": rows}, _rollups(list(found.values()), picture))

    def _measure(self, pixels: npt.NDArray[np.floating], pitch: float) -> _Frame | str:
        """Return the defects of one frame, or why it cannot be measured."""
        ready = prepared(pixels, smallest=_SMALLEST)
        if isinstance(ready, str):
            return ready
        image, corner = ready
        if min(image.shape) * pitch < _SHORTEST:
            return f"a field of {min(image.shape) * pitch:.2g} nm; at least {_SHORTEST:g} nm are needed"
        image = image / float(np.abs(image).max())
        find = self._shipped if self._folder is None else self._taught
        found, looks, kinds, score = find(image, pitch)
        xy = found.xy + np.array([corner[1], corner[0]])
        order = np.lexsort((xy[:, 0], np.rint(xy[:, 1])))
        return _Frame(
            xy[order], looks.extent[order], [kinds[one] for one in order], score[order],
            looks.descriptor[order], image.size,
        )  # fmt: skip

    def _shipped(self, image: Floats, pitch: float) -> _Defects:
        """Find defects by the network alone; what they are called is measured."""
        made = levels(image, pitch)
        answers = asked(made, weights.unet(_CARD.name))
        found = detect(made, answers, pixel_size=pitch, least=self.parameters["least_probability"])
        looks = describe(found, made, pitch)
        kinds = [kind_of(*one) for one in zip(looks.extent, looks.height, looks.noise, strict=True)]
        return found, looks, kinds, found.probability

    def _taught(self, image: Floats, pitch: float) -> _Defects:
        """Find defects as the user's examples say."""
        made = candidates(image, pitch, weights.unet(_CARD.name))
        assert self._folder is not None  # noqa: S101 (asked only then)
        chance = _forest(self._folder, self._known.sha256).probabilities(made.numbers)
        chosen = np.flatnonzero(1 - chance[:, 0] >= self.parameters["least_probability"])
        best = chance[chosen, 1:].argmax(axis=1)
        looks = Looks(*(getattr(made.looks, name)[chosen] for name in Looks.__slots__))
        kinds = [self._known.recipe["kinds"][one] for one in best]
        return made.found.take(chosen), looks, kinds, chance[chosen, 1 + best]


def _unfit(picture: Picture) -> str | None:
    """Return why a picture cannot be asked for defects, or None."""
    if picture.modality is not None and picture.modality not in _MODALITIES:
        return f"modality {picture.modality}; defects are sought in {' and '.join(_MODALITIES)} topographs"
    if picture.pixel_size is None:
        return "no pixel size: without one small defects cannot be told from large ones; give it, in nm"
    return misscaled(picture, _COARSEST, "defects")


def _own_weights(given: Any) -> tuple[weights.Weights, Path]:
    """Return the card of a user's weights and their folder."""
    known, folder = weights.of_user(_CARD.name, given, "micdb train stm-defects --from-annotations")
    if known.recipe.get("from") != _CARD.sha256:
        raise UsageError(
            f"stm-defects: {given} was taught on candidates of another version of the network: train it again"
        )
    return known, folder


@cache
def _forest(folder: Path, sha256: str) -> Forest:  # noqa: ARG001 (another file of that name is another forest)
    return Forest.of(weights.load_arrays(_CARD.name, folder))


def _table(picture: Picture, number: int, frame: _Frame) -> pa.Table:
    """Return the rows of a frame."""
    n, (x, y) = len(frame.kinds), frame.xy.T
    side = frame.extent / math.sqrt(math.prod(picture.pixel_size or (math.nan,)))
    columns = {
        **dict.fromkeys(DEFECTS.names),
        "image": np.full(n, picture.image),
        "frame": np.full(n, number),
        "kind": frame.kinds,
        "x_px": x,
        "y_px": y,
        "x_nm": in_nm(picture, 1, x),
        "y_nm": in_nm(picture, 0, y),
        "box": list(np.column_stack((x - side / 2 + 0.5, y - side / 2 + 0.5, side, side))),
        "score": frame.score,
        "descriptor": list(frame.descriptor),
    }
    return arrow_table(columns, DEFECTS, n)


def _rollups(frames: Sequence[_Frame], picture: Picture) -> dict[str, tuple[float | None, str | None]]:
    """Return the mean number of defects per frame, and the area of all frames together."""
    pixel = math.prod(picture.pixel_size or (math.nan,))
    return {
        "n_defects": (float(np.mean([len(one.kinds) for one in frames])), None),
        "analysed_area": (sum(one.area for one in frames) * pixel, "nm**2"),
    }

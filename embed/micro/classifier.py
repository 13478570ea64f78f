"""What names classes, whole: the embedders that describe a picture, and the head over their vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from micdb.embed.micro.head import Floats, Head
from micdb.embed.nets import weights
from micdb.errors import UsageError
from micdb.populate.extractor import Extractor, extractors
from micdb.records import Picture, Refusal

NAME = "classify"


@dataclass(frozen=True, slots=True)
class Source:
    """A block of the vectors a head was taught with: one space of one embedder.

    Parameters
    ----------
    extractor, version, weights_hash, parameters
        Of the run that filled it.
    space
        ``texture@256nm``.
    """

    extractor: str
    version: str
    weights_hash: str | None
    parameters: Mapping[str, Any]
    space: str


class Classifier:
    """A head with the embedders it needs, read from a folder.

    Parameters
    ----------
    path
        File ``classify.safetensors`` that `write` made, its card beside it.

    Raises
    ------
    UsageError
        It is not such a file, or an embedder is not the one it was taught with.
    """

    def __init__(self, path: Path) -> None:
        self.card, _ = weights.of_user(NAME, path, "micdb train classify")
        self.classes: tuple[str, ...] = tuple(self.card.recipe["classes"])
        arrays = weights.load_arrays(NAME, path.parent)
        self.head = Head(**{one.name: np.asarray(arrays[one.name], np.float64) for one in fields(Head)})
        self._sources = [Source(**one) for one in self.card.recipe["sources"]]
        self._embedders = [_embedder(one) for one in self._sources]

    def vector(self, picture: Picture) -> Floats | str:
        """Return the vector of a picture ``(d,)``, or why it has none."""
        found = []
        for source, embedder in zip(self._sources, self._embedders, strict=True):
            (answer,) = embedder.extract([picture])
            if isinstance(answer, Refusal):
                return answer.reason
            table = answer.tables["embeddings"]
            spaces = table["space"].to_pylist()
            if source.space not in spaces:
                return f"the image has no vector in {source.space}, by which the classes were taught"
            found.append(np.asarray(table["vector"][spaces.index(source.space)].as_py(), np.float64))
        return np.concatenate(found)


def write(
    head: Head,
    folder: Path,
    *,
    classes: Sequence[str],
    sources: Sequence[Source],
    told: Mapping[str, Any],
    measured: Mapping[str, Any],
) -> weights.Weights:
    """Write a head and its card to a folder.

    Parameters
    ----------
    head
        What was learnt.
    folder
        Where to.
    classes
        Names of the labels, by number.
    sources
        What its vectors are made of, in order.
    told, measured
        What else a reader of the card has to know: what it was taught with, and what it reached.

    Raises
    ------
    UsageError
        The folder is that of the shipped weights.
    """
    if folder.resolve() == weights.FOLDER.resolve():
        raise UsageError(f"{folder} holds the weights that micdb ships; choose a folder of your own")
    recipe = {**told, "classes": list(classes), "sources": [asdict(one) for one in sources]}
    arrays = {one.name: getattr(head, one.name).astype(np.float32) for one in fields(Head)}
    return weights.save_arrays(arrays, NAME, recipe=recipe, measured=dict(measured), folder=folder)


def _embedder(source: Source) -> Extractor:
    made = extractors().get(source.extractor)(**source.parameters)
    found, wanted = (made.card.version, made.card.weights_hash), (source.version, source.weights_hash)
    if found != wanted:
        raise UsageError(
            f"classify: these classes were taught with {source.extractor}@{source.version}, and here is "
            f"another ({source.extractor}@{found[0]}): populate it, and teach them again with micdb train "
            "classify"
        )
    return made

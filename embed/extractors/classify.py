"""`classify`: what a micrograph shows, by a head that a user taught with a handful of labels.

Fills `classes`: every class with its probability, the likeliest first, and ``unknown`` before them where the
image is far from all that was taught.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from micdb.embed.micro.classifier import NAME, Classifier
from micdb.errors import UsageError
from micdb.populate.extractor import Card, Extraction, Extractor
from micdb.populate.facts import CLASSES
from micdb.records import Picture, Refusal

UNKNOWN = "unknown"
UNCERTAINTY, NOVELTY = "classify_uncertainty", "classify_novelty"  # roll-ups


class Classify(Extractor):
    """Classes of whole micrographs, as a user's labels have them.

    Parameters
    ----------
    weights
        File ``classify.safetensors`` that ``frame.classify(...).save(folder)`` wrote, its card beside it. Its
        hash makes the run, wherever the file lies.
    unknown
        Share of images of what was taught that may be called unknown, 0 to 1; 0 calls none so.
    """

    card: ClassVar[Card] = Card(
        name=NAME,
        version="1",
        summary="Classes of whole micrographs, learnt from a handful of labels; unknown when far from all",
        parameters={"weights": None, "unknown": 0.05},
        licence="BSD-3-Clause",
        reference=(
            "Ledoit & Wolf, J. Multivar. Anal. 88, 365 (2004): discriminant analysis with few images; Vovk, "
            "Gammerman & Shafer, Algorithmic Learning in a Random World (2005): unknown"
        ),
        scale="that of the embeddings it was taught with",
    )
    schemas: ClassVar[Mapping[str, pa.Schema]] = {"classes": CLASSES}
    places: ClassVar[frozenset[str]] = frozenset({"weights"})

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        level = self.parameters["unknown"]
        if level is None or not 0 <= level < 1:
            raise UsageError(f"classify: unknown is {level!r}; expected a share from 0 to below 1, like 0.05")
        self._known: Classifier | None = None
        if self.parameters["weights"] is not None:
            self._known = Classifier(Path(str(self.parameters["weights"])).expanduser())
            self._learnt(self._known.card.sha256, self._known.card.texts)

    def extract_one(self, picture: Picture) -> Extraction | Refusal:
        """Return the classes of a picture, or the reason why there are none."""
        if self._known is None:
            raise UsageError(
                "classify knows no classes yet: label some images, teach it (micdb train classify --label "
                "PROPERTY --out FOLDER) and name --set weights=FOLDER/classify.safetensors"
            )
        vector = self._known.vector(picture)
        if isinstance(vector, str):
            return Refusal(picture.image, vector)
        (shares,), (novelty,) = (
            ask(vector[None]) for ask in (self._known.head.probabilities, self._known.head.novelty)
        )
        strange = novelty > 1 - self.parameters["unknown"]
        rows = [
            (self._known.classes[number], float(shares[number]))
            for number in np.argsort(-shares, kind="stable")
        ]
        shown: list[tuple[str, float | None]] = [(UNKNOWN, None)] * bool(strange) + [*rows]
        table = pa.table(
            {
                "image": [picture.image] * len(shown),
                "rank": range(1, len(shown) + 1),
                "label": [label for label, _ in shown],
                "probability": [probability for _, probability in shown],
                "novelty": [float(novelty)] * len(shown),
            },
            schema=CLASSES,
        )
        rollups = {
            UNCERTAINTY: (1.0 if strange else uncertainty(shares), None),
            NOVELTY: (float(novelty), None),
        }
        return Extraction(picture.image, {"classes": table}, rollups)


def uncertainty(shares: np.ndarray) -> float:
    """Return the entropy of probabilities ``(k,)`` as a share of the largest, 0 (sure) to 1."""
    kept = shares[shares > 0]
    return float(-(kept * np.log(kept)).sum() / math.log(len(shares)))

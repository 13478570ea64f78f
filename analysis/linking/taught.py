"""What a model learns from some rows: how features are scaled and reduced, and the model itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from micdb.analysis.linking import models
from micdb.analysis.linking.design import Design
from micdb.analysis.linking.features import Features

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_COMPONENTS = 16  # of one embedding; half the training groups where that is fewer


class Reduction:
    """Features, standardised and reduced by what training rows alone show.

    Each embedding is standardised, projected on its principal components and standardised again.

    Parameters
    ----------
    steps
        Embedding, or the empty text for the columns -> its scikit-learn pipeline.
    """

    def __init__(self, steps: Mapping[str, Any]) -> None:
        self.steps = steps

    @classmethod
    def fit(cls, features: Features, rows: Ints, *, components: int) -> Reduction:
        """Learn scales and at most so many components of each embedding, reading only `rows`."""
        from sklearn.decomposition import PCA
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        made: dict[str, Any] = {}
        for name, block in _blocks(features):
            steps: list[Any] = [StandardScaler()]
            if name in features.embeddings:
                most = min(components, block.shape[1], len(rows) - 1)
                steps += [PCA(max(1, most), random_state=0), StandardScaler()]
            made[name] = make_pipeline(*steps).fit(block[rows])
        return cls(made)

    def transform(self, features: Features) -> Floats:
        """Return what a model sees ``(n, p)``."""
        return np.hstack([self.steps[name].transform(block) for name, block in _blocks(features)])


@dataclass(frozen=True, slots=True)
class Taught:
    """A model and the reduction that feeds it."""

    reduction: Reduction
    model: Any

    def predict(self, features: Features) -> Floats:
        """Return predictions ``(n,)`` [target's unit]."""
        return np.asarray(models.predict(self.model, self.reduction.transform(features), features.bags))


def source(design: Design, name: str) -> Features:
    """Return what a model looks at: the metadata baseline at metadata, all others at the features."""
    return design.metadata if name == models.METADATA else design.features


def teach(
    design: Design,
    names: Sequence[str],
    *,
    rows: Ints,
    seed: int,
    like: Mapping[str, Taught] | None = None,
) -> dict[str, Taught]:
    """Return models learnt from some rows.

    Parameters
    ----------
    design
        Everything; what is not in `rows` is not looked at.
    names
        Keys of `models.MODELS`.
    rows
        What to learn from.
    seed
        Of the models.
    like
        Models of the surrounding rows, whose hyperparameters are kept.
    """
    groups = design.groups[rows]
    components = min(MAX_COMPONENTS, max(1, len(np.unique(groups)) // 2))
    reductions: dict[int, Reduction] = {}
    taught = {}
    for name in names:
        seen = source(design, name)
        if id(seen) not in reductions:
            reductions[id(seen)] = Reduction.fit(seen, rows, components=components)
        reduction = reductions[id(seen)]
        training = models.TrainingSet(
            reduction.transform(seen.of(rows)), design.y[rows], groups, seen.bags[rows], seed
        )
        before = like[name].model if like and name in like else None
        taught[name] = Taught(reduction, models.fit(name, training, like=before))
    return taught


def _blocks(features: Features) -> list[tuple[str, Floats]]:
    """Return the column features as one block and each embedding as another; names cannot clash with ''."""
    named = [("", np.column_stack(list(features.columns.values())))] if features.columns else []
    return [*named, *features.embeddings.items()]

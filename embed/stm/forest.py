"""A forest that learns a user's names for defects from marked images, kept as plain arrays.

Extremely randomised trees (Geurts, Ernst & Wehenkel, Machine Learning 63, 3 (2006)) on what the network and
the profile say of each candidate: a few dozen examples of a kind are enough, where a network needs thousands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]

_LEAF = 2  # least candidates in a leaf
_TRIED = 0.3  # share of the numbers tried at each node
_ROWS = 500  # candidates at once: all trees are walked together


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees, their nodes one after another.

    Parameters
    ----------
    roots
        First node of each tree ``(tree,)``.
    left, right
        Nodes that follow where a number is at most the threshold, or above ``(node,)``; -1 for a leaf.
    number, threshold
        What is compared with what ``(node,)``.
    share
        Of each class in a leaf ``(node, class)``; class 0 is none, the others are kinds.
    """

    roots: Ints
    left: Ints
    right: Ints
    number: Ints
    threshold: npt.NDArray[np.float32]
    share: npt.NDArray[np.float32]

    def probabilities(self, numbers: npt.NDArray[np.float32]) -> Floats:
        """Return the probability of each class ``(n, class)`` for numbers ``(n, k)``."""
        parts = [self._part(numbers[row : row + _ROWS]) for row in range(0, len(numbers), _ROWS)]
        return np.concatenate(parts) if parts else np.zeros((0, self.share.shape[1]))

    def _part(self, numbers: npt.NDArray[np.float32]) -> Floats:
        node = np.tile(self.roots, (len(numbers), 1))
        rows = np.arange(len(numbers))[:, None]
        while (inner := self.left[node] >= 0).any():
            below = numbers[rows, self.number[node]] <= self.threshold[node]
            node = np.where(inner, np.where(below, self.left[node], self.right[node]), node)
        return np.asarray(self.share[node].mean(axis=1), dtype=np.float64)

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return everything by name, to be kept."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[np.generic]]) -> Forest:
        """Return the forest that `arrays` came from."""
        return cls(**arrays)  # type: ignore[arg-type]


def grow(
    numbers: npt.NDArray[np.float32], names: npt.NDArray[np.int64], *, classes: int, trees: int, seed: int
) -> Forest:
    """Return a forest taught on candidates.

    Parameters
    ----------
    numbers
        ``(n, k)``.
    names
        Class of each ``(n,)``.
    classes
        How many there are, none included.
    trees, seed
        Of the forest.
    """
    from sklearn.ensemble import ExtraTreesClassifier

    taught = ExtraTreesClassifier(trees, min_samples_leaf=_LEAF, max_features=_TRIED, random_state=seed).fit(
        numbers, names
    )
    grown = [one.tree_ for one in taught.estimators_]
    roots = np.concatenate(([0], np.cumsum([tree.node_count for tree in grown])[:-1])).astype(np.int32)
    share = np.zeros((sum(tree.node_count for tree in grown), classes), dtype=np.float32)
    values = np.concatenate([tree.value[:, 0] for tree in grown])
    share[:, taught.classes_] = values / values.sum(axis=1, keepdims=True)
    left, right = (
        np.concatenate(
            [np.where(part >= 0, part + root, -1) for part, root in zip(parts, roots, strict=True)]
        )
        for parts in ([tree.children_left for tree in grown], [tree.children_right for tree in grown])
    )
    number = np.maximum(np.concatenate([tree.feature for tree in grown]), 0)
    threshold = np.concatenate([tree.threshold for tree in grown])
    return Forest(
        roots, left.astype(np.int32), right.astype(np.int32), number.astype(np.int32),
        threshold.astype(np.float32), share,
    )  # fmt: skip

"""Which motifs there may be among defects: one for each bond graph, or one for each cluster of looks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, count
from typing import Any

import numpy as np
import pandas as pd

from micdb.analysis.library.definition import Descriptors, of_examples, of_kind
from micdb.embed.defects.classes import UNKNOWN
from micdb.embed.defects.discover import FEWEST, discover

Proposal = tuple[str, dict[str, Any], pd.Index]  # name, definition, index of the rows that are its members

LEAST = 0.5  # probability of looking like the examples, from which a defect belongs
_EXAMPLES = 20  # of a cluster, that define it


def by_graph(rows: pd.DataFrame, taken: set[str], *, rare: int) -> Iterator[Proposal]:
    """Yield a motif for each kind and bond graph of which there are `rare` or more, the most frequent first.

    Parameters
    ----------
    rows
        Defects.
    taken
        Names that others have; those that are given are added.
    rare
        Members that a motif needs.
    """
    named = rows[rows["kind"] != UNKNOWN]
    groups = named.groupby(["kind", "key"], dropna=False, sort=True)
    for _, members in sorted(groups, key=lambda one: -len(one[1])):
        if len(members) >= rare:
            kind, key = str(members["kind"].iloc[0]), members["key"].iloc[0]
            graph = None if pd.isna(key) else str(key)
            formula = None if members["formula"].isna().all() else str(members["formula"].mode()[0])
            yield _named(taken, kind, formula, graph), of_kind(kind, graph), members.index


def by_look(
    rows: pd.DataFrame, taken: set[str], *, rare: int, descriptors: Descriptors, prefix: str
) -> Iterator[Proposal]:
    """Yield a motif for each cluster of defects of one detector that look alike.

    Parameters
    ----------
    rows, taken
        As for `by_graph`.
    rare
        Members that a cluster needs, never fewer than five.
    descriptors
        Gives those of rows, by their index.
    prefix
        Of the names, which are numbered.
    """
    for _, group in rows.groupby(["detector", "version"]):
        vectors = descriptors(group).dropna()
        if vectors.empty:
            continue
        points = np.stack(vectors.tolist())
        label = discover(points, fewest=max(rare, FEWEST))
        for cluster in range(label.max(initial=-1) + 1):
            inside = np.flatnonzero(label == cluster)
            far = np.linalg.norm(points[inside] - points[inside].mean(axis=0), axis=1)
            shown = vectors.index[inside[np.argsort(far)[:_EXAMPLES]]]
            name = _free(taken, (f"{prefix}-{number}" for number in count(1)))
            yield name, of_examples(group.loc[shown], vectors[shown], LEAST), vectors.index[inside]


def _named(taken: set[str], kind: str, formula: str | None, key: str | None) -> str:
    """Return the shortest name that is free: Si1C3; Si1C3 adatom; Si1C3 adatom Si1C3-edbedd31."""
    plain = formula or kind
    tries = [plain, f"{plain} {kind}", f"{plain} {kind} {key}"]
    return _free(taken, chain(tries, (f"{plain} {kind} {number}" for number in count(2))))


def _free(taken: set[str], names: Iterator[str]) -> str:
    name = next(one for one in names if one not in taken)
    taken.add(name)
    return name

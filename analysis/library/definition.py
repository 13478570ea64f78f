"""What makes a defect one of a motif: its kind and graph, its likeness to examples, or several of these.

A definition is a small JSON tree, kept in ``defect_motif.definition``::

    {"by": "key", "kind": "substitution", "key": "Si1C3-edbedd31"}     the same bond graph with species
    {"by": "kind", "kind": "boundary"}                                 where there is no graph
    {"by": "examples", "examples": [uid, ...], "least": 0.5, ...}      looks like these: `of_examples`
    {"by": "any", "of": [definition, ...]}                             one of several: merged motifs
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from micdb.embed.defects.few_shot import Name, membership

Definition = Mapping[str, Any]
Floats = npt.NDArray[np.float64]
Descriptors = Callable[[pd.DataFrame], pd.Series]

_ORDER = {"examples": 0, "any": 1, "key": 2, "kind": 3}  # what people chose goes before what is counted


def of_kind(kind: str, key: str | None) -> dict[str, Any]:
    """Return the definition of defects of a kind with a graph, or without one."""
    return {"by": "kind", "kind": kind} if key is None else {"by": "key", "kind": kind, "key": key}


def of_examples(shown: pd.DataFrame, descriptors: pd.Series, least: float) -> dict[str, Any]:
    """Return the definition of what looks like examples with a probability of `least` or more.

    It keeps their descriptors, kinds and keys, so that it holds whatever becomes of the examples.

    Parameters
    ----------
    shown
        Rows of the examples, all of one detector.
    descriptors
        Theirs.
    least
        Probability.
    """
    return {
        "by": "examples",
        "examples": shown["uid"].tolist(),
        "descriptors": [[float(one) for one in vector] for vector in descriptors],
        "names": [list(name) for name in _names(shown)],
        "detector": str(shown["detector"].iloc[0]),
        "version": str(shown["version"].iloc[0]),
        "least": least,
    }


def of_any(definitions: Iterable[Definition]) -> dict[str, Any]:
    """Return the definition of what fulfils one of several; those that are such themselves are opened."""
    parts: list[Definition] = []
    for one in definitions:
        parts += one["of"] if one["by"] == "any" else [one]
    return {"by": "any", "of": [dict(part) for part in parts]}


def degree(definition: Definition, rows: pd.DataFrame, descriptors: Descriptors) -> Floats:
    """Return how surely each defect belongs to a motif ``(n,)``, 0 where it does not.

    Parameters
    ----------
    definition
        See the head of this file.
    rows
        As from `micdb.analysis.library.found.defects`.
    descriptors
        Gives those of such rows, by their index; asked for only where there are examples.
    """
    by = definition["by"]
    if by == "any":
        parts = [degree(part, rows, descriptors) for part in definition["of"]]
        return np.asarray(np.max(parts, axis=0), dtype=np.float64)
    if by == "examples":
        return _likeness(definition, rows, descriptors)
    same = rows["kind"] == definition["kind"]
    same &= rows["key"].isna() if by == "kind" else rows["key"] == definition["key"]
    return np.asarray(same, dtype=np.float64)


def assign(motifs: Mapping[int, Definition], rows: pd.DataFrame, descriptors: Descriptors) -> pd.Series:
    """Return the key of the motif that each defect belongs to, or missing.

    Parameters
    ----------
    motifs
        Definition by key of the motif.
    rows, descriptors
        As for `degree`.

    Returns
    -------
    pandas.Series
        ``Int64``, in the order of `rows`. A defect that fulfils several definitions belongs to one by
        examples before a merged one, to that before one by graph; among equals to the surest.
    """
    taken = pd.Series(pd.NA, index=rows.index, dtype="Int64")
    ranked = sorted(motifs, key=lambda pk: (_ORDER[motifs[pk]["by"]], pk))
    for place in sorted(set(_ORDER.values())):
        group = [pk for pk in ranked if _ORDER[motifs[pk]["by"]] == place]
        free = taken.isna()
        if not group or not free.any():
            continue
        degrees = np.array([degree(motifs[pk], rows, descriptors) for pk in group])
        best = degrees.argmax(axis=0)
        sure = (degrees.max(axis=0) > 0) & free.to_numpy()
        taken[sure] = np.array(group)[best[sure]]
    return taken


def _likeness(definition: Definition, rows: pd.DataFrame, descriptors: Descriptors) -> Floats:
    """Return the probability of looking like the examples, of those where it is at least `least`."""
    found = np.zeros(len(rows))
    same = (rows["detector"] == definition["detector"]) & (rows["version"] == definition["version"])
    vectors = descriptors(rows[same]).dropna()
    if len(vectors):
        shown = [(kind, key) for kind, key in definition["names"]]
        names = shown, _names(rows.loc[vectors.index])
        likely = membership(np.array(definition["descriptors"]), np.stack(vectors.tolist()), names)
        place = rows.index.get_indexer(vectors.index)
        found[place] = np.where(likely >= definition["least"], likely, 0.0)
    found[rows["uid"].isin(definition["examples"]).to_numpy()] = 1.0
    return found


def _names(rows: pd.DataFrame) -> list[Name]:
    """Return kind and key of defects."""
    keys = (None if pd.isna(key) else str(key) for key in rows["key"])
    return list(zip(rows["kind"].tolist(), keys, strict=True))

"""What is surely a defect is told, also where its kind is not sure."""

from __future__ import annotations

import numpy as np

from micdb.embed.defects.classes import CLASSES, KINDS, UNKNOWN
from micdb.embed.defects.detect import _named


def row(**shares):
    """Return probabilities of the classes from those of kinds."""
    found = np.zeros(len(CLASSES))
    for kind, share in shares.items():
        mine = [k for k, name in enumerate(CLASSES) if KINDS[name] == kind.replace("_", "-")]
        found[mine[0]] = share
    return found


def named(*rows):
    candidates = [object() for _ in rows]
    return [(one[1], round(one[2], 6)) for one in _named(candidates, np.array(rows), None, 0.8)]


def test_a_sure_kind_is_told_and_an_unsure_defect_is_unknown(monkeypatch):
    from micdb.embed.defects import detect

    monkeypatch.setattr(detect, "_joined", lambda pieces, _: pieces)
    regular = KINDS[CLASSES[0]]
    rows = (
        row(vacancy=0.85, divacancy=0.1, **{regular: 0.05}),
        row(vacancy=0.5, divacancy=0.45, **{regular: 0.05}),
        row(vacancy=0.5, divacancy=0.2, **{regular: 0.3}),
    )
    assert named(*rows) == [("vacancy", 0.85), (UNKNOWN, 0.95)]

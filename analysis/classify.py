"""Which class an image is of: a head over embeddings learns it from a handful of labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from micdb.analysis import scores
from micdb.analysis.gather import Frame
from micdb.analysis.labelled import Labelled, read_labelled
from micdb.analysis.threads import one_thread
from micdb.embed.micro import head
from micdb.embed.micro.classifier import Source, write
from micdb.embed.nets.weights import Weights
from micdb.errors import UsageError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HEAD, MAJORITY, METADATA = "classify", "majority", "metadata"
LEVEL = 0.05  # share of images of what was taught that may be called unknown
_FOLDS = 10  # nearly as many groups teach as will in the end
_WIDE = 0.95  # level of the intervals


@dataclass(frozen=True, repr=False)
class Classification:
    """What a head over embeddings learnt, and how well it names images of groups it has not seen.

    Parameters
    ----------
    label
        What was learnt.
    table
        One row for the head and each baseline (the commonest class; the same head over metadata alone):
        ``macro_f1`` with its group-bootstrap interval (95 %), ``accuracy`` and ``calibration_error``
        (`scores.calibration_error`; ``calibration_chance`` beside it is what exact probabilities would show)
        when whole groups are held out, and ``macro_f1_image``, ``accuracy_image`` when single images are:
        the difference is leakage.
    classes
        One row per class: ``images``, ``groups``, ``precision``, ``recall``, ``f1`` of the head, and the
        share of its images that were called ``unknown``.
    confusion
        Counts of images, observed in rows and predicted in columns.
    predictions
        One row per image, out of fold: ``uid``, ``group``, ``observed``, ``predicted``, ``probability``,
        ``novelty``, ``fold``.
    found
        Whether the interval of the head's macro-F1 less that of each baseline lies above 0.
    n_read, dropped
        Images asked for; reason -> images it kept out.
    n_groups
        Independent groups.
    seed
        Of folds and bootstrap.
    sources
        What the vectors are made of.
    head
        Taught with all of the images; `save` writes it.
    """

    label: str
    table: pd.DataFrame
    classes: pd.DataFrame
    confusion: pd.DataFrame
    predictions: pd.DataFrame
    found: bool
    n_read: int
    dropped: Mapping[str, int]
    n_groups: int
    seed: int
    sources: tuple[Source, ...]
    head: head.Head

    @property
    def verdict(self) -> str:
        """Return one honest sentence."""
        row = self.table.to_dict("records")[0]
        rest = ", ".join(f"{one.macro_f1:.2f} for {one.model}" for one in self.table[1:].itertuples())
        said = (
            f"macro-F1 {row['macro_f1']:.2f} ({row['macro_f1_low']:.2f} to {row['macro_f1_high']:.2f}) on "
            f"{self.label} of unseen groups, against {rest}"
        )
        if not self.found:
            said += "; not reliably better than these"
        return f"{said}; splitting by image would have shown {row['macro_f1_image']:.2f}."

    def save(self, folder: str | PathLike[str]) -> Weights:
        """Write ``classify.safetensors`` and its card to a folder, for ``populate("classify", weights=...)``.

        Raises
        ------
        UsageError
            The folder is that of the weights that micdb ships.
        """
        told = {
            "label": self.label, "images": len(self.predictions), "groups": self.n_groups, "seed": self.seed,
            "images of": dict(zip(self.classes["class"], map(int, self.classes["images"]), strict=True)),
        }  # fmt: skip
        row = self.table.to_dict("records")[0]
        names = ("macro_f1", "accuracy", "calibration_error", "macro_f1_image")
        measured = {**{name: round(float(row[name]), 3) for name in names}, "verdict": self.verdict}
        return write(
            self.head, Path(folder).expanduser(), classes=list(self.classes["class"]), sources=self.sources,
            told=told, measured=measured,
        )  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """Return everything but the predictions as plain values for ``json.dumps``."""
        shown = self.confusion.to_dict("index")
        return {
            "label": self.label,
            "verdict": self.verdict,
            "found": self.found,
            "table": self.table.to_dict("records"),
            "classes": self.classes.to_dict("records"),
            "confusion": {str(one): {str(k): int(v) for k, v in row.items()} for one, row in shown.items()},
            "n_read": self.n_read,
            "n_rows": len(self.predictions),
            "n_groups": self.n_groups,
            "dropped": dict(self.dropped),
            "seed": self.seed,
            "spaces": [one.space for one in self.sources],
        }

    def remarks(self) -> list[str]:
        """Return the lines below the tables: what was used and what was left out."""
        lines = [f"{len(self.predictions)} images in {self.n_groups} groups; folds hold out whole groups"]
        lines += [f"{count} of {self.n_read} images: {reason}" for reason, count in self.dropped.items()]
        return [*lines, f"vectors of {', '.join(one.space for one in self.sources)}", f"seed {self.seed}"]

    def __repr__(self) -> str:
        tables = [
            one.to_string(index=False, float_format=lambda value: f"{value:.3f}")
            for one in (self.table, self.classes)
        ]
        return "\n\n".join(
            [self.label, *tables, self.confusion.to_string(), "\n".join(self.remarks()), self.verdict]
        )

    def _repr_html_(self) -> str:
        from html import escape

        shown = [
            one.to_html(index=False, float_format=lambda value: f"{value:.3f}")
            for one in (self.table, self.classes)
        ]
        remarks = "<br>".join(escape(line) for line in self.remarks())
        tables = "".join([*shown, self.confusion.to_html()])
        return f"<p><b>{escape(self.verdict)}</b></p>{tables}<p><small>{remarks}</small></p>"


def classify(
    frame: Frame,
    label: str,
    *,
    embedding: str | Sequence[str] = ("texture",),
    groups: str | Sequence[str] = ("sample",),
    unknown: float = LEVEL,
    seed: int = 0,
) -> Classification:
    """Learn to name the classes of images from those that have a label.

    Parameters
    ----------
    frame
        A query; its rows are images. Those without a label are left out.
    label
        Column or property that names the class of an image or of its sample.
    embedding
        Extractors or spaces whose vectors are joined: ``("texture",)`` takes the space most of the images
        have, ``("texture@px", "micro")`` two of them. An image needs a vector in each.
    groups
        Columns whose labels are never split between training and test; with several, images that share a
        label of any of them stay together.
    unknown
        Share of images of what was taught that may be called unknown, 0 to below 1, in the table of classes.
    seed
        Of folds and bootstrap.

    Raises
    ------
    UsageError
        Fewer than two classes have labels, nothing fills such vectors, or an argument is wrong.
    UnknownColumnError
        There is no column `label`, or none of `groups`.
    TooFewGroupsError
        Fewer than 5 independent groups remain.
    """
    if not isinstance(seed, Integral) or seed < 0:
        raise UsageError(f"seed is {seed!r}; it is a whole number of at least 0")
    if not 0 <= unknown < 1:
        raise UsageError(f"unknown is {unknown!r}; give a share from 0 to below 1, for example {LEVEL}")
    if not embedding or not all(isinstance(names, Iterable) for names in (embedding, groups)):
        raise UsageError(
            "embedding and groups name what there is: embedding=('texture',), groups=('sample',)"
        )
    blocks = (embedding,) if isinstance(embedding, str) else tuple(dict.fromkeys(embedding))
    by = (groups,) if isinstance(groups, str) else tuple(dict.fromkeys(groups))
    data, sources = read_labelled(frame, label, embedding=blocks, groups=by)
    with one_thread():
        return fit_classes(data, sources=sources, unknown=unknown, seed=seed)


def fit_classes(
    data: Labelled, *, sources: tuple[Source, ...] = (), unknown: float = LEVEL, seed: int = 0
) -> Classification:
    """Teach, cross-validate by group and judge; see `classify`.

    Parameters
    ----------
    data
        Of `micdb.analysis.labelled.build_labelled`.
    sources
        What its vectors are made of.
    unknown, seed
        As for `classify`.
    """
    fold = head.folds(data.y, data.groups, min(_FOLDS, int(data.groups.max()) + 1), seed=seed)
    (shares, novelty), table, found = _judged(data, fold, seed)
    guess = shares.argmax(axis=1)
    names = np.array(data.classes, dtype=object)
    confusion = pd.DataFrame(
        _per_group(data, guess).sum(axis=0).astype(int),
        index=pd.Index(names, name="observed"), columns=pd.Index(names, name="predicted"),
    )  # fmt: skip
    predictions = pd.DataFrame({
        "uid": data.uids, "group": data.names, "observed": names[data.y], "predicted": names[guess],
        "probability": shares.max(axis=1), "novelty": novelty, "fold": fold,
    })  # fmt: skip
    return Classification(
        data.label, table, _by_class(data, guess, novelty > 1 - unknown), confusion, predictions, found,
        data.n_read, data.dropped, int(data.groups.max()) + 1, seed, sources,
        head.fit(data.vectors, data.y, data.groups, seed=seed),
    )  # fmt: skip


def _judged(data: Labelled, fold: Ints, seed: int) -> tuple[tuple[Floats, Floats], pd.DataFrame, bool]:
    """Return what the head says out of fold, the table, and whether it beats the baselines."""
    alone = np.arange(len(data.y))
    leaky = head.folds(data.y, alone, min(_FOLDS, len(alone)), seed=seed)

    def both(vectors: Floats) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
        by_group = _out_of_fold(vectors, data.y, data.groups, fold, seed)
        return by_group, _out_of_fold(vectors, data.y, alone, leaky, seed)

    (shares, novelty), (by_image, _) = both(data.vectors)
    (told, _), (told_by_image, _) = both(data.metadata)
    guesses = {
        HEAD: (shares, by_image),
        MAJORITY: (_commonest(data.y, fold), _commonest(data.y, leaky)),
        METADATA: (told, told_by_image),
    }
    drawn = _resampled(
        {name: _per_group(data, of.argmax(axis=1)) for name, (of, _) in guesses.items()}, seed=seed
    )
    rows = [_scored(data, name, *pair, drawn=drawn[name], seed=seed) for name, pair in guesses.items()]
    gains = [drawn[HEAD] - drawn[name] for name in (MAJORITY, METADATA)]
    found = all(float(np.quantile(gain, (1 - _WIDE) / 2)) > 0 for gain in gains)
    return (shares, novelty), pd.DataFrame(rows), found


def _out_of_fold(vectors: Floats, y: Ints, groups: Ints, fold: Ints, seed: int) -> tuple[Floats, Floats]:
    """Return probabilities ``(n, k)`` and novelty ``(n,)`` by heads that never saw a row's fold."""
    shares, novelty = np.zeros((len(y), int(y.max()) + 1)), np.zeros(len(y))
    for k in np.unique(fold):
        train, test = fold != k, fold == k
        known, number = np.unique(y[train], return_inverse=True)
        if len(known) < 2:
            shares[np.ix_(test, known)] = 1.0
            continue
        made = head.fit(vectors[train], number.astype(np.int64), groups[train], seed=seed)
        shares[np.ix_(test, known)] = made.probabilities(vectors[test])
        novelty[test] = made.novelty(vectors[test])
    return shares, novelty


def _commonest(y: Ints, fold: Ints) -> Floats:
    """Return the shares of the classes in the training rows ``(n, k)``."""
    shares = np.zeros((len(y), int(y.max()) + 1))
    for k in np.unique(fold):
        counts = np.bincount(y[fold != k], minlength=shares.shape[1])
        shares[fold == k] = counts / counts.sum()
    return shares


def _per_group(data: Labelled, guess: Ints) -> Floats:
    """Return the confusion counts of each group ``(g, k, k)``."""
    k = len(data.classes)
    counts = np.zeros((int(data.groups.max()) + 1, k, k))
    np.add.at(counts, (data.groups, data.y, guess), 1)
    return counts


def _resampled(counted: Mapping[str, Floats], *, seed: int) -> dict[str, Floats]:
    """Return macro-F1 of each guess over bootstrap draws of whole groups, the same draws for all."""
    n = len(next(iter(counted.values())))
    times = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=scores.RESAMPLES)
    return {
        name: scores.macro_f1(np.tensordot(times.astype(float), counts, axes=1))
        for name, counts in counted.items()
    }


def _scored(
    data: Labelled, name: str, shares: Floats, by_image: Floats, *, drawn: Floats, seed: int
) -> dict[str, Any]:
    guess, other = shares.argmax(axis=1), by_image.argmax(axis=1)
    low, high = np.quantile(drawn, [(1 - _WIDE) / 2, (1 + _WIDE) / 2])
    return {
        "model": name,
        "macro_f1": float(scores.macro_f1(_per_group(data, guess).sum(axis=0))),
        "macro_f1_low": float(low),
        "macro_f1_high": float(high),
        "accuracy": float((guess == data.y).mean()),
        "calibration_error": scores.calibration_error(shares.max(axis=1), guess == data.y),
        "calibration_chance": scores.calibration_by_chance(shares.max(axis=1), seed=seed),
        "macro_f1_image": float(scores.macro_f1(_per_group(data, other).sum(axis=0))),
        "accuracy_image": float((other == data.y).mean()),
    }


def _by_class(data: Labelled, guess: Ints, unknown: NDArray[np.bool_]) -> pd.DataFrame:
    rows = []
    for number, name in enumerate(data.classes):
        own, called = data.y == number, guess == number
        hit = int((own & called).sum())
        rows.append({
            "class": name, "images": int(own.sum()), "groups": len(np.unique(data.groups[own])),
            "precision": hit / called.sum() if called.any() else 0.0, "recall": hit / own.sum(),
            "f1": 2 * hit / (own.sum() + called.sum()), "unknown": float(unknown[own].mean()),
        })  # fmt: skip
    return pd.DataFrame(rows)

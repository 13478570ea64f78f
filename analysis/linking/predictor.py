"""A link to use again: predictions with intervals for images it has not seen, and a file without pickle.

::

    link.json    formula, units, levels of categories, spaces, what was measured
    link.skops   models and scales of scikit-learn (https://skops.readthedocs.io), read back only where each
                 type in it is one of those a link is made of
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from micdb.analysis.gather import Frame
from micdb.analysis.linking.design import SAMPLE, samples
from micdb.analysis.linking.features import evaluate, plain
from micdb.analysis.linking.formula import LinkFormula, parse
from micdb.analysis.linking.reading import read
from micdb.analysis.linking.taught import Reduction, Taught
from micdb.analysis.linking.validate import Calibration
from micdb.analysis.threads import one_thread
from micdb.errors import UnknownColumnError, UsageError
from micdb.provenance import package_version
from micdb.store.files import fsync_file

Floats = NDArray[np.float64]

CARD, MODELS = "link.json", "link.skops"
_FORMAT = 1
_TYPES = frozenset({  # beside those that skops trusts by itself
    "micdb.analysis.linking.set_transformer.SetTransformer",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    *(f"sklearn.gaussian_process.kernels.{name}"
      for name in ("ConstantKernel", "Product", "RBF", "Sum", "WhiteKernel")),
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Predictor:
    """What a link learnt.

    Parameters
    ----------
    formula
        What was asked.
    model
        Key of `micdb.analysis.linking.models.MODELS`.
    unit
        Of the target.
    level
        Coverage asked of the intervals.
    spaces
        Name in the formula -> space of the vectors that were taught.
    levels
        Column taken as a category -> its values.
    taught
        Learnt from all rows.
    calibration
        What gives the intervals.
    measured
        What it reached on unseen groups, for its card.
    harmonise, like
        Column within whose labels embeddings are made alike; space -> the mean and spread they get.
    """

    formula: LinkFormula
    model: str
    unit: str | None
    level: float
    spaces: Mapping[str, str]
    levels: Mapping[str, Sequence[Any]]
    taught: Taught
    calibration: Calibration
    measured: Mapping[str, Any]
    harmonise: str | None = None
    like: Mapping[str, tuple[Floats, Floats]] = field(default_factory=dict)

    def predict(self, frame: Frame | pd.DataFrame) -> pd.DataFrame:
        """Predict the target of images.

        Parameters
        ----------
        frame
            A query of any database whose images have the columns and vectors of the formula, or, without
            embeddings and roll-ups, a DataFrame of the columns.

        Returns
        -------
        DataFrame
            One row per image, in order: ``uid`` (of a DataFrame without one, its index), ``predicted``,
            ``low``, ``high`` [target's unit], and ``reason``: why a row has none, else missing.

        Raises
        ------
        UnknownColumnError, UsageError
            A column or kind of vector is not there.
        """
        names = tuple(dict.fromkeys(name for term in self.formula.terms for name in term.columns))
        beside = [self.harmonise, SAMPLE if self.model == "set" else None]
        extra = [name for name in beside if name]
        table, vectors = read(frame, self.formula, (*names, *extra), spaces=self.spaces)
        for name in (*names, *extra):
            if name not in table:
                raise UnknownColumnError(name, [str(one) for one in table], "the table to predict for")
        values = pd.DataFrame({name: plain(table[name]) for name in names}, index=table.index)
        alike = table[self.harmonise] if self.harmonise else None
        features, reasons = evaluate(
            values,
            self.formula,
            vectors,
            keys=table["uid"],
            bags=samples(table),
            levels=self.levels,
            harmonise=alike,
            like=self.like,
        )
        made = pd.DataFrame(
            {"uid": table["uid"].to_numpy(), "predicted": np.nan, "low": np.nan, "high": np.nan}
        )
        why = pd.Series(None, index=made.index, dtype=object)
        for reason, rows in reasons.items():
            why[rows & why.isna().to_numpy()] = reason
        usable = why.isna().to_numpy()
        made["reason"] = why.where(~usable, None)
        if usable.any():
            with one_thread():
                seen = features.of(usable)
                made.loc[usable, "predicted"] = self.taught.predict(seen)
                ends = self.calibration.interval(seen, level=self.level)
            for name, values_ in zip(("low", "high"), ends, strict=True):
                made.loc[usable, name] = np.where(np.isfinite(values_), values_, np.nan)
        if self.unit:
            made.attrs["units"] = dict.fromkeys(("predicted", "low", "high"), self.unit)
        return made

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write ``link.json`` and ``link.skops`` to a folder, which is made; return it."""
        import skops.io

        home = Path(folder).expanduser()
        home.mkdir(parents=True, exist_ok=True)
        members = [self.taught, *self.calibration.parts]
        held = {
            "members": [{"steps": dict(one.reduction.steps), "model": one.model} for one in members],
            "part": self.calibration.part,
            "residuals": self.calibration.residuals,
            "groups": self.calibration.groups,
            "like": {space: list(both) for space, both in self.like.items()},
        }
        card = {
            "format": _FORMAT, "micdb": package_version(), "formula": self.formula.text, "model": self.model,
            "unit": self.unit, "level": self.level, "spaces": dict(self.spaces),
            "harmonise": self.harmonise,
            "levels": {name: list(values) for name, values in self.levels.items()},
            "measured": dict(self.measured),
        }  # fmt: skip
        staged = home / f".{MODELS}.part"
        staged.write_bytes(skops.io.dumps(held))
        fsync_file(staged)
        staged.replace(home / MODELS)
        staged.with_name(f".{CARD}.part").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        staged.with_name(f".{CARD}.part").replace(home / CARD)  # last: a folder with a card is whole
        return home


def load_link(folder: str | PathLike[str]) -> Predictor:
    """Return a link that ``fit.save`` wrote, to predict with.

    Raises
    ------
    UsageError
        There is no link in the folder, a newer micdb wrote it, or it holds types that no link is made of.
    """
    import skops.io

    home = Path(folder).expanduser()
    try:
        card = json.loads((home / CARD).read_text(encoding="utf-8"))
        data = (home / MODELS).read_bytes()
    except (OSError, ValueError) as error:
        raise UsageError(f"{home} holds no link: {CARD} and {MODELS} are what fit.save() writes") from error
    if card.get("format") != _FORMAT:
        raise UsageError(
            f"{home / CARD} has format {card.get('format')}, this micdb reads {_FORMAT}: upgrade micdb"
        )
    strange = sorted(set(skops.io.get_untrusted_types(data=data)) - _TYPES)
    if strange:
        raise UsageError(f"{home / MODELS} holds {strange[0]}, which no link is made of; it is not read")
    held = skops.io.loads(data, trusted=sorted(_TYPES))
    members = [Taught(Reduction(one["steps"]), one["model"]) for one in held["members"]]
    calibration = Calibration(tuple(members[1:]), held["part"], held["residuals"], held["groups"])
    return Predictor(
        parse(card["formula"]), card["model"], card["unit"], card["level"], card["spaces"], card["levels"],
        members[0], calibration, card["measured"], card["harmonise"],
        {space: (mean, spread) for space, (mean, spread) in held["like"].items()},
    )  # fmt: skip

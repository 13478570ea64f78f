"""Planted truth is found, noise and confounders are not believed, and nothing leaks."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from micdb.analysis.gather import Vectors
from micdb.analysis.linking import validate
from micdb.analysis.linking.design import Design, build_design
from micdb.analysis.linking.features import Features
from micdb.analysis.linking.link import _best, fit_link, link
from micdb.analysis.linking.result import Link
from micdb.analysis.linking.taught import Reduction
from micdb.errors import UsageError

GROUPS, IMAGES = 40, 4
GROUP = np.repeat(np.arange(GROUPS), IMAGES)


def design(y: np.ndarray, x: np.ndarray, *, group: np.ndarray = GROUP, unit: str = "GPa") -> Design:
    """Return hardness against an embedding of the columns of x."""
    frame = pd.DataFrame({"uid": np.arange(len(y)).astype(str), "sample": group.astype(str), "hardness": y})
    frame.attrs["units"] = {"hardness": unit}
    vectors = {"texture": Vectors("texture@256nm", frame["uid"], x)}
    return build_design(frame, 'hardness ~ embedding("texture")', embeddings=vectors)


def planted(seed: int) -> Design:
    """Return a set whose structure explains 80 % of the variance between samples."""
    random = np.random.default_rng(seed)
    structure = random.normal(size=GROUPS)
    y = 5 + structure[GROUP] + 0.5 * random.normal(size=GROUPS)[GROUP]
    x = 0.3 * random.normal(size=(len(y), 20))
    x[:, :4] += structure[GROUP, None]
    return design(y, x)


def confounded(seed: int) -> Design:
    """Return a set whose images show only which sample they are of, and that says nothing of hardness."""
    random = np.random.default_rng(seed)
    fingerprint = random.normal(size=(GROUPS, 12))
    y = random.normal(size=GROUPS)[GROUP] + 5
    return design(y, fingerprint[GROUP] + 0.05 * random.normal(size=(len(y), 12)))


@pytest.fixture(scope="module")
def found() -> Link:
    return fit_link(planted(1))


def test_the_planted_link_is_found_by_every_model(found):
    table = found.table.set_index("model")
    assert list(table.index) == ["baseline", "ridge", "gp", "trees"]
    fitted = table.drop("baseline")
    assert fitted["beats_baseline"].all()
    assert fitted.loc[["ridge", "gp"], "r2_grouped"].between(0.6, 0.9).all()
    assert fitted.loc["trees", "r2_grouped"] > 0.4
    assert (fitted["mae"] < 0.8 * fitted["mae_baseline"]).all()
    assert found.found
    assert found.best in {"ridge", "gp", "trees"}
    assert found.verdict.endswith("GPa for the mean).")


def test_a_model_that_cannot_be_relied_on_hides_no_link():
    table = pd.DataFrame(
        [
            ("baseline", 4.0, False, False), ("ridge", 2.5, True, True), ("gp", 2.6, True, True),
            ("trees", 2.0, True, False), ("set", 1.5, False, False),
        ],
        columns=["model", "mae", "beats_baseline", "beats_metadata"],
    )  # fmt: skip
    assert _best(table, ("baseline", "ridge", "gp", "trees", "set")) == "ridge"
    assert _best(table, ("baseline", "trees", "set")) == "trees"
    assert _best(table, ("baseline", "set")) == "set"
    assert _best(table.replace({"mae": {1.5: 5.0}}), ("baseline", "set")) == "baseline"


def test_predictions_give_the_scores_back(found):
    ridge = found.predictions[found.predictions["model"] == "ridge"]
    assert list(ridge.columns) == ["uid", "group", "observed", "predicted", "low", "high", "fold", "model"]
    row = found.table.set_index("model").loc["ridge"]
    error = ridge["observed"] - ridge["predicted"]
    assert row["mae"] == pytest.approx(error.abs().mean())
    assert row["r2_grouped"] == pytest.approx(
        1 - (error**2).sum() / ((ridge["observed"].var(ddof=0)) * len(ridge))
    )
    inside = ridge["observed"].between(ridge["low"], ridge["high"])
    assert row["coverage"] == pytest.approx(inside.groupby(ridge["group"]).mean().mean())
    assert (ridge.groupby("group")["fold"].nunique() == 1).all()
    assert found.table.attrs["units"]["mae"] == found.predictions.attrs["units"]["low"] == "GPa"


def test_intervals_cover_unseen_groups():
    covered = [fit_link(planted(seed), chosen=["ridge"]).table for seed in range(6)]
    share = pd.concat(covered).groupby("model")["coverage"].mean()
    assert share.between(0.84, 0.98).all(), share


def test_a_confounder_shows_as_leakage():
    link = fit_link(confounded(1))
    fitted = link.table.set_index("model").drop("baseline")
    assert (fitted.loc[["gp", "trees"], "r2_image"] > 0.7).all()  # ridge cannot tell 40 samples apart
    assert (fitted["r2_grouped"] <= 0.05).all()
    assert not link.found
    assert link.verdict.startswith("No link shown")
    assert "splitting by image would have shown R2" in link.verdict


def test_noise_gives_no_link_nearly_always():
    believed = 0
    for seed in range(20):
        random = np.random.default_rng(100 + seed)
        noise = design(random.normal(size=GROUPS)[GROUP], random.normal(size=(len(GROUP), 8)))
        link = fit_link(noise, chosen=["ridge"], level=0.5)
        believed += link.found
        assert link.found or link.verdict.startswith("No link shown")
    assert believed <= 1


def test_everything_is_learnt_inside_training_folds(monkeypatch):
    seen: list[np.ndarray] = []
    whole, real = planted(2), Reduction.fit

    def spy(features, rows, *, components):
        seen.append(rows)
        masked = features.embeddings["texture@256nm"].copy()
        hidden = np.setdiff1d(np.arange(len(masked)), rows)
        masked[hidden] = np.nan  # scikit-learn refuses NaN: a fit that peeked would raise
        assert components <= min(16, len(np.unique(whole.groups[rows])) // 2)
        return real(Features({}, {"texture@256nm": masked}, features.bags), rows, components=components)

    monkeypatch.setattr(Reduction, "fit", spy)
    fold = validate.grouped_folds(whole.groups, 5, seed=0)
    validate.cross_predict(whole, ["ridge"], fold=fold, seed=0, level=0.9)
    assert len(seen) == 5 * (1 + 5)
    for rows in seen:  # every training set, inner ones too, consists of whole groups and spares a fold
        inside = np.unique(whole.groups[rows])
        assert np.isin(whole.groups, inside).sum() == len(rows)
        assert len(rows) < len(whole.y)


def test_a_test_fold_does_not_move_its_own_predictions():
    whole = planted(3)
    fold = validate.grouped_folds(whole.groups, 5, seed=0)
    before = validate.cross_predict(whole, ["ridge"], fold=fold, seed=0, level=0.9)
    whole.y[fold == 2] += 1000.0
    after = validate.cross_predict(whole, ["ridge"], fold=fold, seed=0, level=0.9)
    held = fold == 2
    for one, other in (
        (before.predicted, after.predicted),
        (before.low, after.low),
        (before.high, after.high),
    ):
        np.testing.assert_array_equal(one["ridge"][held], other["ridge"][held])


def test_the_same_seed_gives_the_same_link():
    first, second = (fit_link(planted(4), chosen=["ridge", "trees"], seed=7) for _ in range(2))
    pd.testing.assert_frame_equal(first.table, second.table)
    assert fit_link(planted(4), chosen=["ridge"], seed=8).table["mae"][1] != first.table["mae"][1]


def test_few_groups_give_scores_but_no_intervals():
    rows = np.flatnonzero(GROUP < 8)
    whole = planted(5)
    few = design(whole.y[rows], whole.features.embeddings["texture@256nm"][rows], group=GROUP[rows])
    link = fit_link(few, chosen=["ridge"])
    assert link.predictions["low"].isna().all()
    assert link.table["coverage"].isna().all()
    assert link.notes == (
        "no intervals: at level 0.9 every training fold needs 9 groups, the smallest has 6; "
        "ask for a lower level or add samples",
    )
    assert fit_link(few, chosen=["ridge"], level=0.8).predictions["low"].notna().all()


def test_a_large_set_says_that_the_gp_saw_a_part(monkeypatch):
    monkeypatch.setattr("micdb.analysis.linking.models.GP_ROWS", 60)
    link = fit_link(planted(6), chosen=["gp"], level=0.5)
    assert any("gp: fitted on 60 of up to 128 training rows" in note for note in link.notes)


def test_json_text_and_html(found):
    again = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert again["table"][0]["model"] == "baseline"
    assert again["best"] == found.best
    assert again["n_groups"] == GROUPS
    text = repr(found)
    assert "r2_grouped" in text
    assert text.endswith(found.verdict)
    assert "160 rows in 40 groups; folds hold out whole groups" in text
    assert "<table" in found._repr_html_()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"chosen": ["rigde"]}, "no model 'rigde'; did you mean ridge?"),
        ({"chosen": []}, "give a list of ridge, elastic, gp, trees, set"),
        ({"chosen": "ridge"}, "give a list of ridge, elastic, gp, trees, set"),
        ({"level": 90}, "level is 90; give the coverage wanted, between 0 and 1"),
    ],
)
def test_wrong_arguments(wrong, message):
    with pytest.raises(UsageError, match=message.replace("?", r"\?")):
        fit_link(planted(0), **wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seed": -1}, "seed is -1; it is a whole number"),
        ({"seed": "x"}, "seed is 'x'; it is a whole number"),
        ({"level": "x"}, "level is 'x'; give the coverage wanted"),
        ({"groups": None}, "groups is None; name columns"),
        ({"formula": "hardness ~ width | height"}, "has several parts"),
    ],
)
def test_a_wrong_question_is_refused_before_anything_is_read(wrong, message):
    with pytest.raises(UsageError, match=message):
        link(None, **({"formula": "hardness ~ width"} | wrong))


def test_a_group_named_twice_counts_once():
    table = pd.DataFrame({"uid": list("abcdefgh"), "sample": list("stuvwxyz"), "x": range(8), "y": range(8)})
    assert link(table, "y ~ x", groups=("sample", "sample"), models=["ridge"]).n_groups == 8


def test_the_figure_carries_units_scores_and_data(found, tmp_path):
    figure = found.figure(tmp_path / "link.png")
    (axes,) = figure.axes
    assert axes.get_xlabel() == "observed hardness [GPa]"
    assert axes.get_ylabel() == "predicted hardness [GPa], group unseen"
    said = " ".join(text.get_text() for text in axes.texts)
    assert "grouped R²" in said
    assert "40 groups" in said
    assert "mean (baseline)" in [text.get_text() for text in axes.get_legend().get_texts()]
    assert len(figure.micdb_data) == found.n_rows
    assert (tmp_path / "link.png").stat().st_size > 10_000


class Columns:
    """A frame as linking sees it: columns by name, and surroundings."""

    context = "the house"

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table

    def __contains__(self, name):
        return name in self.table

    def __getitem__(self, names):
        return Columns(self.table[names])

    def to_pandas(self):
        return self.table


def test_a_frame_hands_over_only_what_is_asked(monkeypatch):
    whole = planted(1)
    uids = pd.Series(whole.uids)
    frame = pd.DataFrame({"uid": uids, "sample": whole.labels, "lab": None, "hardness": whole.y})
    frame.attrs["units"] = {"hardness": "GPa"}
    asked = []

    def read_vectors(context, names, rows):
        asked.append((context, names, list(rows)))
        return {
            "texture": Vectors("texture@256nm", uids[40:], whole.features.embeddings["texture@256nm"][40:])
        }

    monkeypatch.setattr("micdb.analysis.linking.reading.read_vectors", read_vectors)
    found = link(Columns(frame), 'hardness ~ embedding("texture")', groups="sample", models=["ridge"])
    assert asked == [("the house", ["texture"], list(uids))]
    assert found.dropped == {"no vector in texture@256nm": 40}
    assert "40 of 160 rows: no vector in texture@256nm" in repr(found)
    assert found.space == ("texture@256nm",)
    assert (found.n_read, found.n_rows, found.n_groups) == (160, 120, 30)
    assert found.units["mae"] == "GPa"

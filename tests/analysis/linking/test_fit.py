"""A link is used again: it predicts, is kept in a file, explains itself, and says what to measure next."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from micdb import load_link
from micdb.analysis.gather import Vectors
from micdb.analysis.linking.design import build_design
from micdb.analysis.linking.link import fit_link, link
from micdb.analysis.linking.link_figures import leakage_figure
from micdb.errors import UnknownColumnError, UsageError

SAMPLES, IMAGES = 40, 3
FORMULA = "hardness ~ density + log(anneal) + C(cooling) + colour"


def table(seed: int = 0, *, samples: int = SAMPLES) -> pd.DataFrame:
    """Return samples whose hardness follows density, a little the cooling, and nothing else."""
    rng = np.random.default_rng(seed)
    density, anneal = rng.normal(size=samples), rng.uniform(1, 100, samples)
    cooling = np.where(np.arange(samples) % 2, "water", "air")
    hardness = 10 + 2 * density + 0.8 * (cooling == "water") + 0.3 * rng.normal(size=samples)
    each = np.repeat(np.arange(samples), IMAGES)
    frame = pd.DataFrame({
        "uid": [f"u{i}" for i in range(len(each))], "sample": [f"s{i:02d}" for i in each],
        "lab": np.where(each % 3 == 0, "Jena", "Delft"),
        "density": density[each] + 0.05 * rng.normal(size=len(each)), "anneal": anneal[each],
        "cooling": cooling[each], "colour": rng.normal(size=len(each)), "hardness": hardness[each],
    })  # fmt: skip
    frame.attrs["units"] = {"hardness": "GPa"}
    return frame


@pytest.fixture(scope="module")
def fit():
    rows = table()
    rows.loc[rows["sample"].isin(["s05", "s06", "s07"]), "hardness"] = np.nan
    return link(rows, FORMULA, models=["ridge"])


def test_a_table_without_images_is_linked(fit):
    assert fit.found
    assert fit.best == "ridge"
    assert (fit.n_rows, fit.n_groups) == (37 * IMAGES, 37)
    assert fit.dropped == {"hardness is missing": 9}


def test_it_predicts_what_it_has_not_seen_with_intervals(fit):
    new = table(seed=9)
    new.loc[0, "density"] = np.nan
    new.loc[1, "cooling"] = "oil"
    found = fit.predict(new)
    assert list(found.columns) == ["uid", "predicted", "low", "high", "reason"]
    assert found["uid"].tolist() == new["uid"].tolist()
    assert found.attrs["units"]["low"] == "GPa"
    assert found["reason"][:3].tolist() == [
        "density is missing",
        "cooling has a value that was not taught",
        None,
    ]
    assert found.loc[:1, ["predicted", "low", "high"]].isna().all(axis=None)
    known = found["reason"].isna()
    error = (found["predicted"] - new["hardness"])[known]
    assert error.abs().mean() < 0.5
    inside = new["hardness"].between(found["low"], found["high"])[known]
    assert 0.8 < inside.mean() <= 1


def test_a_column_that_lacks_is_named(fit):
    with pytest.raises(UnknownColumnError, match="no column 'anneal' in the table to predict for"):
        fit.predict(table(3).drop(columns="anneal"))


def test_new_rows_alone_are_predicted_as_among_others(fit):
    new = table(seed=9)
    whole, alone = fit.predict(new), fit.predict(new.iloc[[7]])
    assert alone["predicted"].item() == pytest.approx(whole["predicted"][7])
    assert alone["low"].item() == pytest.approx(whole["low"][7])


@pytest.mark.parametrize("model", ["ridge", "elastic", "gp", "trees"])
def test_kept_in_a_file_it_says_the_same(tmp_path, model):
    taught = link(table(samples=16), FORMULA, models=[model], level=0.8)
    again = load_link(taught.save(tmp_path / "fit"))
    pd.testing.assert_frame_equal(again.predict(table(3)), taught.predict(table(3)))
    card = json.loads((tmp_path / "fit" / "link.json").read_text())
    assert card["formula"] == FORMULA
    assert card["measured"]["verdict"] == taught.verdict
    assert sorted(one.name for one in (tmp_path / "fit").iterdir()) == ["link.json", "link.skops"]


def test_a_file_that_is_no_link_is_refused(tmp_path):
    with pytest.raises(
        UsageError, match=r"holds no link: link.json and link.skops are what fit.save\(\) writes"
    ):
        load_link(tmp_path)
    home = link(table(samples=16), FORMULA, models=["ridge"]).save(tmp_path / "fit")
    from sklearn.neighbors import KNeighborsRegressor
    from skops import io

    strange = KNeighborsRegressor(metric=_distance).fit([[0.0], [1.0]], [0.0, 1.0])
    (home / "link.skops").write_bytes(io.dumps({"members": [strange]}))
    with pytest.raises(UsageError, match="_distance, which no link is made of; it is not read"):
        load_link(home)
    (home / "link.json").write_text('{"format": 2}')
    with pytest.raises(UsageError, match="has format 2, this micdb reads 1: upgrade micdb"):
        load_link(home)


def _distance(one, other):
    return abs(one - other).sum()


def test_what_matters_is_important_and_what_does_not_is_not(fit):
    found = fit.importance().set_index("feature")
    assert found.index[0] == "density"
    assert found.loc["density", "increase"] > 10 * abs(found.loc["colour", "increase"])
    assert found.loc["C(cooling)[T.water]", "increase"] > 3 * abs(found.loc["colour", "increase"])
    assert found.loc["density", "sd"] > 0


def test_an_embedding_is_moved_as_one():
    rng = np.random.default_rng(0)
    rows = table(samples=20)
    vectors = {"texture": Vectors("texture", rows["uid"], rng.normal(size=(len(rows), 6)))}
    design = build_design(rows, 'hardness ~ density + embedding("texture")', embeddings=vectors)
    found = fit_link(design, chosen=["ridge"], level=0.5).importance()
    assert set(found["feature"]) == {"density", "texture"}
    assert found["feature"][0] == "density"


def test_dependence_has_the_planted_slope(fit):
    found = fit.partial_dependence("density")
    slope = np.polyfit(found["value"], found["predicted"], 1)[0]
    assert slope == pytest.approx(2, abs=0.15)
    with pytest.raises(UsageError, match="no feature 'densty'; did you mean density"):
        fit.partial_dependence("densty")


def test_more_samples_help_until_they_do_not(fit):
    found = fit.learning_curve()
    assert found["groups"].is_monotonic_increasing
    assert found["mae"].iloc[0] > 1.2 * found["mae"].iloc[-1]
    assert found["mae"].iloc[-1] < 0.5 * found["mae_baseline"].iloc[-1]


def test_the_sample_to_measure_next_is_one_that_is_not_measured(fit):
    found = fit.suggest(2)
    assert set(found["group"]) <= {"s05", "s06", "s07"}
    assert found["rows"].tolist() == [IMAGES, IMAGES]
    assert found["gain"].is_monotonic_decreasing
    assert (found["sd"] > 0).all()
    with pytest.raises(UsageError, match="no row lacks hardness alone: bring samples that are"):
        link(table(samples=12), FORMULA, models=["ridge"], level=0.5).suggest()


def test_a_sample_far_from_all_that_is_measured_comes_first():
    rows = table()
    rows.loc[rows["sample"].isin(["s05", "s06", "s07"]), "hardness"] = np.nan
    rows.loc[rows["sample"] == "s06", "density"] = 8.0
    assert link(rows, "hardness ~ density", models=["ridge"]).suggest(1)["group"].item() == "s06"


def test_labs_are_held_out_in_turn(fit):
    assert fit.held_out["lab"].tolist() == ["Delft", "Jena"]
    assert (fit.held_out["mae"] < 0.6 * fit.held_out["mae_baseline"]).all()
    assert any(line.startswith("lab Jena, taught without it: MAE") for line in fit.remarks())
    other = link(table(samples=16), FORMULA, models=["ridge"], hold_out="cooling", level=0.5)
    assert other.held_out["cooling"].tolist() == ["air", "water"]
    with pytest.raises(UnknownColumnError, match="no column 'labb'"):
        link(table(samples=16), FORMULA, hold_out="labb")


def test_a_bias_of_one_lab_shows():
    rows = table()
    rows.loc[rows["lab"] == "Jena", "hardness"] += 5
    found = link(rows, "hardness ~ density", models=["ridge"]).held_out.set_index("lab")
    assert found.loc["Jena", "bias"] == pytest.approx(-5, abs=0.6)


def test_what_is_known_without_the_pixels_is_a_baseline_and_may_be_a_confounder():
    rows = table()
    jena = (rows["lab"] == "Jena").to_numpy()
    rng = np.random.default_rng(2)
    noise = rng.normal(size=SAMPLES)[np.repeat(np.arange(SAMPLES), IMAGES)]
    rows["hardness"] = 10 + 4 * jena + noise
    rows["density"] = 3 * jena + rng.normal(size=len(rows))  # a lab's detector, not a structure
    found = link(rows, "hardness ~ density", models=["ridge"])
    assert list(found.table["model"]) == ["baseline", "metadata", "ridge"]
    assert found.table.set_index("model")["beats_baseline"].tolist() == [False, True, True]
    assert not found.found
    assert "metadata alone (lab, instrument, pixel size and the like) does as well" in found.verdict
    assert found.held_out["mae"].max() > 2


def test_ways_to_be_fooled_are_told():
    rows = table()
    rows["pixel_hash"] = rows["uid"]
    rows.loc[[0, 30], "pixel_hash"] = "same"
    rows["again"] = 3 * rows["hardness"] + 1
    rows["batch"] = rows.index.astype(str)
    rows["name"] = rows["hardness"].astype(str).str[:6]
    found = link(rows, "hardness ~ density + again", groups="batch", models=["ridge"], level=0.5).leaks
    assert [line.split(":")[0] for line in found] == [
        "2 rows are 1 pictures saved more than once, in different groups",
        "40 samples lie in several groups",
        "again is the target in other words",
    ]
    rows["batch"] = np.repeat(np.arange(SAMPLES), IMAGES).astype(str)
    rows["grade"] = np.where(rows["hardness"] > 10, "hard", "soft")
    rows["hardness"] = np.where(rows["hardness"] > 10, 12.0, 8.0)
    graded = link(rows, "hardness ~ C(grade)", groups="batch", models=["ridge"], level=0.5)
    assert "each value of grade has one value of the target" in " ".join(graded.leaks)
    assert not link(table(), FORMULA, models=["ridge"], level=0.5).leaks


def test_the_page_shows_everything(fit, tmp_path):
    page = fit.report(tmp_path / "fit.html").read_text()
    for title in (
        "Scores",
        "What it rests on",
        "Would more samples help",
        "Without each lab",
        "What may mislead",
    ):
        assert f"<h2>{title}</h2>" in page
    assert page.count("<img") == 1 + 1 + 4 + 1 + 1
    assert "s06" in page


def test_the_gap_of_leakage_is_drawn(fit):
    figure = leakage_figure(fit.table)
    (axes,) = figure.axes
    drawn = {group.get_label(): dict(enumerate(group.get_offsets()[:, 0])) for group in axes.collections[1:]}
    expected = fit.table.iloc[::-1].reset_index(drop=True)
    assert drawn["unseen groups"] == pytest.approx(expected["r2_grouped"].to_dict())
    assert drawn["unseen images"] == pytest.approx(expected["r2_image"].to_dict())
    assert [text.get_text() for text in axes.get_yticklabels()] == expected["model"].tolist()
    assert axes.get_xlim()[0] < fit.table["r2_grouped"].min()


def test_a_table_has_no_embeddings():
    with pytest.raises(
        UsageError, match=r"a DataFrame has no images, and embedding\(\"micro\"\) is read from them"
    ):
        link(table(), 'hardness ~ embedding("micro")')
    with pytest.raises(UsageError, match="a DataFrame has no images, and count"):
        link(table(), "hardness ~ count(defects)")

"""Planted classes are found on unseen groups, confounders are not believed, and what is left out is told."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from micdb.analysis import scores
from micdb.analysis.classify import Classification, fit_classes
from micdb.analysis.gather import Vectors
from micdb.analysis.labelled import Labelled, build_labelled
from micdb.errors import TooFewGroupsError, UnknownColumnError, UsageError

CLASSES = ("bainite", "martensite", "pearlite")
DIM = 8


def labelled(vectors: np.ndarray, names: np.ndarray, samples: np.ndarray, **columns: object) -> Labelled:
    frame = pd.DataFrame({
        "uid": [f"u{one}" for one in range(len(names))], "sample": samples, "constituent": names, **columns
    })  # fmt: skip
    found = Vectors("texture@px", frame["uid"], vectors)
    return build_labelled(frame, "constituent", groups=("sample",), vectors=[found], metadata=tuple(columns))


def specimens(seed: int, *, apart: float, images: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return vectors, names and samples: 12, 6 and 3 specimens, each with a look of its own."""
    rng = np.random.default_rng(seed)
    kind = np.repeat([0, 1, 2], [12, 6, 3])
    centres = apart * rng.normal(size=(3, DIM))
    own = centres[kind] + rng.normal(size=(len(kind), DIM))
    sample = np.repeat(np.arange(len(kind)), images)
    vectors = own[sample] + 0.3 * rng.normal(size=(len(sample), DIM))
    return vectors, np.array(CLASSES)[kind][sample], np.array([f"s{one}" for one in sample])


@pytest.fixture(scope="module")
def found() -> Classification:
    return fit_classes(labelled(*specimens(1, apart=2.0)))


def test_planted_classes_are_found_on_unseen_groups(found):
    table = found.table.set_index("model")
    assert list(table.index) == ["classify", "majority", "metadata"]
    assert table.loc["classify", "macro_f1"] > 0.8
    assert table.loc["majority", "macro_f1"] == pytest.approx(2 * 60 / (60 + 105) / 3)  # always bainite
    assert found.found
    assert table.loc["classify", "macro_f1_low"] < table.loc["classify", "macro_f1"]
    assert "splitting by image would have shown" in found.verdict


def test_tables_give_the_predictions_back(found):
    rows = found.predictions
    assert (rows.groupby("group")["fold"].nunique() == 1).all()
    assert found.confusion.to_numpy().sum() == len(rows) == 105
    for one in found.classes.itertuples():
        own, called = rows["observed"] == one[1], rows["predicted"] == one[1]
        assert (one.images, one.groups) == (own.sum(), rows.loc[own, "group"].nunique())
        assert one.recall == pytest.approx((own & called).sum() / own.sum())
        assert one.precision == pytest.approx((own & called).sum() / max(called.sum(), 1))
        assert found.confusion.loc[one[1], one[1]] == (own & called).sum()
    accuracy = (rows["observed"] == rows["predicted"]).mean()
    assert found.table["accuracy"][0] == pytest.approx(accuracy)
    assert found.table["macro_f1"][0] == pytest.approx(found.classes["f1"].mean())
    assert json.loads(json.dumps(found.as_json()))["n_groups"] == 21
    assert "105 images in 21 groups" in repr(found)


def test_a_look_of_the_specimen_alone_is_leakage():
    fit = fit_classes(labelled(*specimens(2, apart=0.0)))
    row = fit.table.set_index("model").loc["classify"]
    assert not fit.found
    assert row["macro_f1"] < 0.5
    assert row["macro_f1_image"] > row["macro_f1"] + 0.3  # what a split by image would have made one believe
    assert fit.verdict.count("not reliably better than these") == 1


def test_pixels_that_add_nothing_to_the_magnification_prove_nothing():
    vectors, names, samples = specimens(3, apart=2.0)
    size = {"bainite": 5.0, "martensite": 50.0, "pearlite": 500.0}
    fit = fit_classes(labelled(vectors, names, samples, pixel_size=[size[one] for one in names]))
    assert fit.table.set_index("model").loc["metadata", "macro_f1"] == 1
    assert not fit.found


def test_what_is_left_out_is_counted():
    vectors, names, samples = specimens(1, apart=2.0)
    names, samples = names.astype(object), samples.astype(object)
    vectors[:2] = np.nan
    names[5], samples[6] = None, None
    names[-5:] = "ferrite"  # one specimen
    made = labelled(vectors, names, samples)
    assert made.dropped == {
        "constituent is missing": 1, "sample is missing": 1, "no vector in texture@px": 2,
        "ferrite is shown by one sample only": 5,
    }  # fmt: skip
    assert made.classes == CLASSES
    assert (made.n_read, len(made.y)) == (105, 96)


def test_refusals_say_what_is_missing():
    vectors, names, samples = specimens(1, apart=2.0)
    with pytest.raises(UsageError, match="105 images have a label of constituent: only 'pearlite'; two"):
        labelled(vectors, np.full(105, "pearlite"), samples)
    with pytest.raises(
        TooFewGroupsError, match="4 independent groups by sample; at least 5 are needed: label"
    ):
        labelled(vectors, names, np.array(["a", "b", "c", "d"])[np.arange(105) % 4])
    with pytest.raises(UsageError, match="constituent has the class 'unknown': leave such images without"):
        labelled(vectors, np.where(names == "pearlite", "unknown", names), samples)
    with pytest.raises(UnknownColumnError, match="'phase'"):
        build_labelled(pd.DataFrame({"uid": [], "sample": []}), "phase", groups=("sample",), vectors=[])
    with pytest.raises(
        UsageError, match="0 images have a label of constituent: none; two classes are needed"
    ):
        labelled(vectors, np.full(105, None, object), samples)


def test_calibration_error_is_that_of_the_definition():
    rng = np.random.default_rng(0)
    probability = rng.uniform(0.3, 1, 20_000)
    right = rng.random(20_000) < probability
    assert scores.calibration_error(probability, right) < 0.015
    assert scores.calibration_error(np.minimum(probability + 0.1, 1), right) == pytest.approx(0.09, abs=0.02)
    assert scores.calibration_by_chance(probability[:100]) > 3 * scores.calibration_by_chance(probability)


def test_macro_f1_is_that_of_scikit_learn():
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(0)
    observed, predicted = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    counts = np.zeros((4, 4))
    np.add.at(counts, (observed, predicted), 1)
    assert scores.macro_f1(counts) == pytest.approx(f1_score(observed, predicted, average="macro"))

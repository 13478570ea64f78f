"""A table and a formula become arrays, and what cannot is refused or counted with its reason."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from micdb.analysis.gather import Vectors
from micdb.analysis.linking.design import build_design
from micdb.analysis.linking.formula import parse
from micdb.errors import TooFewGroupsError, UnitError, UnknownColumnError, UsageError


def table(n: int = 24) -> pd.DataFrame:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "uid": [f"u{i}" for i in range(n)],
            "sample": [f"s{i // 2}" for i in range(n)],
            "lab": ["A" if i < n // 2 else "B" for i in range(n)],
            "density": random.random(n),
            "anneal_time": random.random(n) + 1,
            "cooling": ["air", "water", "oil"] * (n // 3),
            "hardness": random.random(n),
        }
    )
    frame.attrs["units"] = {"hardness": "GPa"}
    return frame


def test_columns_transforms_and_categories():
    design = build_design(table(), "hardness ~ density + log(anneal_time) + C(cooling)")
    names = ["density", "log(anneal_time)", "C(cooling)[T.oil]", "C(cooling)[T.water]"]
    assert list(design.features.columns) == names
    np.testing.assert_allclose(design.features.columns["log(anneal_time)"], np.log(table()["anneal_time"]))
    assert design.features.columns["C(cooling)[T.water]"].tolist() == [0.0, 1.0, 0.0] * 8
    assert (design.unit, design.n_groups, design.dropped) == ("GPa", 12, {})


@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
def test_nullable_columns_give_the_same_arrays(backend):
    plain = table().assign(polished=[True, False] * 12)
    plain.loc[3, ["density", "cooling", "sample"]] = None
    formula = 'hardness ~ density + C(cooling) + polished + embedding("texture")'
    vectors = {
        "texture": Vectors("texture", list(plain["uid"][:20]), np.random.default_rng(1).random((20, 3)))
    }
    want = build_design(plain, formula, embeddings=vectors)
    have = build_design(plain.convert_dtypes(dtype_backend=backend), formula, embeddings=vectors)
    assert have.dropped == want.dropped
    assert list(have.features.columns) == list(want.features.columns)
    assert have.labels.tolist() == want.labels.tolist()
    for name, column in want.features.columns.items():
        np.testing.assert_array_equal(have.features.columns[name], column)
    np.testing.assert_array_equal(have.features.embeddings["texture"], want.features.embeddings["texture"])


def test_a_transformed_target_has_no_unit():
    assert build_design(table(), "log(hardness) ~ density").unit is None


def test_incomplete_rows_are_dropped_and_counted():
    frame = table()
    frame.loc[[0, 1], "density"] = np.nan
    frame.loc[2, "anneal_time"] = 0.0
    frame.loc[3, "sample"] = None
    frame["density"] = frame["density"].astype("Float64")
    keys = [f"u{i}" for i in range(20)]
    vectors = Vectors("texture@256nm", keys[::-1], np.arange(20.0)[::-1, None] * np.ones(3))
    design = build_design(
        frame, 'hardness ~ density + log(anneal_time) + embedding("texture")', embeddings={"texture": vectors}
    )
    assert design.dropped == {
        "density is missing": 2,
        "sample is missing": 1,
        "no vector in texture@256nm": 4,
        "log(anneal_time) is not finite": 1,
    }
    assert design.n_read == 24
    assert design.uids.tolist() == keys[4:]
    assert design.features.embeddings["texture@256nm"][:, 0].tolist() == list(range(4, 20))


def test_several_group_columns_are_joined_where_they_share_a_label():
    frame = table(36)
    frame["batch"] = [f"b{i // 3}" for i in range(36)]  # every second one straddles a sample
    design = build_design(frame, "hardness ~ density", groups=("sample", "batch"))
    assert (
        design.groups.tolist() == np.repeat(np.arange(6), 6).tolist()
    )  # 6: least common multiple of 2 and 3
    said = "18 by sample, 12 by batch: rows that share any label stay together, 6 independent groups"
    assert design.notes == (said,)


def test_too_few_groups_say_how_many_and_what_to_do():
    with pytest.raises(
        TooFewGroupsError, match=r"^2 independent groups \(12 by sample, 2 by lab, joined"
    ) as caught:
        build_design(table(), "hardness ~ density", groups=("sample", "lab"))
    assert str(caught.value).endswith("at least 5: group by fewer columns, or add samples")
    with pytest.raises(
        TooFewGroupsError, match=r"^4 .* 16 of 24 rows are incomplete \(density is missing: 16\)$"
    ):
        build_design(table().assign(density=[1.0] * 8 + [None] * 16), "hardness ~ density")


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("hardness", "cannot read the formula"),
        ("hardness ~~ density", "cannot read the formula"),
        ("hardness + density ~ anneal_time", "has 2 targets; write one before the '~'"),
        ("hardness ~ 1", "names no feature"),
        ("hardness ~ log(hardness)", "stands on both sides"),
        ("hardness ~ scale(density)", "'scale(density)' cannot be used in a formula; "),
        ('hardness ~ {__import__("os").getcwd()}', "cannot be used in a formula"),
        ("hardness ~ {density.values}", "is more than arithmetic; use C(...), log(...)"),
        ('hardness ~ density:embedding("texture")', "can only be added with '+'"),
        ('hardness ~ log(embedding("texture"))', "can only be added with '+'"),
        (
            "cooling ~ density",
            "holds text, a link needs a number; classes are told apart by db.images.classify",
        ),
        (
            "hardness ~ log(cooling)",
            "'log(cooling)' needs numbers and 'cooling' holds text; write C(cooling)",
        ),
        ("hardness ~ densty", "no column 'densty' in the table that is linked; did you mean density?"),
    ],
)
def test_refusals_name_the_fault(formula, message):
    with pytest.raises(UsageError) as caught:
        build_design(table(), formula)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_group_column():
    with pytest.raises(UnknownColumnError, match="no column 'specimen'"):
        build_design(table(), "hardness ~ density", groups=("specimen",))


def test_constant_target_and_empty_table():
    with pytest.raises(UsageError, match="the target 'hardness' is 3 in all 24 rows"):
        build_design(table().assign(hardness=3.0), "hardness ~ density")
    with pytest.raises(UsageError, match=r"no row is complete .*\(density is missing: 24\)"):
        build_design(table().assign(density=np.nan), "hardness ~ density")
    formula = parse('hardness ~ phases("pearlite").fraction')
    with pytest.raises(UsageError, match=r"fraction, .* needs rows that an extractor fills: micdb populate"):
        build_design(table().assign(**dict.fromkeys(formula.rollups, np.nan)), formula)


def test_embeddings_are_pulled_out_in_order_and_once():
    parsed = parse("hardness ~ embedding('a') + density + embedding(\"b@2nm\") + embedding('a')")
    assert parsed.embeddings == ("a", "b@2nm")
    assert parsed.columns == ("hardness", "density")


def test_numbers_in_different_units_are_not_added():
    frame = table()
    frame["length"], frame["width"], frame["plain"] = 1.0, np.arange(24.0), 2.0
    frame.attrs["units"] = {"length": "nm", "width": "um", "density": "1/um**2", "hardness": "GPa"}
    for wrong, said in {
        "hardness ~ I(width + density)": "'width + density' adds a number in um to one in 1/um**2: give each",
        "hardness ~ I(2 * (width - length))": "'width - length' adds a number in um to one in nm: bring them",
        "log(hardness + width) ~ density": "'hardness + width' adds a number in GPa to one in um",
    }.items():
        with pytest.raises(UnitError, match=re.escape(said)):
            build_design(frame, wrong)
    build_design(frame, "hardness ~ I(width + plain) + width:density + I(width ** 2) + C(cooling)")
    build_design(frame, "hardness ~ I(width * density * width + 1) + I(log(width) + log(density + 1))")

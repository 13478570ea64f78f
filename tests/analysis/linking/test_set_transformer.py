"""All images of a sample are read at once: what only the set shows is found, in whatever order they come."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from micdb import load_link
from micdb.analysis.linking.link import link
from micdb.analysis.linking.set_transformer import SetTransformer
from micdb.errors import UnknownColumnError

SAMPLES, IMAGES = 60, 6


def sets(seed, samples=SAMPLES):
    """Return images of which the most uncommon one of a sample tells its property: no image does alone."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, IMAGES, 3))
    y = x[:, :, 0].max(axis=1)
    bags = np.repeat(np.arange(samples), IMAGES)
    return x.reshape(-1, 3), np.repeat(y, IMAGES), bags


def test_what_one_image_of_many_shows_is_found():
    taught = SetTransformer(0).fit(*sets(0, 200))
    x, y, bags = sets(1)
    said = taught.predict(x, bags)
    each = np.array([np.unique(said[bags == one]) for one in range(SAMPLES)])
    assert each.shape == (SAMPLES, 1)  # one answer per sample
    assert np.corrcoef(said, y)[0, 1] > 0.8
    alone = np.array([np.polyfit(sets(0)[0][:, 0], sets(0)[1], 1)[0]]) * x[:, 0]
    assert np.corrcoef(said, y)[0, 1] > np.corrcoef(alone, y)[0, 1] + 0.2


def test_order_and_company_do_not_matter():
    x, y, bags = sets(2, 20)
    taught = SetTransformer(0).fit(x, y, bags)
    order = np.random.default_rng(0).permutation(len(x))
    np.testing.assert_allclose(
        taught.predict(x[order], bags[order]), taught.predict(x, bags)[order], atol=1e-5
    )
    one = bags == 3
    np.testing.assert_allclose(taught.predict(x[one], bags[one]), taught.predict(x, bags)[one], atol=1e-5)
    again = SetTransformer(0).fit(x, y, bags)
    np.testing.assert_array_equal(again.predict(x, bags), taught.predict(x, bags))


def test_a_link_by_sets_is_kept_and_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr("micdb.analysis.linking.set_transformer._STEPS", 20)
    x, y, bags = sets(3, 12)
    table = pd.DataFrame(x, columns=["a", "b", "c"]).assign(y=y, sample=[f"s{one}" for one in bags])
    fit = link(table, "y ~ a + b + c", models=["set"], level=0.5)
    assert list(fit.table["model"]) == ["baseline", "set"]
    fit = replace(fit, best="set")  # too few steps to beat the mean of twelve
    again = load_link(fit.save(tmp_path / "fit"))
    pd.testing.assert_frame_equal(again.predict(table), fit.predict(table))
    assert again.predict(table).groupby(table["sample"])["predicted"].nunique().eq(1).all()
    with pytest.raises(UnknownColumnError, match="no column 'sample' in the table to predict for"):
        again.predict(table.drop(columns="sample"))

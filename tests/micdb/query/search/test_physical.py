"""`scale=`: patterns of any size, of one size in nm, at the same nm per pixel; and who is refused."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micdb.errors import UsageError
from micdb.populate.facts import FACTS
from micdb.query.frame import Frame
from micdb.query.search import physical
from micdb.query.search.physical import WEIGHT, Spectra, distances

make = SimpleNamespace(**run_path(str(Path(__file__).parents[3] / "data" / "planted" / "make.py")))

FREE, SAME = "shapes@px", "shapes@4nm"


def bands(image, first, power, order2=0.0):
    return [
        {
            "image": image, "band": first + n, "wavelength_nm": 2.0 ** -((first + n + 0.5) / 4),
            "power": one, "order2": order2, "order4": 0.0, "order6": 0.0,
        }
        for n, one in enumerate(power)
    ]  # fmt: skip


PEAK = [0.1, 1.0, 0.4, 0.1, 0.1, 0.05]


@pytest.fixture
def context(tmp_path):
    return make.database(tmp_path / "db", lambda path: path)


@pytest.fixture
def planted(context):
    """Return images: two alike, one twice as large, one of another pattern, one without a pixel size."""
    images = make.images(context, 5)
    run = make.add_run(context, "shapes", spaces=[(FREE, 2, None, "cosine"), (SAME, 2, 4.0, "cosine")])
    vectors = [
        (images[0], [1, 0]),
        (images[1], [1, 0.1]),
        (images[2], [1, 0.05]),
        (images[3], [0, 1]),
        (images[4], [1, 0]),
    ]
    rows = [(image, FREE, vector) for image, vector in vectors]
    rows += [(image, SAME, vector) for image, vector in vectors[:2]]
    make.add_part(context, run, "embeddings", rows=make.embeddings(rows))
    spectra = [
        *bands(images[0], -30, PEAK), *bands(images[1], -31, [0.01, *PEAK]),
        *bands(images[2], -34, [*PEAK, 0.02, 0.02, 0.02, 0.02]), *bands(images[3], -30, PEAK),
    ]  # fmt: skip
    make.add_part(context, run, "spectra", rows=pa.Table.from_pylist(spectra, schema=FACTS["spectra"]))
    return SimpleNamespace(images=images, uids=[make.uid(context, image) for image in images])


def test_physical_tells_sizes_apart_that_free_does_not(context, planted):
    frame = Frame(context, "images")
    free = frame.similar_to(planted.uids[0], by="shapes", scale="free").to_pandas()
    assert free["uid"].tolist() == [planted.uids[n] for n in (0, 4, 2, 1, 3)]
    same_size = frame.similar_to(planted.uids[0], by="shapes", scale="physical", k=4)
    answer = same_size.to_pandas()
    assert answer["uid"].tolist() == [planted.uids[n] for n in (0, 1, 2, 3)]
    assert answer["similarity"][0] == pytest.approx(1)
    assert answer["similarity"][1] == pytest.approx(1 / np.hypot(1, 0.1))
    assert answer["similarity"][2] < 0.9
    assert "4 of them ranked again by their power over 1/nm" in same_size.explain()
    assert "(1 image has no spectrum)" in same_size.explain()


def test_same_compares_only_at_one_number_of_nm_per_pixel(context, planted):
    frame = Frame(context, "images")
    found = frame.similar_to(planted.uids[0], by="shapes", scale="same").to_pandas()
    assert found["uid"].tolist() == planted.uids[:2]
    with pytest.raises(UsageError, match="scale='same' compares at one number of nm per pixel"):
        frame.similar_to(planted.uids[4], by="shapes", scale="same").to_pandas()


def test_what_cannot_be_asked_says_what_can(context, planted):
    frame = Frame(context, "images")
    with pytest.raises(UsageError, match="it is 'free', 'physical', 'same' or None"):
        frame.similar_to(planted.uids[0], scale="pixel")
    with pytest.raises(UsageError, match="leave scale='free' out"):
        frame.similar_to(planted.uids[0], scale="free", level="patch")
    with pytest.raises(UsageError, match="compares with one example"):
        frame.similar_to(planted.uids[:2], scale="physical").to_pandas()
    with pytest.raises(UsageError, match=r"no spectrum in 1/nm.*pixel_size='0.2 um'"):
        frame.similar_to(planted.uids[4], scale="physical").to_pandas()
    with pytest.raises(UsageError, match=r"shapes@4nm has not both: .*micdb populate micro"):
        frame.similar_to(planted.uids[0], by=SAME, scale="physical").to_pandas()
    with pytest.raises(UsageError, match="scale='free' compares patterns whatever their size"):
        frame.similar_to(planted.uids[0], by=SAME, scale="free").to_pandas()


def test_a_search_is_widened_until_enough_sizes_could_be_compared(context, planted, monkeypatch):
    monkeypatch.setattr(physical, "_POOL", 1)
    frame = Frame(context, "images")
    assert len(frame.similar_to(planted.uids[0], scale="physical", k=4).to_pandas()) == 4


def spectra_of(*powers, first=0):
    numbers = np.full((len(powers), 4, max(map(len, powers))), np.nan)
    for row, power in enumerate(powers):
        numbers[row, 0, : len(power)] = power
        numbers[row, 1:, : len(power)] = 0.0
    return Spectra(np.arange(len(powers)), first, numbers)


powers = st.lists(st.floats(0, 3), min_size=6, max_size=12)


@settings(max_examples=60, deadline=None)
@given(powers, powers, st.integers(-6, 6))
def test_a_distance_is_symmetric_and_only_of_shared_bands(one, other, shift):
    a, b = spectra_of(one), spectra_of(other, first=shift)
    there, back = distances(a, b)[0], distances(b, a)[0]
    assert there == pytest.approx(back, nan_ok=True)
    shared = min(len(one), shift + len(other)) - max(0, shift)
    assert np.isfinite(there) == (shared >= 4)
    assert distances(a, a)[0] == 0
    longer = spectra_of([*other, 2.0, 0.1], first=shift)  # bands that a does not reach change nothing
    if shift + len(other) >= len(one):
        assert distances(a, longer)[0] == pytest.approx(there, nan_ok=True)


def test_the_page_tells_the_weight():
    page = (Path(__file__).parents[4] / "docs" / "microstructures.md").read_text()
    assert f"less {WEIGHT} times the distance of the spectra" in page

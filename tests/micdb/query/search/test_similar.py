"""Search by example: the answer is what sorting every vector gives."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from micdb.errors import NotFoundError, StoreError, UsageError
from micdb.populate.extractor import Card, Extraction, Extractor, Space, extractors
from micdb.populate.facts import EMBEDDINGS
from micdb.query.search import similar, vectors
from micdb.records import Picture, Refusal

make = SimpleNamespace(**run_path(str(Path(__file__).parents[3] / "data" / "planted" / "make.py")))
ONE_NM, TWO_NM, UNSCALED = "halves@1nm", "halves@2nm", "halves@px"
SPACES = [(ONE_NM, 2, 1.0, "cosine"), (TWO_NM, 2, 2.0, "cosine"), (UNSCALED, 2, None, "cosine")]


class Halves(Extractor):
    """Mean of the left and of the right half, at 1 nm and coarser."""

    card = Card("halves", "1", "Means of two halves.", {}, "BSD-3-Clause", "none", "1 nm/pixel")
    schemas = {"embeddings": EMBEDDINGS}  # noqa: RUF012

    @property
    def spaces(self):
        return tuple(Space(*space) for space in SPACES)

    def extract(self, pictures):
        for picture in pictures:
            frame = picture.pixels[0]
            if picture.pixel_size is not None and picture.pixel_size[0] > 2:
                yield Refusal(picture.image, f"{picture.pixel_size[0]:g} nm/pixel is coarser than 2 nm/pixel")
                continue
            middle = frame.shape[1] // 2
            vector = [float(frame[:, :middle].mean()), float(frame[:, middle:].mean())]
            names = [UNSCALED] if picture.pixel_size is None else [ONE_NM, TWO_NM]
            rows = [{"image": picture.image, "space": name, "vector": vector} for name in names]
            yield Extraction(picture.image, {"embeddings": pa.Table.from_pylist(rows, schema=EMBEDDINGS)})


@pytest.fixture(scope="module", autouse=True)
def _registered():
    extractors().register(Halves, name="halves")


@pytest.fixture
def context(tmp_path):
    return make.database(tmp_path / "db", lambda _path: picture([[0.0, 1.0]]))


@pytest.fixture
def planted(context):
    """Return images 1 to 5: three in both scaled spaces, one only at 2 nm, one only unscaled."""
    images = make.images(context, 5)
    run = make.add_run(context, "halves", spaces=SPACES)
    rows = [
        (i, name, v)
        for i, v in zip(images, ([1, 0], [1, 1], [0, 1]), strict=False)
        for name in (ONE_NM, TWO_NM)
    ]
    rows += [(images[3], TWO_NM, [0.0, 2.0]), (images[4], UNSCALED, [0, 1])]
    make.add_part(context, run, "embeddings", rows=make.embeddings(rows))
    return SimpleNamespace(images=np.array(images), run=run)


def picture(pixels, pixel_size=(1.0, 1.0), name="query"):
    return Picture(-1, np.array(pixels, np.float32)[None], pixel_size, None, None, name)


def ranked(context, query, images, **options):
    found = similar.rank(context, query, images, **options).table.to_pydict()
    return list(zip(found["image"], np.round(found["similarity"], 4).tolist(), strict=True))


def test_each_image_is_compared_in_the_finest_common_space(context, planted):
    ranking = similar.rank(context, picture([[0, 1]]), planted.images, k=10)
    assert ranking.table["image"].to_pylist() == [3, 4, 2, 1]  # 3 and 4 are equal: the smaller pk first
    np.testing.assert_allclose(ranking.table["similarity"], [1, 1, 0.5**0.5, 0])
    assert ranking.table["match_box"].to_pylist() == ["0,0,64,48"] * 4
    assert ranking.skipped == 1
    assert ranking.path == (
        "exact over 3 vectors in halves@1nm and 1 vector in halves@2nm "
        "(1 image has no vector at a common scale)"
    )


def test_an_unscaled_example_meets_only_unscaled_images(context, planted):
    ranking = similar.rank(context, picture([[0, 1]], pixel_size=None), planted.images)
    assert ranking.table["image"].to_pylist() == [5]
    assert ranking.path == "exact over 1 vector in halves@px (4 images have no vector at a common scale)"


@pytest.fixture
def also_unscaled(context):
    """Return two images with a scale that are in the unscaled space too, and one without a scale."""
    images = make.images(context, 3)
    run = make.add_run(context, "halves", spaces=SPACES)
    rows = [(images[0], ONE_NM, [1, 0]), (images[1], TWO_NM, [1, 0])]
    rows += [(image, UNSCALED, [0, 1]) for image in images]
    make.add_part(context, run, "embeddings", rows=make.embeddings(rows))
    return np.array(images)


def test_an_example_with_a_scale_is_never_compared_without_it(context, also_unscaled):
    ranking = similar.rank(context, make.uid(context, 1), also_unscaled)
    assert ranking.table["image"].to_pylist() == [1]
    assert "2 images have no vector at a common scale" in ranking.path
    asked = similar.rank(context, make.uid(context, 1), also_unscaled, by=UNSCALED)
    assert asked.table["image"].to_pylist() == [1, 2, 3]


def test_a_link_takes_an_unscaled_space_only_by_name(context, also_unscaled):
    assert vectors.best_space(context, "halves", also_unscaled).name == ONE_NM
    assert vectors.best_space(context, UNSCALED, also_unscaled).name == UNSCALED
    assert vectors.best_space(context, "halves", also_unscaled[2:]).name == UNSCALED


def test_every_kind_of_example(context, planted, tmp_path):
    expected = [(3, 1.0), (4, 1.0)]
    file = tmp_path / "query.tif"
    file.touch()
    for query in (str(file), file, picture([[0, 1]]), make.uid(context, 3)):
        assert ranked(context, query, planted.images, k=2) == expected
    assert ranked(context, np.array([0, 1]), planted.images, k=2, by=TWO_NM) == expected


def test_by_takes_an_extractor_or_one_of_its_spaces(context, planted):
    assert len(ranked(context, picture([[0, 1]]), planted.images, by="halves")) == 4
    assert len(ranked(context, picture([[0, 1]]), planted.images, by=ONE_NM)) == 3


def test_a_box_cuts_the_example(context, planted):
    whole = picture([[9, 9, 0, 1], [9, 9, 0, 1]])
    assert ranked(context, whole, planted.images, k=1, box=(2, 0, 2, 2)) == [(3, 1.0)]
    make.file(context, 1, np.array([[5, 5, 0, 3], [5, 5, 0, 3]], np.float32))
    with context.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE micrograph SET pixel_size_x = 1, pixel_size_y = 1")
    assert ranked(context, make.uid(context, 1), planted.images, k=1, box=(2, 1, 2, 1)) == [(3, 1.0)]


def test_a_pixel_size_is_stated_for_an_example_that_has_none(context, planted):
    unscaled = picture([[0, 1]], pixel_size=None)
    assert ranked(context, unscaled, planted.images, k=1, pixel_size="0.001 um") == [(3, 1.0)]
    assert ranked(context, picture([[0, 1]]), planted.images, k=1, pixel_size="1 nm") == [(3, 1.0)]
    with pytest.raises(UsageError, match="query says that its pixels are 1 x 1 nm and pixel_size says 2 nm"):
        similar.rank(context, picture([[0, 1]]), planted.images, pixel_size="2 nm")
    with pytest.raises(UsageError, match="above zero"):
        similar.rank(context, unscaled, planted.images, pixel_size="0 nm")
    with pytest.raises(UsageError, match="cannot compare kg"):
        similar.rank(context, unscaled, planted.images, pixel_size="2 kg")


@pytest.mark.parametrize(
    "box",
    [(0, 0, 5, 1), (-1, 0, 2, 1), (3, 0, 2, 1), (0, 2, 1, 1), (0, 0, 0, 1), (0.5, 0, 1, 1), (0, 0, 1), "all"],
)
def test_a_box_outside_the_image_gives_its_size(context, planted, box):
    with pytest.raises(UsageError, match="is not inside query, which is 4 x 2 pixel"):
        similar.rank(context, picture(np.zeros((2, 4))), planted.images, box=box)


@pytest.mark.parametrize("k", [0, -3, 1.5, True])
def test_k_is_at_least_one(context, planted, k):
    with pytest.raises(UsageError, match=r"k is .*; it must be a whole number of at least 1"):
        similar.rank(context, picture([[0, 1]]), planted.images, k=k)


@pytest.mark.parametrize(
    ("query", "options", "message"),
    [
        (
            picture([[0, 1]]),
            {"by": "halves@1mm"},
            "no vectors are called 'halves@1mm'; did you mean halves@1nm",
        ),
        (np.ones(2), {}, "say which space it is in with by=; there are halves@1nm, halves@2nm, halves@px"),
        (np.ones(2), {"by": "halves"}, "say which space it is in"),
        (np.ones(3), {"by": ONE_NM}, r"the vector has shape \(3,\) .*halves@1nm needs 2 finite numbers"),
        (np.array([1, np.nan]), {"by": ONE_NM}, "needs 2 finite numbers"),
        (np.zeros(2), {"by": ONE_NM}, "vector in halves@1nm is zero"),
        (np.ones(2), {"by": ONE_NM, "box": (0, 0, 1, 1)}, "a vector has neither box nor pixel size"),
        (
            picture([[0, 1]], (5.0, 5.0)),
            {},
            "halves cannot describe query: 5 nm/pixel is coarser than 2 nm/pixel",
        ),
        (
            picture([[0, 1]], None),
            {"by": ONE_NM},
            "query has vectors in halves@px, and the search is in halves@1nm",
        ),
        ("0190a1b2-0000-7000-8000-000000000000", {}, "no image has the uid"),
    ],
)
def test_what_is_wrong_and_how_to_mend_it(context, planted, query, options, message):
    with pytest.raises(UsageError, match=message):
        similar.rank(context, query, planted.images, **options)


def test_a_file_that_is_not_there(context, planted):
    with pytest.raises(NotFoundError, match=r"no file nowhere\.tif"):
        similar.rank(context, "nowhere.tif", planted.images)


def test_a_stored_image_without_a_vector_says_why(context, planted):
    (refused, unseen) = make.images(context, 2)
    make.refuse(context, planted.run, refused, reason="field of view below 128 pixel")
    with pytest.raises(UsageError, match="image 0 has no vector in .*: field of view below 128 pixel"):
        similar.rank(context, make.uid(context, refused), planted.images)
    with pytest.raises(UsageError, match="compute it with: micdb populate halves"):
        similar.rank(context, make.uid(context, unseen), planted.images)


def test_nothing_to_search_in(context):
    make.add_run(context, "peaks")
    with pytest.raises(UsageError, match="compute them with: micdb populate texture"):
        similar.rank(context, picture([[0, 1]]), np.array([1]))


def test_vectors_of_another_version_are_not_compared(context):
    make.add_run(context, "halves", spaces=SPACES, version="0")
    with pytest.raises(UsageError, match="were made by halves 0, installed is 1: they cannot be compared"):
        similar.rank(context, picture([[0, 1]]), np.array([1]))


def test_a_pinned_run_stands_for_the_current_one(context, planted):
    old = make.add_run(context, "halves", spaces=SPACES[:1], current=False)
    make.add_part(context, old, "embeddings", rows=make.embeddings([(2, ONE_NM, [0, 1])]))
    assert ranked(context, picture([[0, 1]]), planted.images, pins={"halves": old}) == [(2, 1.0)]


def test_a_vector_that_is_not_finite_or_too_long_is_an_error(context):
    make.images(context, 2)
    run = make.add_run(context, "halves", spaces=SPACES[:1])
    make.add_part(context, run, "embeddings", rows=make.embeddings([(1, ONE_NM, [np.nan, 1])]))
    make.add_part(context, run, "embeddings", rows=make.embeddings([(2, ONE_NM, [1, 1, 1])]))
    with pytest.raises(StoreError, match="halves@1nm holds a vector that is not finite"):
        similar.rank(context, picture([[0, 1]]), np.array([1]))
    with pytest.raises(StoreError, match="has not the 2 numbers its space declares"):
        similar.rank(context, picture([[0, 1]]), np.array([2]))


def test_a_missing_part_is_named(context, planted):
    (part,) = (context.root / "parts" / "embeddings").iterdir()
    part.unlink()
    with pytest.raises(StoreError, match=f"{part.name}.*micdb fsck --deep"):
        similar.rank(context, picture([[0, 1]]), planted.images)


def test_no_candidates_and_no_parts(context):
    make.add_run(context, "halves", spaces=SPACES)
    ranking = similar.rank(context, picture([[0, 1]]), np.array([4, 7]))
    assert (ranking.table.num_rows, ranking.skipped) == (0, 2)
    assert ranking.table.schema == similar.SCHEMA
    assert similar.rank(context, picture([[0, 1]]), np.array([], np.int64)).table.num_rows == 0


def test_threads_do_not_disturb_one_another(context, planted):
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: ranked(context, picture([[0, 1]]), planted.images), range(12)))
    assert answers == [answers[0]] * 12


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    context = make.database(tmp_path_factory.mktemp("shelf"))
    make.images(context, 40)
    return context


ANY_SIZE = st.floats(-4, 4, width=16) | st.floats(width=32, allow_nan=False, allow_infinity=False)
NUMBERS = st.floats(-4, 4, width=16) | st.integers(-2, 2).map(float)


@settings(max_examples=30, deadline=None)
@given(
    matrix=arrays(np.float32, st.tuples(st.integers(1, 40), st.just(3)), elements=NUMBERS),
    query=arrays(np.float32, 3, elements=NUMBERS).filter(np.any),
    kept=st.sets(st.integers(1, 45), min_size=1),
    k=st.integers(1, 50),
    how=st.tuples(st.sampled_from(["cosine", "euclidean"]), st.integers(1, 20)),
)
def test_rank_is_what_sorting_everything_gives(shelf, matrix, query, *, kept, k, how):
    metric, rows = how  # rows at a time
    run = make.add_run(shelf, "shelf", spaces=[("shelf@1nm", 3, 1.0, metric)])
    entries = [(i + 1, "shelf@1nm", vector) for i, vector in enumerate(matrix)]
    for start in range(0, len(entries), 16):
        make.add_part(shelf, run, "embeddings", rows=make.embeddings(entries[start : start + 16]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "BLOCK", 12 * rows)
        found = similar.rank(shelf, query, np.array(sorted(kept)), k=k, by="shelf@1nm")

    stored = [i for i in sorted(kept) if i <= len(matrix)]
    like = similar.similarity(metric, query, matrix[[i - 1 for i in stored]])
    order = sorted(zip(-like, stored, strict=True))[:k]
    assert found.table["image"].to_pylist() == [image for _, image in order]
    assert found.table["similarity"].to_pylist() == [-value for value, _ in order]
    assert found.skipped == len(kept) - len(stored)


@settings(max_examples=50, deadline=None)
@given(
    matrix=arrays(np.float32, (5, 16), elements=ANY_SIZE),
    query=arrays(np.float32, 16, elements=ANY_SIZE).filter(np.any),
    metric=st.sampled_from(["cosine", "euclidean"]),
)
def test_the_fast_bound_is_never_below_the_similarity(matrix, query, metric):
    bound = similar.upper_bound(metric, query, matrix)
    assert not (bound < similar.similarity(metric, query, matrix)).any()


def test_cosine_and_euclidean():
    rows = np.array([[3, 4], [0, 0], [-3, -4]], np.float32)
    np.testing.assert_allclose(similar.similarity("cosine", rows[0], rows), [1, 0, -1])
    np.testing.assert_allclose(similar.similarity("euclidean", rows[0], rows), [1, 1 / 6, 1 / 11])


def test_load_returns_what_there_is_in_the_order_asked_for(context, planted):
    two = vectors.spaces(context, TWO_NM)[0]
    images, matrix = vectors.load(context, two, np.array([4, 99, 5, 1]))
    assert images.tolist() == [4, 1]
    assert matrix.dtype == np.float32
    assert matrix.tolist() == [[0, 2], [1, 0]]
    images, matrix = vectors.load(context, two, np.array([99]))
    assert matrix.shape == (0, 2)


def test_best_space_covers_most_images_and_then_is_the_finest(context, planted):
    assert vectors.best_space(context, "halves", planted.images).name == TWO_NM
    assert vectors.best_space(context, "halves", planted.images[:3]).name == ONE_NM
    assert vectors.best_space(context, "halves", planted.images[4:]).name == UNSCALED
    assert vectors.best_space(context, ONE_NM, planted.images[4:]).name == ONE_NM
    assert vectors.best_space(context, None, np.array([], np.int64)).name == ONE_NM

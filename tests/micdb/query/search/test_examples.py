"""Several examples are one vector: Rocchio's, in the spaces that all of them share."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from micdb.errors import UsageError
from micdb.query.frame import Frame
from micdb.query.search import similar
from micdb.query.search.examples import Example, Question, combine, describe, frozen, question
from micdb.records import Picture

make = SimpleNamespace(**run_path(str(Path(__file__).parents[3] / "data" / "planted" / "make.py")))
NM, PX, FLAT = "toy@1nm", "toy@px", "flat@1nm"
NUMBERS = st.floats(-4, 4, width=16)


@pytest.fixture
def planted(tmp_path):
    """Return a catalog of 6 images: vectors on a fan in one plane, and two images without scale."""
    context = make.database(tmp_path / "db")
    images = make.images(context, 6)
    run = make.add_run(context, "toy", spaces=[(NM, 2, 1.0, "cosine"), (PX, 2, None, "cosine")])
    fan = [[1, 0], [4, 1], [1, 1], [0, 3]]
    rows = [(image, NM, vector) for image, vector in zip(images, fan, strict=False)]
    rows += [(images[4], PX, [1, 0]), (images[5], PX, [0, 1])]
    make.add_part(context, run, "embeddings", rows=make.embeddings(rows))
    return SimpleNamespace(
        context=context, images=np.array(images), uids=[make.uid(context, image) for image in images], fan=fan
    )


def answers(planted, *args, **options):
    table = Frame(planted.context).similar_to(*args, **options).to_pandas()
    return [planted.uids.index(uid) + 1 for uid in table["uid"]], table["similarity"].to_numpy()


class TestCombination:
    def test_by_hand(self):
        # unit vectors (1, 0) and (0, 1): mean (1/2, 1/2); less a fifth of (0, 1), over 0.6
        made = combine("cosine", [np.array([3.0, 0]), np.array([0, 0.5])], [np.array([0, 9.0])])
        np.testing.assert_allclose(made, [0.375 / 0.6, (0.375 - 0.15) / 0.6], rtol=1e-6)

    def test_euclidean_by_hand(self):
        # 1.25 times the mean (2, 2) less 0.25 times (0, 4)
        made = combine("euclidean", [np.array([0.0, 4]), np.array([4.0, 0])], [np.array([0.0, 4])])
        np.testing.assert_allclose(made, [2.5, 1.5], rtol=1e-6)

    @settings(max_examples=40, deadline=None)
    @given(
        wanted=arrays(np.float64, (3, 4), elements=NUMBERS),
        unwanted=arrays(np.float64, (2, 4), elements=NUMBERS),
        shift=arrays(np.float64, 4, elements=NUMBERS),
    )
    def test_a_euclidean_space_has_no_origin(self, wanted, unwanted, shift):
        here = combine("euclidean", list(wanted), list(unwanted))
        there = combine("euclidean", list(wanted + shift), list(unwanted + shift))
        np.testing.assert_allclose(there, here + shift, atol=1e-4)

    @settings(max_examples=40, deadline=None)
    @given(
        wanted=arrays(np.float64, (3, 4), elements=NUMBERS).filter(lambda m: m.any(axis=1).all()),
        lengths=arrays(np.float64, 3, elements=st.floats(0.01, 100)),
    )
    def test_by_cosine_the_lengths_of_examples_say_nothing(self, wanted, lengths):
        if np.linalg.norm((wanted / np.linalg.norm(wanted, axis=1)[:, None]).mean(axis=0)) < 1e-3:
            return
        one, other = combine("cosine", list(wanted)), combine("cosine", list(wanted * lengths[:, None]))
        np.testing.assert_allclose(one, other, atol=1e-5)

    def test_examples_that_cancel(self):
        with pytest.raises(UsageError, match="cancel one another: together they point nowhere"):
            combine("cosine", [np.array([1.0, 0]), np.array([-1.0, 0])])


class TestSearch:
    def test_one_example_in_a_list_is_that_example(self, planted):
        order, like = answers(planted, [planted.uids[1]], k=4)
        alone, same = answers(planted, planted.uids[1], k=4)
        assert order == alone == [2, 1, 3, 4]
        np.testing.assert_array_equal(like, same)

    def test_two_examples_find_what_lies_between_and_are_answers_themselves(self, planted):
        order, like = answers(planted, [planted.uids[0], planted.uids[3]], k=4)
        assert order[:2] == [3, 2]  # (1, 1) is the mean of (1, 0) and (0, 1)
        assert set(order[2:]) == {1, 4}
        np.testing.assert_allclose(like, [1, 5 / 34**0.5, 0.5**0.5, 0.5**0.5], rtol=1e-6)

    def test_a_negative_example_pushes_away(self, planted):
        order, like = answers(planted, planted.uids[2], negative=[planted.uids[3]], k=4)
        query = (0.75 * np.array([1, 1]) / 2**0.5 - 0.15 * np.array([0, 1])) / 0.6
        fan = np.array(planted.fan, float)
        expected = fan @ query / np.linalg.norm(fan, axis=1) / np.linalg.norm(query)
        assert order == (np.argsort(-expected) + 1).tolist() == [3, 2, 1, 4]
        np.testing.assert_allclose(like, np.sort(expected)[::-1], rtol=1e-6)

    def test_a_path_a_uid_and_a_vector_together(self, planted):
        vector = np.array([0.0, 2.0])
        order, _ = answers(planted, [planted.uids[0], vector], by=NM, k=1)
        assert order == [3]
        assert answers(planted, planted.uids[0], negative=vector, by=NM, k=1)[0] == [1]

    def test_only_spaces_that_all_share(self, planted):
        message = (
            "the examples have no space in common.*example 1 is in toy@1nm; example 2 is in toy@px; "
            "state the pixel size"
        )
        with pytest.raises(UsageError, match=message):
            answers(planted, [planted.uids[0], planted.uids[4]])
        assert answers(planted, [planted.uids[4], planted.uids[5]], k=9)[0] == [5, 6]

    def test_an_example_that_points_nowhere_is_named(self, planted):
        with pytest.raises(UsageError, match="the vector of example 2 in toy@1nm is zero: it points nowhere"):
            answers(planted, [planted.uids[0], np.zeros(2)], by=NM)

    def test_a_euclidean_space(self, planted):
        run = make.add_run(planted.context, "flat", spaces=[(FLAT, 2, 1.0, "euclidean")])
        rows = [
            (int(image), FLAT, v) for image, v in zip(planted.images, [[0, 0], [4, 0], [5, 0]], strict=False)
        ]
        make.add_part(planted.context, run, "embeddings", rows=make.embeddings(rows))
        options = {"by": FLAT, "k": 3}
        assert answers(planted, [planted.uids[0], planted.uids[1]], **options)[0] == [1, 2, 3]  # 2, 2, 3 off
        # 1.25 * 4 - 0.25 * 0 = 5: away from the unwanted one
        order, like = answers(planted, planted.uids[1], negative=planted.uids[0], **options)
        assert order == [3, 2, 1]
        np.testing.assert_allclose(like, [1, 1 / 2, 1 / 6], rtol=1e-6)

    def test_rank_takes_a_question(self, planted):
        asked = Question((Example(planted.uids[0]), Example(planted.uids[3])))
        ranking = similar.rank(planted.context, asked, planted.images, k=2)
        assert ranking.table["image"].to_pylist() == [3, 2]
        (vector,) = describe(planted.context, asked).values()
        assert vector.dtype == np.float32


class TestQuestion:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"query": ()}, "there is no example: give at least one image, uid or vector"),
            (
                {"query": (), "negative": ("a",)},
                "only negative examples say what is not wanted: give at least",
            ),
            (
                {"query": ("a", "b", "c"), "box": ((0, 0, 1, 1), None)},
                "2 boxes for 3 examples: give one for each in the same order",
            ),
            ({"query": ("a", "b"), "box": (0, 0, 1, 1)}, "1 boxes for 2 examples"),
            (
                {"query": ("a", "b"), "negative": ("c",), "pixel_size": ("1 nm",)},
                "1 pixel sizes for 2 examples and 1 negative ones: give one for each",
            ),
        ],
    )
    def test_what_contradicts_itself_is_refused(self, arguments, message):
        with pytest.raises(UsageError, match=message):
            question(arguments.pop("query"), **arguments)

    def test_boxes_and_pixel_sizes_go_with_their_examples(self):
        box = (1, 2, 3, 4)
        asked = question(("a", "b"), box=(None, box, box), pixel_size=("1 nm", None), negative=("c",))
        assert asked.wanted == (Example("a", None, "1 nm"), Example("b", box, None))
        assert asked.unwanted == (Example("c", box, None),)
        assert question("a", box=box).wanted == question(("a",), box=(box,)).wanted == (Example("a", box),)

    def test_frozen(self):
        assert frozen([np.int64(1), [np.arange(2)], "a", None]) == (1, ((0, 1),), "a", None)


class TestSaved:
    def test_several_examples_survive_json(self, planted):
        frame = Frame(planted.context).similar_to(
            [planted.uids[0], planted.uids[3]], k=3, box=[None, None], negative=[planted.uids[1]]
        )
        tree = frame.to_json()
        again = Frame.from_json(planted.context, tree)
        assert again.to_json() == tree
        assert again.to_pandas().equals(frame.to_pandas())

    def test_a_search_by_one_example_is_written_as_before(self, planted):
        old = ["similar", planted.uids[0], 2, None, None, None]
        frame = Frame(planted.context).similar_to(planted.uids[0], k=2)
        assert frame.to_json()["verbs"] == [old]
        read = Frame.from_json(planted.context, {"base": "images", "verbs": [old]})
        assert read.to_pandas().equals(frame.to_pandas())

    @pytest.mark.parametrize("rest", [[], [None, None, None, [], "image", 1, None, None, 1]])
    def test_too_few_and_too_many_values(self, planted, rest):
        tree = {"base": "images", "verbs": [["similar", planted.uids[0], 2, *rest]]}
        with pytest.raises(UsageError, match="similar takes 5 to 10 values in a query tree, not"):
            Frame.from_json(planted.context, tree)

    @pytest.mark.parametrize("where", ["query", "negative"])
    def test_an_array_among_them_has_no_place_in_a_text(self, planted, where):
        given = {"query": [planted.uids[0]], where: [planted.uids[0], np.ones(2)]}
        frame = Frame(planted.context).similar_to(given.pop("query"), **given)
        with pytest.raises(UsageError, match="a search by ndarray cannot be saved; search by the path"):
            frame.to_json()

    def test_paths_are_saved_as_text(self, planted):
        frame = Frame(planted.context).similar_to([Path("a.tif")], negative=Path("b.tif"))
        assert frame.to_json()["verbs"][0][1:] == [["a.tif"], 10, None, None, None, ["b.tif"]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "atom"}, "level is 'atom'; it is 'image' or 'patch'"),
        ({"per_image": 2}, "several answers of one image are places in it: add level='patch'"),
        ({"per_image": 0, "level": "patch"}, "per_image is 0; it is a whole number of at least 1, or None"),
        ({"box": [(0, 0, 1, 1), None]}, "2 boxes for 1 examples"),
        ({"query": []}, "there is no example"),
        ({"index": "hnws"}, "no index is called 'hnws'; did you mean hnsw"),
        ({"index": "pgvector", "level": "patch"}, "the server has no places: leave index='pgvector' out"),
        ({"query": [], "negative": "a.tif"}, "only negative examples"),
    ],
)
def test_mistakes_are_told_before_anything_runs(planted, options, message):
    with pytest.raises(UsageError, match=message):
        Frame(planted.context).similar_to(**{"query": "a.tif", **options})


def test_an_index_by_name(planted):
    frame = Frame(planted.context)
    assert (
        frame.similar_to(planted.uids[0], k=3, index="exact")
        .to_pandas()
        .equals(frame.similar_to(planted.uids[0], k=3).to_pandas())
    )
    with pytest.raises(
        UsageError, match="pgvector is an extension of PostgreSQL; this catalog is a SQLite file"
    ):
        frame.similar_to(planted.uids[0], index="pgvector").count()


def test_a_picture_and_a_box_each(planted, monkeypatch):
    """Boxes and pixel sizes reach the examples they stand for."""
    seen = []

    def one(_context, query, *, box, pixel_size, **_):
        seen.append((query.name, box, pixel_size))
        raise UsageError("enough")

    from micdb.query.search import example

    pictures = [Picture(-1, np.ones((1, 4, 4), np.float32), None, None, None, name) for name in "ab"]
    monkeypatch.setattr(example, "describe", one)
    frame = Frame(planted.context).similar_to(pictures, box=[None, (0, 0, 2, 2)], pixel_size=["1 nm", None])
    with pytest.raises(UsageError, match="enough"):
        frame.count()
    assert seen == [("a", None, "1 nm")]

"""Places in images, ranked: the answer is what comparing every region of every image by hand gives."""

from __future__ import annotations

from itertools import pairwise
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
from micdb.query.search import matrices, patches, places
from micdb.query.search.places import SCHEMA, survivors

make = SimpleNamespace(**run_path(str(Path(__file__).parents[3] / "data" / "planted" / "make.py")))
FINE, COARSE = "grid@1nm", "grid@2nm"
SPACES = [(FINE, 3, 1.0, "cosine"), (COARSE, 3, 2.0, "cosine")]


def rows_of(entries):
    """Return rows of ``patches`` from (image, space, (frame, x, y, width, height), vector)."""
    return pa.Table.from_pylist(
        [
            {
                "image": image, "frame": place[0], "space": space, "x_px": place[1], "y_px": place[2],
                "width_px": place[3], "height_px": place[4], "vector": [float(x) for x in vector],
            }
            for image, space, place, vector in entries
        ],
        schema=FACTS["patches"],
    )  # fmt: skip


def grid(image, vectors, *, space=FINE, side=8, step=4, frame=0):
    """Return one image's windows: `vectors` is ``(rows, columns, 3)``, NaN where a window was blank."""
    return [
        (image, space, (frame, step * column, step * row, side, side), vectors[row, column])
        for row in range(vectors.shape[0])
        for column in range(vectors.shape[1])
        if np.isfinite(vectors[row, column]).all()
    ]


def unit(vector):
    return np.asarray(vector, float) / np.linalg.norm(vector)


@pytest.fixture
def planted(tmp_path):
    """Return 12 images of 5 x 6 random windows in one space, by hand, in three parts."""
    context = make.database(tmp_path / "db")
    images = make.images(context, 12, width=28, height=24)
    run = make.add_run(context, "grid", spaces=SPACES)
    rng = np.random.default_rng(4)
    vectors = {image: rng.normal(size=(5, 6, 3)).astype(np.float32) for image in images}
    for start in (0, 4, 8):
        entries = [one for image in images[start : start + 4] for one in grid(image, vectors[image])]
        make.add_part(context, run, "patches", rows=rows_of(entries))
    uids = {make.uid(context, image): image for image in images}
    return SimpleNamespace(context=context, images=images, run=run, vectors=vectors, uids=uids)


def found(planted, query, **options):
    table = Frame(planted.context).find_patches(query, by=FINE, **options).to_pandas()
    boxes = [tuple(map(int, box.split(","))) for box in table["match_box"]]
    return [(planted.uids[uid], *box) for uid, box in zip(table["uid"], boxes, strict=True)], table


def disjoint(one, other):
    return (
        one[0] != other[0]
        or one[1] + one[3] <= other[1]
        or other[1] + other[3] <= one[1]
        or one[2] + one[4] <= other[2]
        or other[2] + other[4] <= one[2]
    )


def by_hand(planted, query, *, k, per_image=None, images=None):
    """Sort every window by cosine and take them greedily."""
    windows = sorted(
        (
            (-float(unit(query) @ unit(vectors[row, column])), image, 4 * column, 4 * row)
            for image, vectors in planted.vectors.items()
            if images is None or image in images
            for row in range(5)
            for column in range(6)
        ),
    )
    taken = []
    for less, image, x, y in windows:
        place = (image, x, y, 8, 8)
        mine = [other for other, _ in taken if other[0] == image]
        if (per_image is None or len(mine) < per_image) and all(disjoint(place, other) for other in mine):
            taken.append((place, -less))
    return taken[:k]


class TestVectors:
    @pytest.mark.parametrize("per_image", [None, 1, 2, 3])
    @pytest.mark.parametrize("k", [1, 7, 50])
    def test_the_best_windows_that_do_not_overlap(self, planted, k, per_image):
        query = np.array([1.0, -0.5, 0.2])
        answer, table = found(planted, query, k=k, per_image=per_image)
        expected = by_hand(planted, query, k=k, per_image=per_image)
        assert answer == [place for place, _ in expected]
        np.testing.assert_allclose(table["similarity"], [like for _, like in expected], atol=1e-6)
        assert len(answer) == min(k, len(by_hand(planted, query, k=10**6, per_image=per_image)))

    def test_an_image_has_one_row_unless_more_are_asked_for(self, planted):
        query = np.array([1.0, 1, 0])
        frame = Frame(planted.context).similar_to(query, level="patch", by=FINE, k=20)
        table = frame.to_pandas()
        assert len(table) == frame.count() == 12
        assert table["uid"].is_unique
        best = {place[0]: place[1:] for place, _ in by_hand(planted, query, k=99, per_image=1)}
        for uid, box in zip(table["uid"], table["match_box"], strict=True):
            assert tuple(map(int, box.split(","))) == best[planted.uids[uid]]
        assert table["similarity"].is_monotonic_decreasing
        assert table["match_frame"].tolist() == [0] * 12

    def test_only_images_that_passed_the_filter(self, planted):
        frame = Frame(planted.context)
        kept = frame[frame.name.isin(["image 2", "image 5"])]
        table = kept.find_patches(np.array([0, 0, 1.0]), by=FINE, k=100).to_pandas()
        expected = by_hand(planted, [0, 0, 1], k=100, images={planted.images[2], planted.images[5]})
        assert [planted.uids[uid] for uid in table["uid"]] == [place[0] for place, _ in expected]
        assert set(table["name"]) == {"image 2", "image 5"}

    def test_more_windows_are_asked_for_until_there_are_enough(self, planted, monkeypatch):
        monkeypatch.setattr(places, "SHORTLIST", 1)
        monkeypatch.setattr(places, "PER_ANSWER", 1)
        query = np.array([0.3, 1, 0])
        for k in (3, 12, 60):
            assert found(planted, query, k=k)[0] == [place for place, _ in by_hand(planted, query, k=k)]
        assert len(found(planted, query, k=12, per_image=1)[0]) == 12

    def test_grain_and_verbs_after_it(self, planted):
        frame = Frame(planted.context).find_patches(np.array([1.0, 0, 0]), by=FINE, k=30)
        table = frame.to_pandas()
        assert table["uid"].duplicated().any()
        again = frame[frame.similarity > 0.9].to_pandas()
        assert len(again) == int((table["similarity"] > 0.9).sum())
        assert frame.head(4).to_pandas().equals(table.head(4))
        counts = frame.groupby("name").agg(n=("uid", "count")).to_pandas()
        assert dict(zip(counts["name"], counts["n"], strict=True)) == table["name"].value_counts().to_dict()
        assert frame.units == Frame(planted.context).units
        assert (frame.noun, frame.groupby("name").agg(n=("uid", "count")).noun) == ("places", "groups")
        assert "patches: exact over 360 windows of 12 images in grid@1nm" in frame.explain()

    def test_a_second_search_replaces_the_first(self, planted):
        frame = Frame(planted.context).find_patches(np.array([1.0, 0, 0]), by=FINE, k=3)
        again = frame.sort_values("match_frame").find_patches(np.array([0, 1.0, 0]), by=FINE, k=50)
        assert again.count() == len(by_hand(planted, [0, 1, 0], k=50))

    def test_a_folder_that_cannot_be_written_changes_nothing(self, planted, monkeypatch):
        monkeypatch.setattr(matrices, "write", lambda *_args, **_named: None)
        query = np.array([1.0, -0.5, 0.2])
        assert found(planted, query, k=9)[0] == [place for place, _ in by_hand(planted, query, k=9)]

    def test_the_tree_is_saved(self, planted):
        uid = next(iter(planted.uids))
        frame = Frame(planted.context).find_patches(uid, by=FINE, k=3)
        tree = frame.to_json()
        assert tree["verbs"] == [["similar", uid, 3, None, FINE, None, [], "patch", None]]
        assert Frame.from_json(planted.context, tree).to_pandas().equals(frame.to_pandas())

    def test_every_image_in_the_finest_space_it_shares_with_the_example(self, planted):
        (extra,) = make.images(planted.context, 1, width=28, height=24)
        entries = grid(extra, np.full((2, 2, 3), [0, 0, 1.0]), space=COARSE, side=16, step=8)
        entries += [(planted.images[0], COARSE, (0, 0, 0, 16, 16), [0, 0, 1.0])]
        make.add_part(planted.context, planted.run, "patches", rows=rows_of(entries))
        ranking = places.rank(
            planted.context, make.uid(planted.context, extra), np.array([*planted.images, extra]), k=99
        )
        assert ranking.table["image"].to_pylist() == [planted.images[0], extra]
        assert ranking.skipped == 11  # they are in grid@1nm only, the example in grid@2nm only
        assert "11 images have no patches at a common scale" in ranking.path


class TestRegions:
    def test_an_example_of_several_windows_is_compared_with_blocks_as_large(self, planted):
        """A stored image is the example: 5 x 6 windows, so that each image is one block."""
        uid, image = next(iter(planted.uids.items()))
        table = Frame(planted.context).similar_to(uid, level="patch", by=FINE, k=12).to_pandas()
        centres = {
            one: unit(sum(unit(v) for v in vectors.reshape(-1, 3)))
            for one, vectors in planted.vectors.items()
        }
        like = {one: float(centres[image] @ centre) for one, centre in centres.items()}
        assert [planted.uids[one] for one in table["uid"]] == sorted(like, key=lambda one: -like[one])
        np.testing.assert_allclose(table["similarity"], sorted(like.values(), reverse=True), atol=1e-6)
        assert set(table["match_box"]) == {"0,0,28,24"}

    @settings(max_examples=40, deadline=None)
    @given(
        shape=st.tuples(st.integers(1, 5), st.integers(1, 6)),
        extent=st.tuples(st.sampled_from([1.0, 1.5, 2.0, 3.0, 9.0]), st.sampled_from([1.0, 1.5, 2.5])),
        blank=st.sets(st.tuples(st.integers(0, 4), st.integers(0, 5)), max_size=8),
        metric=st.sampled_from(["cosine", "euclidean"]),
    )
    def test_blocks_by_hand(self, shape, extent, blank, metric):
        vectors = np.random.default_rng(1).normal(size=(*shape, 3)).astype(np.float32)
        for row, column in blank:
            if row < shape[0] and column < shape[1]:
                vectors[row, column] = np.nan
        entries = grid(1, vectors)
        if not entries:
            return
        # lines that are blank throughout are not on the grid
        lines = [np.flatnonzero(np.isfinite(vectors[..., 0]).any(axis=1 - axis)) for axis in (0, 1)]
        n = [
            max(1, sum((4 * (line - line[0]) / 8 + 1 <= reach + 0.25).tolist()))
            for line, reach in zip(lines, extent, strict=True)
        ]
        expected = {}
        for down in range(len(lines[0]) - n[0] + 1):
            for across in range(len(lines[1]) - n[1] + 1):
                rows, columns = lines[0][down : down + n[0]], lines[1][across : across + n[1]]
                inside = [vectors[row, column] for row in rows for column in columns]
                seen = [v for v in inside if np.isfinite(v).all()]
                if len(seen) < max(1, 0.5 * n[0] * n[1]):
                    continue
                mean = np.mean([unit(v) if metric == "cosine" else v for v in seen], axis=0)
                x, y = 4 * columns[0], 4 * rows[0]
                expected[0, x, y, 4 * columns[-1] + 8 - x, 4 * rows[-1] + 8 - y] = mean
        boxes, centroids = patches.regions(
            metric, np.array([one[2] for one in entries]), np.array([one[3] for one in entries]), extent
        )
        assert [tuple(box) for box in boxes.tolist()] == list(expected)
        np.testing.assert_allclose(centroids, list(expected.values()), atol=1e-6)

    def test_frames_are_searched_by_themselves(self, planted):
        """Windows at one place in two frames do not overlap, and regions do not reach over frames."""
        (stack,) = make.images(planted.context, 1, width=28, height=24)
        vectors = np.random.default_rng(3).normal(size=(2, 2, 2, 3))
        entries = [one for frame in (0, 1) for one in grid(stack, vectors[frame], frame=frame)]
        make.add_part(planted.context, planted.run, "patches", rows=rows_of(entries))
        query = vectors[1, 1, 1]
        ranking = places.rank(planted.context, query, np.array([stack]), by=FINE, k=9, per_image=None)
        first = ranking.table.slice(0, 1).to_pylist()[0]
        assert (first["match_frame"], first["match_box"]) == (1, "4,4,8,8")
        assert sorted(ranking.table["match_frame"].to_pylist()) == [0, 1]  # 2 x 2 windows overlap one another


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(1, 3), st.integers(0, 1), st.integers(0, 5), st.integers(0, 5), st.integers(0, 3)
        ),
        min_size=1,
        max_size=40,
    ),
    k=st.integers(1, 20),
    per_image=st.sampled_from([None, 1, 2]),
)
def test_survivors_are_disjoint_complete_and_in_order(rows, k, per_image):
    images = np.array([row[0] for row in rows])
    boxes = np.array([(row[1], 4 * row[2], 4 * row[3], 8, 8) for row in rows])
    like = np.array([row[4] / 3 for row in rows])
    kept = survivors(images, boxes, like, k=k, per_image=per_image).tolist()
    everything = survivors(images, boxes, like, k=10**6, per_image=per_image).tolist()
    assert kept == everything[:k]
    ranks = [(-like[i], images[i], i) for i in everything]
    assert ranks == sorted(ranks)
    if per_image != 1:
        for i in everything:
            for j in everything:
                assert i == j or boxes[i, 0] != boxes[j, 0] or disjoint_rows(images, boxes, i, j)
    for i in set(range(len(rows))) - set(everything):  # left out for a reason
        better = [j for j in everything if images[j] == images[i] and (-like[j], j) < (-like[i], i)]
        full = per_image is not None and len(better) >= per_image
        assert full or any(
            boxes[i, 0] == boxes[j, 0] and not disjoint_rows(images, boxes, i, j) for j in better
        )


def disjoint_rows(images, boxes, i, j):
    return disjoint((images[i], *boxes[i, 1:]), (images[j], *boxes[j, 1:]))


class TestWhichRun:
    def test_images_are_not_searched_by_a_run_that_has_only_patches(self, planted):
        with pytest.raises(UsageError, match="no image has a vector to compare yet.*micdb populate texture$"):
            Frame(planted.context).similar_to(np.ones(3), by=FINE).count()

    def test_places_are_not_searched_by_a_run_that_has_none(self, tmp_path):
        context = make.database(tmp_path / "db")
        make.images(context, 1)
        run = make.add_run(context, "toy", spaces=[("toy@1nm", 2, 1.0, "cosine")])
        make.add_part(context, run, "embeddings", rows=make.embeddings([(1, "toy@1nm", [1, 0])]))
        with pytest.raises(UsageError, match="no image has patches.*micdb populate texture-patches$"):
            Frame(context).find_patches(np.ones(2), by="toy@1nm").count()

    def test_a_run_may_fill_both(self, planted):
        rows = [(image, FINE, [1, 0, index]) for index, image in enumerate(planted.images)]
        make.add_part(planted.context, planted.run, "embeddings", rows=make.embeddings(rows))
        frame = Frame(planted.context)
        assert frame.similar_to(np.array([1.0, 0, 0]), by=FINE, k=20).count() == 12
        assert frame.find_patches(np.array([1.0, 0, 0]), by=FINE, k=10).count() == 10

    def test_nothing_passed_the_filter(self, planted):
        frame = Frame(planted.context)
        empty = frame[frame.name == "nobody"].find_patches(np.ones(3), by=FINE)
        assert empty.count() == 0
        assert places.rank(planted.context, np.ones(3), np.empty(0, np.int64), by=FINE).table.schema == SCHEMA

    def test_an_image_without_patches_says_why(self, planted):
        (image,) = make.images(planted.context, 1)
        make.refuse(planted.context, planted.run, image, reason="20 x 20 pixels scanned; a window needs 64")
        with pytest.raises(UsageError, match="image 0 has no vector in grid@1nm, grid@2nm: 20 x 20 pixels"):
            Frame(planted.context).find_patches(make.uid(planted.context, image)).count()


def test_the_same_answer_whatever_the_order_of_parts(tmp_path):
    """Equal similarity goes to the smaller image and then to the earlier window."""
    answers = []
    for turn in (1, -1):
        context = make.database(tmp_path / f"db{turn}")
        images = make.images(context, 3, width=28, height=24)
        run = make.add_run(context, "grid", spaces=SPACES[:1])
        for image in images[::turn]:
            make.add_part(context, run, "patches", rows=rows_of(grid(image, np.ones((3, 3, 3)))))
        table = places.rank(context, np.ones(3), np.array(images), by=FINE, k=12, per_image=None).table
        answers.append(table.to_pylist())
    assert answers[0] == answers[1]
    assert [one["image"] for one in answers[0]] == sorted(one["image"] for one in answers[0])
    assert all(a["similarity"] >= b["similarity"] for a, b in pairwise(answers[0]))

"""What ``micdb index`` makes, measures and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from micdb.catalog import schema
from micdb.catalog.engine import sqlite_engine
from micdb.cli.app import app
from micdb.database import Database
from micdb.errors import StoreError, UsageError
from micdb.query.search import calibration, indexing, lists, matrices, nearest, similar
from micdb.query.search.tuning import Tuning
from micdb.store.indexes import TUNING, beside, read_index, write_index

planted = SimpleNamespace(**run_path(str(Path(__file__).parents[3] / "data" / "planted" / "vectors.py")))
STORED = planted.clustered(700, 8, seed=7)


@pytest.fixture
def base(tmp_path):
    context, space = planted.database(tmp_path / "db", STORED)
    return SimpleNamespace(context=context, space=space)


def opened(base):
    return matrices.open_matrix(base.context, base.space)


def test_few_vectors_are_only_decoded_and_many_get_lists(base, monkeypatch):
    (made,) = indexing.index(base.context)
    assert (made.space, made.kind, made.vectors, made.recall) == (planted.NAME, "exact", 700, 1.0)
    assert made.size == opened(base).file.path.stat().st_size
    assert lists.open_lists(opened(base)) is None
    monkeypatch.setattr(indexing, "LEAST", 700)
    (made,) = indexing.index(base.context)
    assert (made.kind, made.vectors) == ("lists", 700)
    assert made.recall >= 0.99
    assert len(lists.open_lists(opened(base)).centroids) == 37


def test_lists_hold_every_vector_once_around_its_mean(base):
    indexing.index(base.context, kind="lists")
    matrix = opened(base)
    held = lists.open_lists(matrix)
    assert sorted(matrix.images.tolist()) == list(range(1, 701))
    np.testing.assert_array_equal(matrix.take(matrix.rows(np.array([17]))), STORED[16:17])
    unit = STORED / np.linalg.norm(STORED, axis=1, keepdims=True)
    assert len(held.probes) == 70
    for number, centroid in enumerate(held.centroids):
        rows = np.arange(held.offsets[number], held.offsets[number + 1])
        members = unit[matrix.images[rows] - 1]
        learned = members[~np.isin(rows, held.probes)]
        np.testing.assert_allclose(learned.mean(axis=0), centroid, atol=1e-6)
        far = np.linalg.norm(members - centroid, axis=1)
        assert far.max() - 1e-6 <= held.scatter[number, 2] <= 1.001 * far.max() + 1e-6


def test_a_recall_wanted_is_measured_and_costs(base):
    (made,) = indexing.index(base.context, kind="lists", recall=0.5)
    low = opened(base).tuning
    assert made.recall == low["recall"] >= 0.5
    assert low["wanted"] == 0.5
    indexing.index(base.context, kind="lists", recall=0.9999)
    high = opened(base).tuning
    assert high["recall"] >= 0.9999
    assert low["caution"][-1][2] <= high["caution"][-1][2]
    assert low["recall"] <= high["recall"]


@pytest.mark.parametrize("recall", [0, 1, 1.5, -1])
def test_a_recall_that_makes_no_sense(base, recall):
    with pytest.raises(UsageError, match="it must be between 0 and 1, for example 0.99"):
        indexing.index(base.context, recall=recall)


def test_calibration_measures_again_and_leaves_the_vectors(base):
    indexing.index(base.context, kind="hnsw", recall=0.9)
    before = opened(base)
    calls = []
    (made,) = indexing.index(
        base.context, calibrate=True, recall=0.95, watch=lambda *call: calls.append(call)
    )
    after = opened(base)
    assert after.file.about["generation"] == before.file.about["generation"]
    assert after.tuning["wanted"] == 0.95
    assert (made.kind, calls) == ("hnsw", [(planted.NAME, 1, 1)])


def test_times_of_another_machine_do_not_count_here(base):
    indexing.index(base.context, kind="lists")
    path = beside(opened(base).file.path, TUNING)
    about = dict(read_index(path).about)
    about["times"] = {**about["times"], "crossover": 123_456}
    write_index(base.context.root, path, about, {})
    assert nearest.tuning(opened(base)).crossover == 123_456
    about["machine"] = {**about["machine"], "cores": 999}
    write_index(base.context.root, path, about, {})
    assert nearest.tuning(opened(base)).crossover == Tuning().crossover
    assert opened(base).tuning["caution"] == about["measured"]["caution"]
    write_index(base.context.root, path, {**about, "generation": "other"}, {})
    assert opened(base).tuning == {}


def test_by_names_an_extractor_or_a_space(base):
    for by in ("planted", planted.NAME):
        assert [one.space for one in indexing.index(base.context, by)] == [planted.NAME]
    with pytest.raises(UsageError, match="no vectors are called 'plantd'; did you mean planted"):
        indexing.index(base.context, "plantd")


def test_nothing_to_index(tmp_path):
    context = planted.make.database(tmp_path / "db")
    with pytest.raises(UsageError, match="compute them with: micdb populate texture"):
        indexing.index(context)
    planted.make.add_run(context, "planted", spaces=[(planted.NAME, 8, 1.0, "cosine")])
    with pytest.raises(UsageError, match="planted has no vectors yet; .* micdb populate planted"):
        indexing.index(context, "planted")


def test_a_folder_that_cannot_be_written_is_an_error_here(base, monkeypatch):
    def refuse(*_arguments):
        raise OSError("disk full")

    monkeypatch.setattr(matrices, "write_index", refuse)
    with pytest.raises(StoreError, match="indexes cannot be written: free space on the disk"):
        indexing.index(base.context)


def test_the_truth_of_a_trial_is_the_kth_best_other_than_itself(base):
    indexing.index(base.context, kind="lists")
    matrix = opened(base)
    for trial in calibration.trials(matrix, 700, np.arange(0, 700, 7), shares=(1.0, 0.3)):
        for query, rows, kth in list(trial.each())[:5]:
            like = planted.truth("cosine", query, STORED[matrix.images[rows] - 1])
            assert abs(np.sort(like)[-calibration.K] - kth) < 1e-5
            assert like.max() < 1 - 1e-6


def test_explain_names_the_path_that_is_taken(base, monkeypatch):
    everything = np.arange(1, 701)
    rank = lambda: similar.rank(base.context, STORED[0], everything, by=planted.NAME, k=3).path  # noqa: E731
    assert rank() == "exact over 700 vectors in planted@1nm"
    indexing.index(base.context, kind="lists")
    planted.add(base.context, base.space.run, [701, 702], STORED[:2])
    everything = np.arange(1, 704)
    monkeypatch.setattr(nearest, "tuning", lambda _matrix: Tuning(crossover=50))
    said = rank()
    assert said.startswith("lists (")
    assert " of 37 lists" in said
    assert said.endswith(
        "over 702 vectors in planted@1nm (2 newer than the index) (1 image has no vector at a common scale)"
    )
    everything = np.arange(1, 41)
    assert rank() == "exact over 40 vectors in planted@1nm"


def test_database_and_command(tmp_path):
    context, _ = planted.database(tmp_path / "plain", STORED)
    context.engine.dispose()
    root = tmp_path / "lab.micdb"
    for name in ("objects", "staging"):
        (root / name).mkdir(parents=True)
    engine = sqlite_engine(root / "catalog.sqlite")
    schema.create(engine)
    with Database(root, engine) as database:
        run = planted.make.add_run(database.context, "planted", spaces=[(planted.NAME, 8, 1.0, "cosine")])
        planted.add(database.context, run, np.arange(1, 701), STORED)
        assert [one.kind for one in database.index("planted")] == ["exact"]
    told = CliRunner().invoke(app, ["index", "planted", "--db", str(root), "--kind", "lists", "--json"])
    assert told.exit_code == 0, told.output
    (made,) = json.loads(told.stdout)
    assert (made["kind"], made["vectors"], made["space"]) == ("lists", 700, planted.NAME)
    told = CliRunner().invoke(app, ["index", "--db", str(root), "--calibrate"])
    assert told.exit_code == 0, told.output
    assert "planted@1nm: lists, 700 vectors" in told.stdout

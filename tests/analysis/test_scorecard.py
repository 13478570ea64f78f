"""Precision and recall from corrections: one answer right, one false, one missed at a time."""

from __future__ import annotations

import pandas as pd

from micdb.analysis.scorecard import judged, scorecard


def row(db, kind):
    table = scorecard(db.engine)
    found = table[table["kind"] == kind]
    return found[["right", "false", "missed"]].to_numpy().tolist()


def uids(db, kind):
    return db.defects[db.defects.kind == kind].sort_values("uid").to_pandas()["uid"].tolist()


def image(db, name):
    return db.images[db.images.name == name].to_pandas()["uid"][0]


def test_without_corrections_nothing_is_known(planted):
    assert scorecard(planted.engine).empty


def test_each_correction_counts_for_what_it_says(planted):
    vacancies, silicon = uids(planted, "vacancy"), uids(planted, "substitution")
    planted.corrections.accept(vacancies[0])
    assert row(planted, "vacancy") == [[1, 0, 0]]
    planted.corrections.reject(vacancies[1])
    assert row(planted, "vacancy") == [[1, 1, 0]]
    planted.corrections.add(image(planted, "sheet003"), "vacancy", 100, 100)
    assert row(planted, "vacancy") == [[1, 1, 1]]
    planted.corrections.relabel(silicon[0], "adatom")
    assert row(planted, "substitution") == [[0, 1, 0]]
    assert row(planted, "adatom") == [[0, 0, 1]]


def test_a_small_move_leaves_it_right_and_a_large_one_does_not(planted):
    first, second = uids(planted, "vacancy")[:2]
    at = planted.defects[planted.defects.uid == first].to_pandas().iloc[0]
    planted.corrections.move(first, at.x_px + 3, at.y_px)
    assert row(planted, "vacancy") == [[1, 0, 0]]
    planted.corrections.move(second, 190, 190)
    assert row(planted, "vacancy") == [[1, 1, 1]]


def test_undo_restores_the_scorecard(planted):
    planted.corrections.accept(uids(planted, "vacancy"))
    before = scorecard(planted.engine)
    silicon = uids(planted, "substitution")[0]
    for correct in (
        lambda: planted.corrections.reject(silicon)[0],
        lambda: planted.corrections.relabel(silicon, "vacancy")[0],
        lambda: planted.corrections.add(image(planted, "sheet001"), "vacancy", 9, 9),
    ):
        done = correct()
        assert not scorecard(planted.engine).equals(before)
        planted.corrections.undo(done.uid)
        pd.testing.assert_frame_equal(scorecard(planted.engine), before)


def test_a_newer_run_answers_for_the_same_corrections(planted):
    first, second, third = uids(planted, "vacancy")
    planted.corrections.accept([first, second])
    planted.corrections.reject(third)
    planted.populate("planted", parameters={"edition": 2})
    table = scorecard(planted.engine)
    assert len(table) == 2
    assert table[["right", "false", "missed"]].drop_duplicates().to_numpy().tolist() == [[2, 1, 0]]
    planted.corrections.accept(uids(planted, "vacancy")[0])  # the same defect, in the row of the newer run
    assert scorecard(planted.engine)["right"].tolist() == [2, 2]


def test_intervals(planted):
    planted.corrections.accept(uids(planted, "vacancy"))
    (found,) = scorecard(planted.engine).to_dict("records")
    assert (found["precision"], found["precision_high"]) == (1.0, 1.0)
    assert 0.4 < found["precision_low"] < 0.6  # three of three
    assert found["images"] == 2
    wider = scorecard(planted.engine, level=0.99)["precision_low"][0]
    assert wider < found["precision_low"]


def test_an_image_is_reviewed_when_every_answer_in_it_is_judged(planted):
    rows = planted.defects.sort_values("uid").to_pandas()
    one = rows[rows["image"] == image(planted, "sheet002")]["uid"].tolist()
    planted.corrections.accept(one[:2])
    assert judged(planted.engine).reviewed == frozenset()
    planted.corrections.reject(one[2])
    assert len(judged(planted.engine).reviewed) == 1


def test_what_nobody_judged_counts_for_nothing(planted):
    planted.corrections.accept(uids(planted, "vacancy")[0])
    (found,) = scorecard(planted.engine).to_dict("records")
    assert found["kind"] == "vacancy"
    assert (found["right"], found["false"], found["missed"]) == (1, 0, 0)

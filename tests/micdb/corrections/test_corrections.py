"""Corrections add and never overwrite; undo gives back the former answer exactly."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from micdb.catalog.engine import reading
from micdb.catalog.results import annotation, defect
from micdb.catalog.tables import event
from micdb.errors import UsageError

ASKED = ["uid", "kind", "formula", "x_px", "y_px", "x_nm", "y_nm", "score"]


def answer(db):
    return db.defects.sort_values("uid").to_pandas()[[*ASKED, "state"]]


def counts(db):
    im = db.images
    vacancies = im.defects[im.defects.kind == "vacancy"]
    frame = im.assign(n=im.defects.count(), v=vacancies.count()).sort_values("name")
    return frame.to_pandas()[["n", "v"]].to_numpy().tolist()


def uid_of(db, kind, number=0):
    return db.defects[db.defects.kind == kind].sort_values("uid").to_pandas()["uid"][number]


def rows(db, table):
    with reading(db.engine) as connection:
        return [dict(row._mapping) for row in connection.execute(sa.select(table).order_by(sa.text("1")))]


def test_accepting_marks_and_changes_no_number(db):
    before, counted = answer(db), counts(db)
    (done,) = db.corrections.accept(uid_of(db, "vacancy"), by="Ada")
    assert (done.verb, done.defect) == ("accept", done.target)
    after = answer(db)
    assert after[ASKED].equals(before[ASKED])
    assert after[after.uid == done.target].state.tolist() == ["accepted"]
    assert counts(db) == counted
    assert db.corrections.history()[["verb", "by", "undone"]].to_numpy().tolist() == [
        ["accept", "Ada", False]
    ]


def test_what_is_rejected_is_not_seen_and_not_lost(db):
    (done,) = db.corrections.reject(uid_of(db, "vacancy"))
    assert done.defect is None
    assert counts(db) == [[2, 0], [1, 0]]
    kept = [row for row in rows(db, defect) if row["uid"] == done.target]
    assert [row["state"] for row in kept] == ["rejected"]


def test_relabelling_adds_a_row_and_keeps_what_was_detected(db):
    before = {row["uid"]: row for row in rows(db, defect)}
    target = uid_of(db, "substitution")
    (done,) = db.corrections.relabel(target, "adatom")
    after = {row["uid"]: row for row in rows(db, defect)}
    assert after[target] == {**before[target], "state": "replaced"}
    new = after[done.defect]
    assert (new["kind"], new["state"], new["score"]) == ("adatom", "accepted", None)
    assert new["replaces_pk"] == before[target]["pk"]
    same = ("x_px", "y_nm", "structure", "descriptor", "run_pk", "formula", "key")
    assert all(new[name] == before[target][name] for name in same)
    assert counts(db) == [[3, 1], [1, 0]]


def test_moving_takes_the_box_along_and_leaves_the_atoms(db):
    target = uid_of(db, "substitution")
    old = {row["uid"]: row for row in rows(db, defect)}[target]
    done = db.corrections.move(target, old["x_px"] + 10, old["y_px"] - 5)
    new = {row["uid"]: row for row in rows(db, defect)}[done.defect]
    assert new["x_nm"] == pytest.approx(old["x_nm"] + 0.2)
    assert new["y_nm"] == pytest.approx(old["y_nm"] - 0.1)
    assert new["box"] == pytest.approx([old["box"][0] + 10, old["box"][1] - 5, *old["box"][2:]])
    for was, now in zip(old["structure"], new["structure"], strict=True):
        assert now["x_nm"] + new["x_nm"] == pytest.approx(was["x_nm"] + old["x_nm"])
        assert now["y_nm"] + new["y_nm"] == pytest.approx(was["y_nm"] + old["y_nm"])


def test_what_was_missed_is_added_to_the_run_that_missed_it(db):
    image = db.images.sort_values("name").to_pandas()["uid"][1]
    done = db.corrections.add(image, "vacancy", 20.0, 30.0)
    assert counts(db) == [[3, 1], [2, 1]]
    new = {row["uid"]: row for row in rows(db, defect)}[done.defect]
    assert (new["state"], new["x_nm"], new["y_nm"]) == ("added", pytest.approx(0.4), pytest.approx(0.6))
    assert new["run_pk"] == rows(db, defect)[0]["run_pk"]


@pytest.mark.parametrize("verb", ["accept", "reject", "relabel", "move", "add"])
def test_undo_restores_the_former_answer(db, verb):
    before, counted = answer(db), counts(db)
    target, image = uid_of(db, "substitution", 1), db.images.to_pandas()["uid"][0]
    done = {
        "accept": lambda: db.corrections.accept([target])[0],
        "reject": lambda: db.corrections.reject([target])[0],
        "relabel": lambda: db.corrections.relabel(target, "ring")[0],
        "move": lambda: db.corrections.move(target, 3, 4),
        "add": lambda: db.corrections.add(image, "ring", 3, 4),
    }[verb]()
    assert not answer(db).equals(before)
    undone = db.corrections.undo(done.uid)
    assert answer(db).equals(before)
    assert counts(db) == counted
    assert undone.defect == (None if verb == "add" else target)
    assert db.corrections.history()["undone"].tolist() == [True, False]
    assert len(rows(db, annotation)) == 2
    with pytest.raises(UsageError, match=rf"{verb} {done.uid} is undone already"):
        db.corrections.undo(done.uid)
    with pytest.raises(UsageError, match="is an undo itself: correct the defect again instead"):
        db.corrections.undo(undone.uid)


def test_corrections_are_undone_from_the_last(db):
    before = answer(db)
    first = db.corrections.relabel(uid_of(db, "vacancy"), "divacancy")[0]
    second = db.corrections.move(first.defect, 5, 5)
    third = db.corrections.reject(second.defect)[0]
    with pytest.raises(UsageError, match=rf"move {second.uid} came after it: undo that first"):
        db.corrections.undo(first.uid)
    chain = db.corrections.history(second.defect)
    assert chain["verb"].tolist() == ["relabel", "move", "reject"]
    for one in (third, second, first):
        db.corrections.undo(one.uid)
    assert answer(db).equals(before)


def test_a_second_opinion_supersedes_the_first(db):
    target = uid_of(db, "vacancy")
    first = db.corrections.accept(target, by="Ada")[0]
    second = db.corrections.reject(target, by="Bob")[0]
    links = {row["uid"]: row["supersedes_uid"] for row in rows(db, annotation)}
    assert links == {first.uid: None, second.uid: first.uid}
    db.corrections.undo(second.uid)
    assert answer(db).set_index("uid").state[target] == "accepted"


def test_several_are_corrected_or_none(db):
    before = answer(db)
    good = uid_of(db, "vacancy")
    with pytest.raises(UsageError, match="there is no defect 'nowhere': db.defects has the uids"):
        db.corrections.reject([good, "nowhere"])
    assert answer(db).equals(before)
    assert rows(db, annotation) == []
    assert len(db.corrections.accept(db.defects.to_pandas()["uid"])) == 4


def test_every_correction_is_in_the_audit_log(db):
    done = db.corrections.reject(uid_of(db, "vacancy"))[0]
    db.corrections.undo(done.uid)
    last = rows(db, event)[-2:]
    assert [(one["verb"], one["entity"], one["uid"]) for one in last] == [
        ("reject", "defect", done.target),
        ("undo", "defect", done.target),
    ]


def test_what_does_not_stand_is_not_corrected(db):
    gone, other = uid_of(db, "vacancy"), uid_of(db, "substitution")
    db.corrections.reject(gone)
    new = db.corrections.relabel(other, "ring")[0]
    with pytest.raises(UsageError, match=r"was rejected: correct the row that stands, or undo"):
        db.corrections.accept(gone)
    with pytest.raises(UsageError, match=r"was replaced by a correction: correct the row that stands"):
        db.corrections.accept(other)
    db.corrections.undo(new.uid)
    with pytest.raises(UsageError, match=r"was undone"):
        db.corrections.accept(new.defect)


def test_places_and_words_that_are_none_are_refused(db):
    target, image = uid_of(db, "vacancy"), db.images.sort_values("name").to_pandas()["uid"][0]
    with pytest.raises(UsageError, match=r"\(200, 3\) is outside sheet000, which has 200 x 200 pixels"):
        db.corrections.move(target, 200, 3)
    with pytest.raises(UsageError, match="the kind of a defect is empty"):
        db.corrections.relabel(target, " ")
    with pytest.raises(UsageError, match="no image has the uid 'x'"):
        db.corrections.add("x", "vacancy", 1, 1)
    with pytest.raises(UsageError, match="frame 1 is none of the 1 of sheet000, from 0"):
        db.corrections.add(image, "vacancy", 1, 1, frame=1)
    with pytest.raises(UsageError, match=r"plante has not looked for defects in sheet000; did you mean"):
        db.corrections.add(image, "vacancy", 1, 1, detector="plante")
    with pytest.raises(UsageError, match="there is no correction 'x'"):
        db.corrections.undo("x")


def test_the_detector_is_asked_for_where_none_has_looked(db, sheets):
    sheets([{}], first=7)
    image = db.images[db.images.name == "sheet007"].to_pandas()["uid"][0]
    with pytest.raises(UsageError, match="missed a defect in sheet007.* none has looked at it"):
        db.corrections.add(image, "vacancy", 1, 1)

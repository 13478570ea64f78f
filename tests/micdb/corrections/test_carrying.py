"""What people said of an older run is said again of a newer one, by place, once."""

from __future__ import annotations

import copy

import pytest

from micdb.errors import UsageError


@pytest.fixture
def answers(defects, monkeypatch):
    """Return the answers of the detector by image, to be changed before it runs again."""
    changed = copy.deepcopy(defects.PlantedDetector.truth)
    monkeypatch.setattr(defects.PlantedDetector, "truth", changed)
    return [row for rows in changed.values() for row in rows]


def listed(db, **wanted):
    frame = db.defects.sort_values(["kind", "x_px"])
    rows = frame.to_pandas()
    return rows[(rows[list(wanted)] == wanted).all(axis=1)] if wanted else rows


def at(rows, place):
    """Return the row nearest to a place."""
    return rows.loc[((rows.x_px - place[0]) ** 2 + (rows.y_px - place[1]) ** 2).idxmin()]


def again(db):
    db.populate("planted", parameters={"edition": 2})


def test_each_opinion_finds_its_place(db):
    silicon = listed(db, kind="substitution")
    places = silicon[["x_px", "y_px"]].to_numpy()
    image = db.images.sort_values("name").to_pandas()["uid"][1]
    db.corrections.accept(silicon.uid.iloc[0])
    db.corrections.reject(silicon.uid.iloc[1])
    db.corrections.relabel(silicon.uid.iloc[2], "adatom")
    db.corrections.add(image, "ring", 20, 30)
    again(db)
    assert set(listed(db)["state"]) == {"detected"}
    done = db.corrections.carry(by="Ada")
    assert sorted(one.verb for one in done) == ["accept", "add", "reject", "relabel"]
    new = listed(db)
    assert at(new, places[0])[["kind", "state"]].tolist() == ["substitution", "accepted"]
    assert at(new, places[2])[["kind", "state"]].tolist() == ["adatom", "accepted"]
    assert at(new, (20, 30))[["kind", "state", "image"]].tolist() == ["ring", "added", image]
    assert len(new[new.kind == "substitution"]) == 1
    assert new[new.kind == "vacancy"]["state"].tolist() == ["detected"]
    assert db.corrections.history()["by"].tolist()[-4:] == ["Ada"] * 4


def test_a_second_call_does_nothing(db):
    db.corrections.reject(listed(db).uid.iloc[0])
    again(db)
    assert len(db.corrections.carry()) == 1
    assert db.corrections.carry() == []


def test_what_the_newer_run_misses_is_added_with_its_atoms(db, answers):
    silicon = listed(db, kind="substitution").iloc[0]
    db.corrections.accept(silicon.uid)
    for row in answers:
        if row["kind"] == "substitution":
            row["x_px"] += 60  # elsewhere
    again(db)
    (done,) = db.corrections.carry()
    assert done.verb == "add"
    new = listed(db, state="added").iloc[0]
    assert (new.x_px, new.y_px, new.formula) == (silicon.x_px, silicon.y_px, silicon.formula)
    db.corrections.undo(done.uid)
    assert listed(db, state="added").empty
    assert db.corrections.carry() == []  # who took it back is not asked again


def test_a_kind_that_changed_is_called_what_people_called_it(db, answers):
    silicon = listed(db, kind="substitution").iloc[0]
    db.corrections.accept(silicon.uid)
    for row in answers:
        if row["kind"] == "substitution":
            row["kind"] = "adatom"
    again(db)
    (done,) = db.corrections.carry()
    assert (done.verb, done.target == done.defect) == ("relabel", False)
    assert listed(db, kind="substitution").state.tolist() == ["accepted"]


def test_what_was_moved_away_is_false_where_it_was(db):
    silicon = listed(db, kind="substitution").iloc[0]
    db.corrections.move(silicon.uid, 190, 190)
    again(db)
    assert sorted(one.verb for one in db.corrections.carry()) == ["add", "reject"]
    assert at(listed(db), (190, 190)).state == "added"
    assert len(listed(db, kind="substitution")) == 3


def test_what_was_judged_in_the_newer_run_stays(db):
    places = listed(db, kind="substitution")[["x_px", "y_px"]].to_numpy()
    for uid, correct in zip(
        listed(db, kind="substitution").uid,
        (db.corrections.accept, db.corrections.reject, db.corrections.accept),
        strict=True,
    ):
        correct(uid)
    again(db)
    new = listed(db, kind="substitution")
    db.corrections.reject(new.uid.iloc[0])
    db.corrections.relabel(new.uid.iloc[1], "ring")
    assert [one.verb for one in db.corrections.carry()] == ["accept"]
    kept = listed(db)
    assert at(kept, places[1]).kind == "ring"
    assert kept[kept.kind == "substitution"].state.tolist() == ["accepted"]


def test_the_later_of_two_opinions_counts(db):
    db.corrections.accept(listed(db, kind="vacancy").uid.iloc[0])
    again(db)
    db.corrections.reject(listed(db, kind="vacancy").uid.iloc[0])
    db.populate("planted", parameters={"edition": 3})
    assert [one.verb for one in db.corrections.carry("planted")] == ["reject"]


def test_a_detector_that_never_ran_is_refused(db):
    with pytest.raises(UsageError, match="plante has no run here; did you mean planted"):
        db.corrections.carry("plante")

"""The library on simulated sheets whose defects are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from micdb.analysis.library.found import defects
from micdb.errors import UsageError

# conftest plants five vacancies... of Si1C3 four, of the vacancy three, of Si1C4 one.


def named(db):
    table = db.library.motifs()
    return dict(zip(table["name"], table["n"], strict=True))


def motif_of(db, uid):
    return db.defects[db.defects.uid == uid].to_pandas()["motif"][0]


def test_equal_graphs_make_a_motif_named_by_its_formula(planted):
    built = planted.library.build(rare=1)
    assert named(planted) == {"Si1C3": 4, "V1": 3, "Si1C4": 1}
    assert (built.assigned, built.rest) == (8, 0)
    assert str(built).startswith("8 defects in motifs, 0 in none; 3 new: Si1C3, V1, Si1C4")
    entry = planted.library["Si1C3"]
    assert entry.definition == {"by": "key", "kind": "substitution", "key": "Si1C3-edbedd31"}
    assert (entry.status, entry.kind, entry.n_images) == ("proposed", "substitution", 3)
    assert repr(entry) == "<motif 'Si1C3' (proposed): 4 defects in 3 images>"


def test_building_again_changes_nothing_and_takes_in_what_is_new(planted):
    planted.library.build()
    before = planted.library.motifs()
    again = planted.library.build()
    assert (again.proposed, again.assigned) == ((), 7)
    pd.testing.assert_frame_equal(planted.library.motifs(), before)
    planted.populate("planted", parameters={"edition": 2})
    assert named(planted) == {"Si1C3": 0, "V1": 0}  # of a run in which nothing was assigned yet
    assert planted.library.build().proposed == ()
    assert named(planted) == {"Si1C3": 4, "V1": 3}


def test_what_is_rare_is_not_proposed(planted):
    built = planted.library.build()
    assert (built.assigned, built.rest) == (7, 1)
    assert "Si1C4" not in planted.library.names()


def test_only_the_images_of_a_query(planted):
    assert planted.library.build('name == "sheet002"').proposed == ("V1",)
    planted.library.build()
    some = planted.library.within('name == "sheet002"')
    assert dict(zip(some.motifs()["name"], some.motifs()["n"], strict=True)) == {"V1": 2, "Si1C3": 1}
    assert some["V1"].n_images == 1
    assert named(planted) == {"Si1C3": 4, "V1": 3}


def test_defects_know_their_motif_in_queries(planted):
    planted.library.build()
    im = planted.images
    silicon = im.defects[im.defects.motif == "Si1C3"]
    counts = im.assign(n=silicon.count()).sort_values("name").to_pandas()["n"]
    assert counts.tolist() == [2, 1, 1, 0]


def test_a_motif_from_examples(planted):
    silicon = planted.defects[planted.defects.formula == "Si1C3"].to_pandas()["uid"].tolist()
    entry = planted.library.add("3-fold silicon", silicon[:2])
    assert entry.status == "accepted"
    assert sorted(entry.members["uid"]) == sorted(silicon)
    planted.library.build(rare=1)
    assert named(planted) == {"3-fold silicon": 4, "V1": 3, "Si1C4": 1}


def test_a_motif_outlives_its_examples(planted):
    silicon = planted.defects[planted.defects.formula == "Si1C3"].to_pandas()["uid"].tolist()
    planted.library.add("3-fold silicon", silicon[:2])
    planted.corrections.reject(silicon[:2])
    planted.library.build()
    assert sorted(planted.library["3-fold silicon"].members["uid"]) == sorted(silicon[2:])
    planted.populate("planted", parameters={"edition": 2})
    planted.library.build()
    assert len(planted.library["3-fold silicon"].members) == 4


def test_examples_may_be_a_frame(planted):
    entry = planted.library.add("hole", planted.defects[planted.defects.kind == "vacancy"])
    assert len(entry.members) == 3


def test_examples_that_are_none_are_refused(planted):
    uids = planted.defects.sort_values("uid").to_pandas()["uid"].tolist()
    add = planted.library.add
    with pytest.raises(UsageError, match="'nowhere' is no defect that stands in a current run"):
        add("x", ["nowhere", uids[0]])
    with pytest.raises(UsageError, match="1 examples by planted@1: expected two or more by one detector"):
        add("x", uids[:1])
    with pytest.raises(UsageError, match="least is 1.5; expected a probability above 0, up to 1"):
        add("x", uids[:2], least=1.5)
    image = planted.images.to_pandas()["uid"][0]
    added = planted.corrections.add(image, "vacancy", 3, 3).defect
    with pytest.raises(UsageError, match="has no descriptor: a person added it"):
        add("x", [uids[0], added])
    with pytest.raises(UsageError, match="the name of a motif is empty"):
        add(" ", uids[:2])
    assert planted.library.names() == []


def test_merging(planted):
    planted.library.build(rare=1)
    whole = planted.library.merge(["Si1C3", "Si1C4"], into="silicon")
    assert (len(whole.members), whole.status) == (5, "accepted")
    assert planted.library.names() == ["V1", "silicon"]
    assert planted.library.build(rare=1).proposed == ()
    assert named(planted) == {"silicon": 5, "V1": 3}
    planted.library.merge(["V1"], into="silicon")
    assert named(planted) == {"silicon": 8}
    assert len(planted.library["silicon"].definition["of"]) == 3
    with pytest.raises(UsageError, match="merging takes two motifs or more, not silicon"):
        planted.library.merge(["silicon"], into="silicon")


def test_splitting_by_graph_gives_back_what_was_merged(planted):
    planted.library.build(rare=1)
    planted.library.merge(["Si1C3", "Si1C4", "V1"], into="all")
    parts = planted.library.split("all", rare=1)
    assert {part.name: len(part.members) for part in parts} == {"Si1C3": 4, "V1": 3, "Si1C4": 1}
    assert "all" not in planted.library.names()
    with pytest.raises(UsageError, match="V1 does not come apart by key: of its 3 defects there are not two"):
        planted.library.split("V1")
    with pytest.raises(UsageError, match="by is 'colour'; expected 'key' or 'look'"):
        planted.library.split("V1", by="colour")


def test_names_and_status(planted):
    planted.library.build(rare=1)
    assert planted.library.rename("V1", "vacancy").name == "vacancy"
    assert planted.library.accept("vacancy").status == "accepted"
    assert planted.library.build(rare=1).proposed == ()  # renamed, and known still
    with pytest.raises(UsageError, match="there is a motif 'Si1C3' already"):
        planted.library.rename("vacancy", "Si1C3")
    with pytest.raises(UsageError, match=r"there is no motif 'V1'"):
        planted.library["V1"]


def test_what_is_retired_is_not_proposed_again(planted):
    planted.library.build(rare=1)
    planted.library.retire("Si1C4")
    built = planted.library.build(rare=1)
    assert (built.proposed, built.rest) == ((), 1)
    assert planted.library.names() == ["Si1C3", "V1"]
    assert planted.defects.count() == 8


def test_a_relabelled_defect_leaves_its_motif_and_undo_brings_it_back(planted):
    planted.library.build(rare=1)
    before = planted.library.motifs()
    target = planted.library["V1"].members["uid"].iloc[0]
    done = planted.corrections.relabel(target, "adatom")[0]
    assert named(planted)["V1"] == 2
    assert pd.isna(motif_of(planted, done.defect))
    planted.corrections.undo(done.uid)
    pd.testing.assert_frame_equal(planted.library.motifs(), before)


def test_a_correction_changes_count_and_density_of_its_motif_alone(planted):
    planted.library.build(rare=1)
    before = planted.library.motifs().set_index("name")
    target = planted.library["V1"].members["uid"].iloc[0]
    done = planted.corrections.reject(target)[0]
    after = planted.library.motifs().set_index("name")
    assert after.loc["V1", "n"] == 2
    assert after.loc["V1", "density"] < before.loc["V1", "density"]
    assert after.drop("V1").equals(before.drop("V1"))
    planted.corrections.undo(done.uid)
    assert planted.library.motifs().set_index("name").equals(before)


def test_densities_are_per_area_and_corrected(planted):
    planted.library.build(rare=1)
    area = 4 * 16.0  # [nm**2] four sheets
    row = planted.library.motifs().set_index("name").loc["Si1C3"]
    assert row["density"] == pytest.approx(4.2 / 0.95 / area, rel=0.05)  # the detector finds 0.95 of them
    assert row["density_low"] < 4 / area < row["density_high"]
    assert row["corrected"]
    assert (row["labs"], row["detectors"]) == ("Delft", "planted@1")
    assert planted.library.motifs().attrs["units"]["density"] == "1/nm**2"


def test_in_reviewed_images_the_count_is_the_truth(planted):
    planted.library.build(rare=1)
    planted.corrections.accept(planted.defects.to_pandas()["uid"])
    half = planted.library.within('name == "sheet000"')["Si1C3"].density()
    assert half.value == pytest.approx(2.2 / 16, rel=0.03)  # two of them, median of the posterior


def test_the_mean_look(planted):
    planted.library.build(rare=1)
    found = planted.library["Si1C3"].average
    sites = found.positions
    silicon = sites[sites["species"] == "Si"]
    assert len(silicon) == 1
    near = np.hypot(sites["x_nm"] - silicon["x_nm"].iloc[0], sites["y_nm"] - silicon["y_nm"].iloc[0])
    bonds = np.sort(near)[1:4]
    assert bonds == pytest.approx([0.1574] * 3, abs=0.003)  # silicon stands out of the sheet: seen from above
    assert sites["sd_nm"].max() < 0.012
    middle = found.picture.shape[0] // 2
    assert found.picture[middle, middle] == np.nanmax(
        found.picture
    )  # silicon is the brightest, at the centre
    assert found.pixel_size == pytest.approx(0.02, rel=0.05)
    assert (found.misfit.diff().dropna() >= 0).all()


def test_exemplars_come_from_different_images_first(planted):
    planted.library.build(rare=1)
    shown = planted.library["Si1C3"].exemplars(3)
    assert shown["image"].nunique() == 3
    assert len(planted.library["Si1C3"].exemplars(8)) == 4


def test_an_empty_library(planted):
    assert planted.library.motifs().empty
    assert repr(planted.library) == "<defect library: empty>"
    with pytest.raises(
        UsageError, match=r"there is no motif 'V1'; the library is empty: call db.library.build"
    ):
        planted.library["V1"]


def test_every_change_is_in_the_audit_log(planted):
    planted.library.build(rare=1)
    planted.library.rename("V1", "vacancy")
    with planted.engine.connect() as connection:
        told = (
            connection.exec_driver_sql("SELECT verb FROM event WHERE entity = 'defect_motif'").scalars().all()
        )
    assert told == ["add", "add", "add", "change"]


@pytest.mark.parametrize("change", ["merge", "split", "retire"])
def test_defects_of_older_runs_follow_their_motif(planted, change):
    """They are seen with `using`, and may not refer to a motif that is gone."""
    library = planted.library
    library.build(rare=1)
    library.merge(["Si1C3", "Si1C4"], into="silicon")
    planted.populate("planted", parameters={"edition": 2})
    library.build(rare=1)
    if change == "merge":
        library.merge(["silicon", "V1"], into="all")
    elif change == "split":
        library.split("silicon", rare=1)
    else:
        library.retire("silicon")
    expected = {"merge": {"all": 16}, "split": {"Si1C3": 8, "Si1C4": 2, "V1": 6}, "retire": {"V1": 6}}
    rows = defects(planted.engine, every_run=True)
    with planted.engine.connect() as connection:
        known = dict(connection.exec_driver_sql("SELECT pk, name FROM defect_motif").all())
    assert rows["motif"].dropna().map(known).value_counts().to_dict() == expected[change]

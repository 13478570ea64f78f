"""Two laboratories have the same thing, and not quite: who is believed, and what becomes of the other."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import sqlalchemy as sa

import micdb
from micdb.catalog import tables as t
from micdb.catalog.engine import writing
from micdb.catalog.rows import add
from micdb.errors import UsageError
from micdb.exchange.terms import set_terms
from micdb.provenance import uuid7
from micdb.testing.dump import dump


def change(db, table, **values):
    """Write columns of the first row of a table; return its uid."""
    with writing(db.engine) as connection:
        first = connection.execute(sa.select(table).order_by(table.c.uid).limit(1)).one()
        connection.execute(table.update().where(table.c.pk == first.pk).values(**values))
    return first.uid


def test_of_two_versions_ours_stays_and_theirs_is_kept(home, met, tmp_path):
    uid = change(home, t.micrograph, detector="HAADF")
    change(met, t.micrograph, detector="BF")
    home.export(home.images, tmp_path / "b", as_="bundle", level="metadata")
    (found,) = met.import_bundle(tmp_path / "b").conflicts
    assert (found.entity, found.row, found.columns, found.kept) == (
        "micrograph", uid, {"detector": ("BF", "HAADF")}, "ours",
    )  # fmt: skip
    listed = met.conflicts()
    assert listed[["row", "source", "column", "ours", "theirs", "kept"]].to_numpy().tolist() == [
        [uid, "Lab A", "detector", "BF", "HAADF", "ours"]
    ]
    assert met.images[met.images.uid == uid].to_pandas()["detector"].tolist() == ["BF"]
    before = dump(met.root)
    again = met.import_bundle(tmp_path / "b")
    assert [one.known for one in again.conflicts] == [True]
    assert dump(met.root) == before
    with micdb.catalog.engine.reading(met.engine) as connection:
        revision = connection.scalar(sa.select(t.conflict.c.revision))
    assert (revision["detector"], revision["uid"]) == ("HAADF", uid)  # the whole row of theirs is there
    assert not [name for name in revision if name.endswith("_pk")]


@pytest.mark.parametrize(
    ("policy", "newer", "stays"),
    [("theirs", "met", "HAADF"), ("newest", "home", "HAADF"), ("newest", "met", "BF")],
)
def test_policies(home, met, tmp_path, *, policy, newer, stays):
    changes = {"home": (home, "HAADF"), "met": (met, "BF")}
    for side in sorted(changes, key=lambda side: side == newer):
        db, detector = changes[side]
        uid = change(db, t.micrograph, detector=detector)
    home.export(home.images, tmp_path / "b", as_="bundle", level="metadata")
    met.import_bundle(tmp_path / "b", policy=policy)
    assert met.images[met.images.uid == uid].to_pandas()["detector"].tolist() == [stays]
    assert met.conflicts()[["ours", "theirs"]].to_numpy().tolist() == [["BF", "HAADF"]]
    if policy == "theirs":
        assert not met.import_bundle(tmp_path / "b", policy=policy).changed


def test_the_policy_fail_imports_nothing(home, away, bundle, tmp_path):
    home.export(home.images.head(1), tmp_path / "one", as_="bundle", level="metadata")
    away.import_bundle(tmp_path / "one")
    change(away, t.micrograph, detector="BF")
    change(home, t.micrograph, detector="HAADF")
    home.export(home.images, tmp_path / "b", as_="bundle", level="derived")
    before = dump(away.root)
    with pytest.raises(UsageError, match="detector is 'HAADF' there and 'BF' here; nothing was imported"):
        away.import_bundle(tmp_path / "b", policy="fail")
    assert dump(away.root) == before
    with pytest.raises(UsageError, match="no policy 'mine' for conflicts"):
        away.import_bundle(tmp_path / "b", policy="mine")


# ---------------------------------------------------------------------- names and measurements


def measured(db, name, value, unit, *, sd=None):
    """Add a number to a sample, as a sheet does."""
    with writing(db.engine) as connection:
        d, s = t.property_def.c, t.sample.c
        held = connection.scalar(sa.select(d.pk).where(d.name == name))
        held = held or add(connection, t.property_def, {"name": name, "kind": "number", "unit": unit})
        owner = connection.scalar(sa.select(s.pk).where(s.name == "s0"))
        add(connection, t.property_value, {
            "property_def_pk": held, "level": "sample", "sample_pk": owner, "value": value, "sd": sd,
            "origin": "user", "source_name": "test", "natural_key": uuid7(), "created_at": "2026",
        })  # fmt: skip


def values(db, name):
    found = db.properties[db.properties.property == name].to_pandas()
    return sorted(found["value"].tolist())


def test_what_is_known_there_comes_and_values_of_both_stay(home, met, tmp_path):
    uid = change(home, t.micrograph, detector="HAADF")  # unknown here
    set_terms(home.engine, home.images.pks().tolist(), {"licence": "CC-BY-4.0"})
    for db, numbers in ((home, (3.0, 100.0, "degC")), (met, (4.0, 300.0, "K"))):
        measured(db, "toughness", numbers[0], "MPa")
        measured(db, "melting_point", numbers[1], numbers[2], sd=2.0)
    home.export(home.images, tmp_path / "b", as_="bundle", level="metadata")
    done = met.import_bundle(tmp_path / "b")
    assert (done.filled, done.conflicts) == ({"micrograph": 8}, [])
    assert met.images[met.images.uid == uid].to_pandas()["detector"].tolist() == ["HAADF"]
    assert set(met.images.to_pandas()["licence"]) == {"CC-BY-4.0"}  # terms travel
    assert values(met, "toughness") == [3.0, 4.0]  # two measurements
    assert values(met, "melting_point") == [300.0, 373.15]  # in our unit
    found = met.properties[met.properties.property == "melting_point"].to_pandas()
    assert found["sd"].tolist() == [2.0, 2.0]  # a difference: the offset does not enter
    assert not met.import_bundle(tmp_path / "b").changed
    assert met.fsck(deep=True).clean


def test_a_name_that_measures_another_thing_is_refused_until_it_is_mapped(home, met, tmp_path):
    measured(home, "size", 3.0, "nm")
    measured(met, "size", 4.0, "kg")
    home.export(home.images, tmp_path / "b", as_="bundle", level="metadata")
    with pytest.raises(UsageError, match="the property 'size' is in nm there and in kg here, .* names="):
        met.import_bundle(tmp_path / "b")
    done = met.import_bundle(tmp_path / "b", names={"size": "grain_size"})
    told = [(one.entity, one.theirs, one.ours, one.how) for one in done.names]
    assert told == [("property_def", "size", "grain_size", "as asked")]
    assert (values(met, "size"), values(met, "grain_size")) == ([4.0], [3.0])


def test_a_mapped_name_is_remembered(home, away, bundle, tmp_path):
    measured(home, "HV", 2.0, "GPa")
    home.export(home.images, tmp_path / "b", as_="bundle", level="metadata")
    measured_before = {"name": "hardness_vickers", "kind": "number", "unit": "GPa"}
    with writing(away.engine) as connection:
        add(connection, t.property_def, measured_before)
    away.import_bundle(tmp_path / "b", names={"HV": "hardness_vickers"})
    assert "HV" not in away.property_names()
    measured(home, "HV", 3.0, "GPa")
    home.export(home.images, tmp_path / "c", as_="bundle", level="metadata")
    done = away.import_bundle(tmp_path / "c")  # not said again
    assert [(one.theirs, one.ours, one.how) for one in done.names] == [("HV", "hardness_vickers", "alias")]
    assert values(away, "hardness_vickers") == [2.0, 3.0]


def test_a_material_is_known_by_its_aliases(away, bundle):
    with writing(away.engine) as connection:
        row = {"name": "tungsten disulfide", "formula": "WS2", "aliases": ["WS2", "WS₂"]}
        add(connection, t.material, row)
    done = away.import_bundle(bundle)
    assert ("material", "WS2", "tungsten disulfide", "alias") in [
        (one.entity, one.theirs, one.ours, one.how) for one in done.names
    ]
    assert set(away.images.to_pandas()["material"]) == {"tungsten disulfide"}


def test_samples_of_one_name_are_one_only_in_one_laboratory(away, bundle):
    with writing(away.engine) as connection:
        other = add(connection, t.lab, {"name": "Lab B"})
        add(connection, t.sample, {"name": "s0", "lab_pk": other})
        add(connection, t.sample, {"name": "s1"})
    away.import_bundle(bundle)
    assert away.samples.count() == 4


# ---------------------------------------------------------------------- the same images twice


def test_files_that_both_ingested_are_one_image(away, bundle, scans):
    away.ingest(scans, sheet=scans / "samples.csv", map=scans / "map.toml", lab="Lab A")
    uids = away.images.to_pandas()["uid"].tolist()
    away.populate("spots")
    done = away.import_bundle(bundle)
    assert (done.added["micrograph"], done.files, done.conflicts) == (0, 0, [])
    assert away.images.to_pandas()["uid"].tolist() == uids
    # spots had answered here already; fake had not
    assert done.added["run_item"] == 8
    assert away.populate("fake").added == 0
    assert away.atoms.count() == 24
    # what Ann said of theirs is said of ours, which are the same by their place
    assert away.corrections.history()["by"].tolist() == ["Ann", "Ann"]
    assert sorted(away.defects.to_pandas()["kind"]) == ["loop"] + ["vacancy"] * 14
    assert away.annotations.drawings()["image"].tolist() == uids[:1]
    assert not away.import_bundle(bundle).changed
    assert away.fsck(deep=True).clean


def test_values_of_another_answer_are_not_doubled(home, away, scans, tmp_path):
    """Another machine answered with other places: its rows are left out, ours stay."""
    with writing(home.engine) as connection:
        d = micdb.catalog.results.defect
        connection.execute(d.update().values(x_px=d.c.x_px + 0.25))
    home.export(home.images, tmp_path / "b", as_="bundle", level="derived")
    away.ingest(scans)
    away.populate("spots")
    before = away.defects.count()
    done = away.import_bundle(tmp_path / "b")
    assert away.defects.count() == before
    assert any("defects of a run that answered here already" in one for one in done.left_out)


# ---------------------------------------------------------------------- corrections and drawings


def found(db):
    return db.defects.sort_values("uid").to_pandas()["uid"].tolist()


def test_what_only_one_side_said_wins(home, met, tmp_path):
    first, second, *_ = found(home)
    home.corrections.relabel(first, "void", by="Ann")
    home.corrections.add(
        home.images.to_pandas()["uid"][0], "loop", x_px=3.0, y_px=4.0, detector="spots", by="Ann"
    )
    met.corrections.reject(second, by="Bob")
    home.export(home.images, tmp_path / "b", as_="bundle", level="derived")
    done = met.import_bundle(tmp_path / "b")
    assert done.conflicts == []
    assert set(met.corrections.history()["by"]) == {"Ann", "Bob"}
    assert second not in found(met)
    kinds = met.defects.to_pandas()["kind"].value_counts()
    assert (kinds["void"], kinds["loop"]) == (1, 2)
    met.export(met.images, tmp_path / "back", as_="bundle", level="derived")
    assert home.import_bundle(tmp_path / "back").conflicts == []
    assert found(home) == found(met)
    assert home.corrections.history()["uid"].sort_values().tolist() == (
        met.corrections.history()["uid"].sort_values().tolist()
    )


@pytest.mark.parametrize(("policy", "kind"), [("ours", "crack"), ("theirs", "void")])
def test_what_both_said_differently_is_a_conflict(home, met, tmp_path, *, policy, kind):
    first = found(home)[0]
    home.corrections.relabel(first, "void", by="Ann")
    met.corrections.relabel(first, "crack", by="Bob")  # later
    home.export(home.images, tmp_path / "b", as_="bundle", level="derived")
    (one,) = met.import_bundle(tmp_path / "b", policy=policy).conflicts
    assert (one.entity, one.row) == ("defect", first)
    kinds = met.defects.to_pandas()["kind"].tolist()
    assert kinds.count(kind) == 1 and len(kinds) == 15
    assert kinds.count({"crack": "void", "void": "crack"}[kind]) == 0
    before = dump(met.root)
    met.import_bundle(tmp_path / "b", policy=policy)
    assert dump(met.root) == before


def test_drawings_of_both_are_a_conflict_and_later_ones_of_one_side_stand(home, met, tmp_path):
    image, other = home.images.to_pandas()["uid"][:2]
    ones, twos = np.ones((16, 20), int), np.full((16, 20), 2)
    names = ("a", "b", "c")
    home.annotations.draw(image, ones, classes=names, by="Ann")
    home.annotations.draw(other, ones, classes=names, by="Ann")
    met.annotations.draw(other, twos, classes=names, by="Bob")
    home.export(home.images, tmp_path / "b", as_="bundle", level="metadata")
    (one,) = met.import_bundle(tmp_path / "b").conflicts
    assert (one.entity, one.row) == ("micrograph", other)
    assert (met.annotations.mask(image).labels == 1).all()
    assert (met.annotations.mask(other).labels == 2).all()
    met.import_bundle(tmp_path / "b", policy="theirs")
    assert (met.annotations.mask(other).labels == 1).all()


# ---------------------------------------------------------------------- sheets that are read again


class Sheet:
    """The sheet of Lab A, in a folder of its own."""

    def __init__(self, scans, folder):
        self.folder = shutil.copytree(scans, folder)
        self.path = folder / "samples.csv"
        self.text = self.path.read_text()

    def read(self, db, **replaced):
        """Ingest again, with some cells replaced; return values of the images and samples."""
        text = self.text
        for before, after in replaced.values():
            text = text.replace(f",{before},", f",{after},")
        self.path.write_text(text)
        db.ingest(self.folder, sheet=self.path, map=self.folder / "map.toml", lab="Lab A")
        return values(db, "hardness")


@pytest.fixture
def sheet(scans, tmp_path):
    return Sheet(scans, tmp_path / "scans")


def sent(home, other, path, **how):
    """Send all rows of one database to another."""
    home.export(home.images, path, as_="bundle", level="metadata", overwrite=True)
    return other.import_bundle(path, **how)


def test_values_follow_the_sheet_they_are_from_also_back(home, met, sheet, tmp_path):
    first = sheet.read(home)
    assert sheet.read(home, hardness=("1.5", "9.5")) != first
    home.export(home.images, tmp_path / "old", as_="bundle", level="metadata")
    assert not sent(home, met, tmp_path / "b").conflicts
    assert values(met, "hardness") == values(home, "hardness") != first
    assert sheet.read(home) == first  # what was retired stands again
    sent(home, met, tmp_path / "b")
    assert values(met, "hardness") == first
    assert not met.import_bundle(tmp_path / "old").filled["property_value"]  # it says nothing newer
    assert values(met, "hardness") == first
    assert not sent(home, met, tmp_path / "b").changed


def test_the_newest_is_what_a_sheet_changed_last(home, met, sheet, tmp_path):
    sizes = [db.images.to_pandas()["pixel_size"].tolist() for db in (home, met)]
    assert sizes[0] == sizes[1]
    change(met, t.sample, form="film")
    change(home, t.sample, form="powder")
    m = t.micrograph.c
    with writing(home.engine) as connection:  # read anew where nothing was measured yet
        connection.execute(micdb.catalog.results.run_item.delete())
        scaled = connection.scalars(sa.select(m.uid).where(m.pixel_size_origin == "user")).all()
    assert scaled
    sheet.read(home, pixel=("0.2", "0.25"))
    done = sent(home, met, tmp_path / "b", policy="newest")
    assert {(one.entity, one.kept) for one in done.conflicts} == {
        ("sample", "theirs"),
        ("micrograph", "theirs"),
    }
    ours, theirs = (db.images.to_pandas().drop(columns="source") for db in (met, home))
    assert ours.equals(theirs) and ours["pixel_size"].tolist() != sizes[0]
    assert met.samples.to_pandas()["form"].tolist() == home.samples.to_pandas()["form"].tolist()
    assert not sent(home, met, tmp_path / "b", policy="newest").changed
    change(met, t.sample, form="film")  # now ours is the newest
    sent(home, met, tmp_path / "b", policy="newest")
    assert "film" in set(met.samples.to_pandas()["form"])


def test_a_sheet_read_again_changes_no_date(home, sheet):
    def dates():
        with micdb.catalog.engine.reading(home.engine) as connection:
            tables = (t.sample, t.micrograph, t.property_value)
            return [
                connection.scalars(sa.select(one.c.changed_at).order_by(one.c.pk)).all() for one in tables
            ]

    sheet.read(home)
    before = dates()
    sheet.read(home)
    assert dates() == before
    sheet.read(home, hardness=("1.5", "9.5"))
    assert dates() != before

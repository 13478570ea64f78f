"""Several databases answer as one."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest

import micdb
from micdb.catalog.engine import reading
from micdb.catalog.rows import last_event
from micdb.copying import copy_between
from micdb.database import Database
from micdb.errors import UsageError
from micdb.populate.extractor import extractors
from micdb.testing.fakes import FakeExtractor

make = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "data" / "delivery" / "make.py")))


@pytest.fixture(autouse=True)
def fake():
    return extractors().register(FakeExtractor, name="fake")


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    """Make two laboratories that share a file."""
    extractors().register(FakeExtractor, name="fake")
    root = tmp_path_factory.mktemp("labs")
    scans = make.write(root / "scans", files=5, images=2)
    for name, files in {"north": ("00.emd", "01.tif"), "south": ("01.tif", "02.mrc", "03.emd")}.items():
        with micdb.init(root / f"{name}.micdb") as db:
            db.ingest([scans / file for file in files], sheet=scans / "samples.csv", map=scans / "map.toml",
                      lab=name.title())  # fmt: skip
            db.populate("fake")
    return root


@pytest.fixture
def labs(seat, templates):
    return tuple(seat(name, templates / f"{name}.micdb") for name in ("north", "south"))


def test_every_verb_works_and_each_row_names_its_source(labs):
    north, south = labs
    with micdb.federate(labs) as db:
        images = db.images.to_pandas()
        uids = set(north.images.to_pandas()["uid"]) | set(south.images.to_pandas()["uid"])
        shared = south.images.query("name == '01'").to_pandas()["uid"][0]
        assert set(images["uid"]) == uids - {shared}  # the shared file is one image, that of the first
        assert images["source"].value_counts().to_dict() == {"north": 3, "south": 3}
        assert set(db.properties.to_pandas()["source"]) == set(db.samples.to_pandas()["source"])
        assert db.images.groupby("source").size().to_pandas()["size"].tolist() == [3, 3]
        im = db.images
        counted = im.assign(n=im.atoms.count()).to_pandas()
        assert set(counted["n"]) == {3}
        atoms = db.atoms.to_pandas()
        for lab in labs:  # rows of parts are those of their own images
            mine = lab.atoms.to_pandas()
            both = atoms[atoms["image"].isin(mine["image"])].reset_index(drop=True)
            mine = mine[mine["image"].isin(images["uid"])].reset_index(drop=True)
            assert both.equals(mine)
        for lab in labs:  # pixels are read where they are
            uid = next(uid for uid in lab.images.to_pandas()["uid"] if uid in set(images["uid"]))
            assert np.array_equal(db.image(uid).pixels(), lab.image(uid).pixels())
        uid = south.images.query("name == '02'").to_pandas()["uid"][0]
        found = db.images.similar_to(uid, k=6).to_pandas()
        assert found["uid"][0] == uid and set(found["source"]) == {"north", "south"}
        assert repr(db) == "<micdb federation of north, south: 6 images>"
        assert not list((db.root / "objects").rglob("*.nxs"))


def test_it_follows_its_members(labs, templates):
    north, _ = labs
    with micdb.federate(labs) as db:
        before, root = db.images, db.root
        assert db.images.count() == 6
        assert db.root == root  # nothing has changed: nothing is merged again
        north.ingest(templates / "scans" / "04.tif")
        assert db.images.count() == 7
        assert before.count() == 6  # a frame keeps the state it was made of
        north.set_terms(north.images, licence="CC0-1.0")
        assert "CC0-1.0" in set(db.images.to_pandas()["licence"])
    del before
    gc.collect()
    assert not root.exists()  # what was merged first goes with the last frame that asks it


def test_a_member_on_a_server(labs, pg_server, tmp_path):
    north, south = labs
    url = pg_server.empty().render_as_string(hide_password=False)
    copy_between(north.root, url, folder=tmp_path / "files")
    with micdb.federate({"n": north, "s": south}) as files, micdb.federate({"n": url, "s": south}) as mixed:
        assert files.images.to_pandas().equals(mixed.images.to_pandas())
        assert files.atoms.to_pandas().equals(mixed.atoms.to_pandas())
        server: Database = mixed.members["n"]
        server.set_terms(server.images, licence="CC0-1.0")
        assert "CC0-1.0" in set(mixed.images.to_pandas()["licence"])
        sheet = {"map": tmp_path / "hv.toml"}
        sheet["map"].write_text(
            'sample = "sample"\nmaterial = "of"\n[property.HV]\ncolumn = "HV"\nunit = "GPa"\n'
        )

        def read(material, value):
            (tmp_path / "hv.csv").write_text(f"sample,of,HV\ns9,{material},{value}\n")
            server.add_properties(tmp_path / "hv.csv", **sheet)

        def seen():
            found = mixed.properties.query("property == 'HV'").to_pandas()
            return set(mixed.samples.query("name == 's9'").to_pandas()["material"]), found["value"].tolist()

        read("WS2", 2.5)
        read("WS2", 7.5)
        assert seen() == ({"WS2"}, [7.5])
        read("WS2", 2.5)  # a row that was there stands again
        assert seen() == ({"WS2"}, [2.5])
        read("MoS2", 2.5)  # only the sample changes
        assert seen() == ({"MoS2"}, [2.5])


def test_what_is_cited_says_where_each_member_stood(labs, tmp_path):
    with micdb.federate(labs) as db:
        done = db.cite(db.images[["uid", "source"]], tmp_path / "b", title="Both", publisher="North")
    for name, one in zip(("north", "south"), labs, strict=True):
        with reading(one.engine) as connection:
            event, at = last_event(connection)
        assert f"{name} at event {event} ({at[:19]})" in repr(done)
    assert done.moment in (tmp_path / "b" / "README.md").read_text()


def test_packed_files_are_read_where_they_are(labs):
    north, _ = labs
    north.compact()
    with micdb.federate(labs) as db:
        uid = north.images.to_pandas()["uid"][0]
        assert np.array_equal(db.image(uid).pixels(), north.image(uid).pixels())


def test_it_only_answers_and_names_are_told_apart(labs, tmp_path):
    north, _ = labs
    shutil.copytree(north.root, tmp_path / "more" / "north.micdb")
    with micdb.federate([north, tmp_path / "more" / "north.micdb"]) as db:
        assert list(db.members) == ["north", "north-2"]
        with pytest.raises(UsageError, match="the federation of north, north-2 does not change"):
            db.populate("fake")
    with pytest.raises(UsageError, match="a federation of nothing"):
        micdb.federate([])

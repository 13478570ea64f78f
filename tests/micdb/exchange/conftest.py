"""Two laboratories: one with images, properties, results and corrections, one with nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest

import micdb
from micdb.populate.extractor import Card, Extraction, Extractor, extractors
from micdb.populate.facts import DEFECTS
from micdb.testing.fakes import FakeExtractor

make = SimpleNamespace(**run_path(str(Path(__file__).parents[2] / "data" / "delivery" / "make.py")))


class SpotsDetector(Extractor):
    """Calls the two brightest pixels of an image vacancies."""

    card = Card(
        name="spots", version="1", summary="Brightest pixels, for tests", parameters={}, licence="CC0-1.0",
        reference="none", scale="as recorded",
    )  # fmt: skip
    schemas: ClassVar = {"defects": DEFECTS}

    def extract(self, pictures):
        for picture in pictures:
            frame = picture.pixels[0].astype(float)
            places = np.argsort(-frame, axis=None, kind="stable")[:2]
            rows = [
                {"image": picture.image, "frame": 0, "kind": "vacancy", "x_px": float(x), "y_px": float(y),
                 "score": 0.5}
                for y, x in zip(*np.unravel_index(places, frame.shape), strict=True)
            ]  # fmt: skip
            tables = {"defects": pa.Table.from_pylist(rows, schema=DEFECTS)}
            yield Extraction(picture.image, tables, {"n_defects": (len(rows), None)})


@pytest.fixture(autouse=True)
def _extractors():
    for name, kind in (("fake", FakeExtractor), ("spots", SpotsDetector)):
        if name not in extractors()._loaded:
            extractors().register(kind, name=name)


@pytest.fixture(scope="session")
def scans(tmp_path_factory):
    return make.write(tmp_path_factory.mktemp("exchange") / "scans", files=4, images=3)


def ingest(db, scans, lab):
    db.ingest(scans, sheet=scans / "samples.csv", map=scans / "map.toml", lab=lab)


@pytest.fixture(scope="session")
def templates(tmp_path_factory, scans):
    """Make a full and an empty database once; each test has copies of its own."""
    for name, kind in (("fake", FakeExtractor), ("spots", SpotsDetector)):
        extractors().register(kind, name=name)
    folder = tmp_path_factory.mktemp("templates")
    micdb.init(folder / "empty.micdb").close()
    shutil.copytree(folder / "empty.micdb", folder / "full.micdb")
    with micdb.open(folder / "full.micdb") as db:
        ingest(db, scans, "Lab A")
        db.populate("fake")
        db.populate("spots")
        found = db.defects.to_pandas()["uid"].tolist()
        db.corrections.reject(found[0], by="Ann")
        db.corrections.relabel(found[1], "loop", by="Ann")
        image = db.images.to_pandas()["uid"][0]
        db.annotations.draw(image, np.zeros((16, 20), int), classes=("ferrite",), by="Ann")
    return folder


@pytest.fixture
def home(seat, templates):
    """Return the database of Lab A."""
    return seat("home", templates / "full.micdb")


@pytest.fixture
def away(seat, templates):
    """Return the empty database of another laboratory."""
    return seat("away", templates / "empty.micdb")


@pytest.fixture(scope="session")
def bundle(templates):
    """Return the whole database of Lab A as a bundle; it is only read."""
    path = templates / "bundle"
    with micdb.open(templates / "full.micdb") as db:
        db.export(db.images, path, as_="bundle")
    return path


@pytest.fixture(scope="session")
def derived(templates):
    """Return the same without pixels; it is only read."""
    with micdb.open(templates / "full.micdb") as db:
        db.export(db.images, templates / "derived", as_="bundle", level="derived")
    return templates / "derived"


def imported(templates, bundle):
    """Import a bundle once, for tests of what comes after; return the database."""
    path = templates / f"{bundle.name}.micdb"
    if not path.exists():
        shutil.copytree(templates / "empty.micdb", path)
        with micdb.open(path) as db:
            db.import_bundle(bundle)
    return path


@pytest.fixture
def met(seat, templates, bundle):
    """Return the database of another laboratory that has everything of Lab A."""
    return seat("away", imported(templates, bundle))


@pytest.fixture(scope="session")
def rows_only_template(templates, derived):
    return imported(templates, derived)


@pytest.fixture
def rows_only(seat, rows_only_template):
    """Return the database of another laboratory that has everything of Lab A but the pixels."""
    return seat("away", rows_only_template)


@pytest.fixture
def resealed():
    """Return what makes a changed bundle one whose manifest is right again."""

    def seal(folder, **changed):
        import json

        from micdb.exchange.manifest import NAME
        from micdb.provenance import file_hash

        path = folder / NAME
        said = {**json.loads(path.read_text()), **changed}
        files = (one for one in folder.rglob("*") if one.is_file() and one != path)
        said["members"] = {
            one.relative_to(folder).as_posix(): {"sha256": file_hash(one), "size": one.stat().st_size}
            for one in files
        }
        path.write_text(json.dumps(said))
        return folder

    return seal

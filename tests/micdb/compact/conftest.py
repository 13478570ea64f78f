"""A small database with everything in it that a compaction touches, and everything it answers."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from micdb import opening
from micdb.catalog.engine import CATALOG, reading, sqlite_engine, writing
from micdb.catalog.results import part
from micdb.catalog.tables import object_
from micdb.compact import Budget, Compacted
from micdb.database import Database
from micdb.populate.extractor import extractors
from micdb.query.thumbnails import load as load_thumbnails
from micdb.store.folder import make_folders
from micdb.testing.fakes import FakeExtractor

make = SimpleNamespace(**run_path(str(Path(__file__).parents[2] / "data" / "delivery" / "make.py")))

FILES, IMAGES = 3, 10
BUDGET = Budget(pack=80_000)  # four micrographs


class Lab:
    """A database of twelve images whose rows lie in four parts of each table, ranges entangled."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.folder, self.engine, self.root = folder, engine, folder / "lab.micdb"
        self.db = Database(self.root, engine)
        self.scans = folder / "scans"

    @property
    def uids(self) -> list[str]:
        return self.db.images.sort_values("uid").to_pandas()["uid"].tolist()

    def ingest(self) -> Any:
        sheet, map_ = self.scans / "samples.csv", self.scans / "map.toml"
        return self.db.ingest(self.scans, sheet=sheet, map=map_, lab="A")

    def populate(self, first: int = 0) -> None:
        uids = self.uids
        for start in range(first, 4):
            some = self.db.images[self.db.images.uid.isin(uids[start::4])]
            self.db.populate("fake", where=some)

    def compact(self, budget: Budget = BUDGET, **options: Any) -> Compacted:
        return self.db.compact(budget=budget, **options)

    def codes(self, **options: Any) -> list[str]:
        return [one.code for one in self.db.fsck(**options).findings]

    def parts(self) -> list[tuple[str, int]]:
        with reading(self.engine) as connection:
            query = sa.select(part.c.table_name, part.c.pk).order_by(part.c.pk)
            return [tuple(row) for row in connection.execute(query)]

    def objects(self, **state: Any) -> list[sa.Row[Any]]:
        query = sa.select(object_).order_by(object_.c.pk)
        with reading(self.engine) as connection:
            return list(connection.execute(query.filter_by(**state)))

    def set_objects(self, condition: sa.ColumnElement[bool], **values: Any) -> None:
        with writing(self.engine) as connection:
            connection.execute(sa.update(object_).where(condition).values(**values))

    def end_grace(self) -> None:
        self.set_objects(object_.c.state == "quarantined", expires_at="2000-01-01T00:00:00.000000Z")

    def files(self, folder: str = "objects") -> set[str]:
        return {path.name for path in (self.root / folder).rglob("*") if path.is_file()}

    def answers(self, db: Database | None = None) -> dict[str, Any]:
        """Ask for everything whose bytes lie in objects."""
        db = db or self.db
        im = db.images
        uids = im.sort_values("uid").to_pandas()["uid"].tolist()
        images = [db.image(uid) for uid in uids]
        like = im.similar_to(uids[0], k=6)[["uid", "similarity"]].to_pandas()
        counted = im.assign(n=im.atoms.count(), far=im.atoms.max("x_px"))[["uid", "n", "far"]].to_pandas()
        return {
            "pixels": [image.pixels().tolist() for image in images],
            "frames": [image.frame(0).tolist() for image in images],
            "original": [image.original() for image in images],
            "pictures": [picture.pixels.tolist() for picture in db.pictures(uids)],
            "thumbnails": load_thumbnails(db.context, uids),
            "like": like.to_dict("list"),
            "counted": counted.astype(object).to_dict("list"),
        }


def begun(folder: Path, engine: Engine) -> Lab:
    """Make a lab whose images are in and have no rows yet."""
    extractors().register(FakeExtractor, name="fake")
    lab = Lab(folder, engine)
    make.write(lab.scans, files=FILES, images=IMAGES)
    lab.ingest()
    return lab


@pytest.fixture(scope="session")
def labs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders to copy: making a lab takes a second, copying one does not."""
    made = {}
    for kind in ("bare", "full"):
        made[kind] = tmp_path_factory.mktemp(kind)
        opening.init(made[kind] / "lab.micdb").close()
        engine = sqlite_engine(made[kind] / "lab.micdb" / CATALOG)
        lab = begun(made[kind], engine)
        if kind == "full":
            lab.populate()
        engine.dispose()
    return made


def copied(source: Path, folder: Path) -> Iterator[Lab]:
    shutil.copytree(source, folder, dirs_exist_ok=True)
    engine = sqlite_engine(folder / "lab.micdb" / CATALOG)
    yield Lab(folder, engine)
    engine.dispose()


@pytest.fixture
def bare(labs: dict[str, Path], tmp_path: Path) -> Iterator[Lab]:
    """A lab of which nothing is computed yet."""
    yield from copied(labs["bare"], tmp_path)


@pytest.fixture
def lab(labs: dict[str, Path], tmp_path: Path) -> Iterator[Lab]:
    """A lab."""
    yield from copied(labs["full"], tmp_path)


@pytest.fixture
def any_lab(tmp_path: Path, new_catalog: Callable[[Path], Engine]) -> Lab:
    """A lab on each kind of catalog."""
    root = tmp_path / "lab.micdb"
    make_folders(root)
    lab = begun(tmp_path, new_catalog(root))
    lab.populate()
    return lab

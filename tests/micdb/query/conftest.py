"""A small planted catalog: two labs, three samples, six images, defects by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from micdb.catalog import results as r
from micdb.catalog import tables as t
from micdb.catalog.columns import metadata
from micdb.catalog.engine import sqlite_engine, writing
from micdb.query.context import Context
from micdb.query.frame import Frame

MOMENT = "2024-05-31T12:00:00.000000Z"


def no_picture(path: Path) -> Any:
    raise AssertionError("nothing is read here")


class Planter:
    """Writes rows with the fields a test names and plain ones for the rest."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        self.serial = 0

    def add(self, table: sa.Table, **values: Any) -> int:
        self.serial += 1
        if "uid" in table.c:
            values.setdefault("uid", f"{table.name}-{self.serial:04d}")
        key = self.connection.execute(table.insert().values(**values)).inserted_primary_key
        return int(key[0]) if key is not None and key[0] is not None else 0

    def image(self, name: str, **values: Any) -> int:
        number = self.serial
        acquisition = self.add(t.acquisition, source_sha256=f"{number:064x}")
        held = self.add(
            t.object_, sha256=f"{number:064x}", path=f"objects/{number}.nxs", size=1,
            media_type="application/x-hdf5", state="live", created_at=MOMENT,
        )  # fmt: skip
        plain = {
            "height": 64, "width": 64, "n_frames": 1, "colour": False, "dtype": "uint8", "axes": [],
            "settings": {}, "problems": [], "created_at": MOMENT, "pixel_hash": f"{number:064x}",
        }  # fmt: skip
        image = self.add(
            t.micrograph, name=name, acquisition_pk=acquisition, object_pk=held, **{**plain, **values}
        )
        self.add(
            t.source, micrograph_pk=image, sha256=f"{number:064x}", position=0, file_name=f"{name}.dm3",
            path=f"/data/{name}.dm3", size=10, format="dm3", reader="dm", reader_version="1",
            ingested_at=MOMENT,
        )  # fmt: skip
        return image

    def property(self, known: int, **values: Any) -> None:
        self.serial += 1
        level = "sample" if "sample_pk" in values else "image"
        plain = {"level": level, "origin": "sidecar", "source_name": "s.csv", "created_at": MOMENT}
        self.add(
            t.property_value, property_def_pk=known, natural_key=f"{self.serial:064x}", **{**plain, **values}
        )

    def run(self, analysis: str, version: str = "1", *, current: bool = True) -> int:
        self.serial += 1
        model = self.add(r.model, name=analysis, version=version, model_hash=f"{self.serial:064x}", card={})
        run = self.add(
            r.run, model_pk=model, run_key=f"{self.serial:064x}", parameters={}, software={}, device="cpu",
            created_at=MOMENT, actor="test",
        )  # fmt: skip
        if current:
            self.connection.execute(r.current_run.insert().values(analysis=analysis, run_pk=run))
        return run

    def analysed(self, run: int, *images: int) -> None:
        for image in images:
            self.connection.execute(
                r.run_item.insert().values(run_pk=run, micrograph_pk=image, status="done", attempt=1)
            )


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """Return an empty catalog; every question is asked of both kinds."""
    if request.param == "postgresql":
        yield request.getfixturevalue("pg_wiped")
        return
    made = sqlite_engine(tmp_path / "catalog.sqlite")
    metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def context(engine: sa.Engine, tmp_path: Path) -> Context:
    return Context(engine, tmp_path, no_picture, lambda *_, **__: None)


@pytest.fixture
def planted(engine: sa.Engine) -> SimpleNamespace:
    """Plant the catalog; local keys by name."""
    with writing(engine) as connection:
        p = Planter(connection)
        a, b = p.add(t.lab, name="Lab A"), p.add(t.lab, name="Lab B", licence="CC-BY-4.0")
        ws2, steel = p.add(t.material, name="WS2"), p.add(t.material, name="UHCS")
        s1 = p.add(t.sample, name="S1", lab_pk=a, material_pk=ws2)
        s2 = p.add(t.sample, name="S2", lab_pk=b, material_pk=ws2)
        s3 = p.add(t.sample, name="S3", lab_pk=b, material_pk=steel)
        scope = p.add(t.instrument, name="Titan", vendor="FEI", lab_pk=a)
        plan = {
            "one": (s1, a, 0.5, 1024.0), "two": (s1, a, 0.25, 512.0), "three": (s2, b, 2.0, 4096.0),
            "four": (s3, b, 500.0, 1e9), "five": (s3, b, None, None), "six": (None, a, 0.5, 1024.0),
        }  # fmt: skip
        images = {
            name: p.image(name, sample_pk=sample, lab_pk=lab, pixel_size=size, area=area, instrument_pk=scope)
            for name, (sample, lab, size, area) in plan.items()
        }
        p.image("gone", pixel_size=0.5, deleted_at=MOMENT)
        run = p.run("hand")
        p.analysed(run, images["one"], images["two"], images["three"])
        for image, kind, count in (("one", "vacancy", 3), ("one", "loop", 1), ("three", "vacancy", 4)):
            for index in range(count):
                p.add(
                    r.defect, run_pk=run, micrograph_pk=images[image], kind=kind, frame=0,
                    score=0.5 + index / 10,
                    state="rejected" if (image, index) == ("three", 3) else "detected", x_nm=float(index),
                )  # fmt: skip
        hard = p.add(t.property_def, name="hardness", kind="number", unit="GPa")
        heat = p.add(t.property_def, name="anneal_temperature", kind="number", unit="degC")
        phase = p.add(t.property_def, name="phase label", kind="text")
        p.property(hard, sample_pk=s1, value=2.0)
        p.property(hard, sample_pk=s1, value=4.0)
        p.property(hard, sample_pk=s1, value=99.0, retired_at=MOMENT)
        p.property(hard, sample_pk=s2, value=5.0, sd=0.5)
        p.property(hard, micrograph_pk=images["two"], value=7.0)
        p.property(heat, sample_pk=s3, value=970.0)
        p.property(heat, sample_pk=s1, value=800.0)
        p.property(phase, sample_pk=s3, text="pearlite")
        p.property(phase, sample_pk=s1, text="2H")
        p.property(phase, micrograph_pk=images["one"], text="1T")
        p.property(phase, micrograph_pk=images["one"], text="2H")
        peaks = p.run("peaks")
        for name, value in (("one", 120.0), ("two", 30.0)):
            connection.execute(
                r.rollup.insert().values(
                    run_pk=peaks, micrograph_pk=images[name], name="n_atoms", value=value
                )
            )
        old = p.run("peaks", "0", current=False)
        connection.execute(
            r.rollup.insert().values(run_pk=old, micrograph_pk=images["one"], name="n_atoms", value=7.0)
        )
    return SimpleNamespace(images=images, run=run, peaks=peaks)


@pytest.fixture
def im(context: Context, planted: SimpleNamespace) -> Frame:
    return Frame(context, "images")

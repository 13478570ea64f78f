"""Images whose order is not that of their keys, and atoms in several parts and runs."""

from __future__ import annotations

import math
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from micdb.catalog.engine import writing
from micdb.catalog.results import defect, rollup, run_item
from micdb.catalog.tables import micrograph, property_def, property_value
from micdb.query.frame import Frame

make = SimpleNamespace(**run_path(str(Path(__file__).parents[3] / "data" / "planted" / "make.py")))
MOMENT = "2024-05-31T12:00:00Z"
UIDS = ("u3", "u1", "u4", "u2", "u0")  # of the images 1, 2, ... ; the last is deleted, u2 was never analysed


@pytest.fixture
def home(tmp_path):
    return planted(make.database(tmp_path / "db"))


def planted(context):
    """Plant atoms of a current and an older run; image u4 was analysed and has none."""
    images = make.images(context, len(UIDS))
    with writing(context.engine) as connection:
        for key, uid in zip(images, UIDS, strict=True):
            gone = MOMENT if uid == "u0" else None
            changed = micrograph.update().where(micrograph.c.pk == key)
            connection.execute(changed.values(uid=uid, deleted_at=gone, name=f"image {uid}", height=10 * key))
    older = make.add_run(context, "peaks", version="0", current=False)
    run = make.add_run(context, "peaks")
    make.add_part(
        context, run, "atoms", rows=graded([(1, 1.0, 5.0), (1, 2.5, None), (2, math.nan, 7.0)], [3, 4, 6])
    )
    make.add_part(context, run, "atoms", rows=graded([(5, 9.0, 9.0)], [1]))
    make.add_part(context, older, "atoms", rows=graded([(1, 8.0, 8.0), (4, 0.5, 1.0)], [127, None]))
    with writing(context.engine) as connection:
        for key in (1, 2, 3, 5):
            connection.execute(
                run_item.insert().values(run_pk=run, micrograph_pk=key, status="done", attempt=1)
            )
    return SimpleNamespace(
        context=context, run=run, older=older, images=images,
        atoms=Frame(context, "atoms"), im=Frame(context, "images"),
    )  # fmt: skip


def graded(entries, grades):
    """Return rows of ``atoms`` with a column that the extractor added."""
    return make.atoms(entries).append_column("grade", pa.array(grades, pa.int8()))


def add_defects(home, run, *found):
    """Add defects: image and kind."""
    with writing(home.context.engine) as connection:
        for number, (image, kind) in enumerate(found):
            row = {"uid": f"d{number}", "run_pk": run, "micrograph_pk": image, "kind": kind, "frame": 0}
            connection.execute(defect.insert().values(**row, state="detected"))


def add_property(home, name, values):
    """Add a property of images, from image to number."""
    with writing(home.context.engine) as connection:
        key = connection.execute(
            property_def.insert().returning(property_def.c.pk), {"uid": name, "name": name, "kind": "number"}
        ).scalar_one()
        for image, value in values.items():
            row = {
                "uid": f"{name}{image}", "property_def_pk": key, "level": "image", "micrograph_pk": image,
                "value": value, "origin": "user", "source_name": "s", "created_at": MOMENT,
                "natural_key": f"{name}{image}".ljust(64, "0"),
            }  # fmt: skip
            connection.execute(property_value.insert().values(**row))


def add_rollups(home, run, name, values):
    """Add a roll-up, from image to number."""
    with writing(home.context.engine) as connection:
        for image, value in values.items():
            connection.execute(
                rollup.insert().values(run_pk=run, micrograph_pk=image, name=name, value=value)
            )

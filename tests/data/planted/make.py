"""Catalogs planted by hand: rows and Parquet parts without ingest or populate."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from micdb.catalog.columns import metadata
from micdb.catalog.engine import sqlite_engine, writing
from micdb.catalog.results import current_run, embedding_space, model, part, run, run_item
from micdb.catalog.rows import add, find_or_add
from micdb.catalog.tables import acquisition, micrograph, object_
from micdb.populate.facts import FACTS
from micdb.provenance import now, uuid7
from micdb.query.context import Context
from micdb.records import Axis, Pixels, Scan, Source
from micdb.store.nexus import write_micrograph
from micdb.store.parts import write_part
from micdb.store.thumbnail import thumbnail


def database(root: Path, read_picture=None) -> Context:
    """Return the surroundings of an empty database."""
    root.mkdir(parents=True, exist_ok=True)
    engine = sqlite_engine(root / "catalog.sqlite")
    metadata.create_all(engine)
    return Context(engine=engine, root=root, read_picture=read_picture, link=None)


def images(context: Context, count: int, *, width: int = 64, height: int = 48) -> list[int]:
    """Add micrographs whose files are missing; return their keys."""
    keys = []
    with writing(context.engine) as connection:
        for i in range(count):
            obj = add_object(connection, f"objects/{uuid7()}.nxs")
            shot = add(connection, acquisition, {"source_sha256": uuid7()})
            row = {
                "name": f"image {i}", "acquisition_pk": shot, "object_pk": obj, "pixel_hash": "0",
                "height": height, "width": width, "n_frames": 1, "colour": False, "dtype": "float32",
                "axes": [], "settings": {}, "problems": [], "created_at": now(),
            }  # fmt: skip
            keys.append(add(connection, micrograph, row))
    return keys


def uid(context: Context, image: int) -> str:
    """Return the uid of a micrograph."""
    with context.engine.connect() as connection:
        return connection.execute(sa.select(micrograph.c.uid).where(micrograph.c.pk == image)).scalar_one()


def file(context: Context, image: int, pixels: np.ndarray) -> Path:
    """Write the HDF5 file of a micrograph; return its path."""
    columns = sa.select(object_.c.path).join(micrograph, micrograph.c.object_pk == object_.c.pk)
    with context.engine.connect() as connection:
        path = context.root / connection.execute(columns.where(micrograph.c.pk == image)).scalar_one()
    path.parent.mkdir(parents=True, exist_ok=True)
    axes = (Axis("y", pixels.shape[0], 1.0, unit="nm"), Axis("x", pixels.shape[1], 1.0, unit="nm"))
    scan = Scan(
        pixels=Pixels(pixels.shape, str(pixels.dtype), lambda: pixels),
        axes=axes,
        name="planted",
        source=Source("planted.tif", "tif", "planted", "1"),
    )
    write_micrograph(path, scan, pixels, thumbnail=thumbnail(pixels, colour=False), source_sha256="0" * 64)
    return path


def add_run(context: Context, name: str, *, spaces=(), current: bool = True, version: str = "1") -> int:
    """Add a run of an extractor; `spaces` are name, dim, nm per pixel, metric."""
    with writing(context.engine) as connection:
        identity = {"model_hash": hashlib.sha256(f"{name}{version}".encode()).hexdigest()}
        card = {"weights_hash": None}
        model_pk = find_or_add(connection, model, identity, {"name": name, "version": version, "card": card})
        row = {
            "model_pk": model_pk, "run_key": uuid7(), "parameters": {}, "software": {}, "device": "cpu",
            "created_at": now(), "actor": "test",
        }  # fmt: skip
        key = add(connection, run, row)
        for space, dim, scale, metric in spaces:
            connection.execute(
                embedding_space.insert(),
                {"run_pk": key, "name": space, "dim": dim, "nm_per_pixel": scale, "metric": metric},
            )
        if current:
            connection.execute(current_run.delete().where(current_run.c.analysis == name))
            connection.execute(current_run.insert(), {"analysis": name, "run_pk": key})
    return key


def refuse(context: Context, run_pk: int, image: int, *, reason: str) -> None:
    """Note that a run refused an image."""
    row = {"run_pk": run_pk, "micrograph_pk": image, "status": "refused", "reason": reason, "attempt": 1}
    with writing(context.engine) as connection:
        connection.execute(run_item.insert(), row)


def add_part(context: Context, run_pk: int, table: str, *, rows: pa.Table, state: str = "live") -> Path:
    """Write rows as a part and name it in the catalog; return its path."""
    name = uuid7()
    relative = f"parts/{table}/{name}.parquet"
    path = context.root / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    keyed = rows.add_column(0, pa.field("run", pa.int64()), pa.array([run_pk] * len(rows), pa.int64()))
    write_part(path, keyed)
    found = rows["image"].to_numpy()
    with writing(context.engine) as connection:
        row = {
            "uid": name, "run_pk": run_pk, "object_pk": add_object(connection, relative, state=state),
            "table_name": table, "rows": len(rows),
            "min_image": int(found.min()), "max_image": int(found.max()),
        }  # fmt: skip
        connection.execute(part.insert(), row)
    return path


def add_object(connection: sa.Connection, path: str, *, state: str = "live") -> int:
    """Add a row for a file."""
    row = {
        "sha256": hashlib.sha256(path.encode()).hexdigest(), "path": path, "size": 0,
        "media_type": "x", "state": state, "created_at": now(),
    }  # fmt: skip
    return int(connection.execute(object_.insert().returning(object_.c.pk), row).scalar_one())


def embeddings(entries) -> pa.Table:
    """Return rows of ``embeddings`` from (image, space, vector)."""
    rows = [{"image": image, "space": space, "vector": list(vector)} for image, space, vector in entries]
    return pa.Table.from_pylist(rows, schema=FACTS["embeddings"])


def atoms(entries) -> pa.Table:
    """Return rows of ``atoms`` from (image, x_nm, intensity)."""
    rows = [
        {"image": image, "frame": 0, "idx": i, "x_px": 0.0, "y_px": 0.0, "x_nm": x, "intensity": intensity}
        for i, (image, x, intensity) in enumerate(entries)
    ]
    return pa.Table.from_pylist(rows, schema=FACTS["atoms"])

"""A run is a model with its parameters: find or open it, and say which run is current."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from micdb import config
from micdb.catalog.results import current_run, embedding_space, model, run
from micdb.catalog.rows import find_or_add, record
from micdb.populate.extractor import Extractor
from micdb.provenance import canonical_json, now, package_version, run_key

SOFTWARE = ("micdb", "numpy", "scipy", "scikit-image")  # packages whose versions may move a number


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that items can be added to."""

    pk: int
    uid: str
    extractor: str
    parameters: dict[str, object]


def open_run(connection: Connection, extractor: Extractor) -> OpenRun:
    """Find or add the run of this extractor and its parameters, and make it the current one."""
    card = extractor.card
    identity = canonical_json([card.name, card.version, card.weights_hash])
    model_hash = hashlib.sha256(identity.encode()).hexdigest()
    model_pk = find_or_add(
        connection,
        model,
        {"model_hash": model_hash},
        {"name": card.name, "version": card.version, "card": card.as_json()},
    )
    what = {name: value for name, value in extractor.parameters.items() if name not in extractor.places}
    key = run_key(model_hash, what)
    known = connection.execute(sa.select(run.c.pk).where(run.c.run_key == key)).scalar()
    if known and extractor.places:  # where it was found last is where a search will look
        connection.execute(run.update().where(run.c.pk == known).values(parameters=extractor.parameters))
    run_pk = known or find_or_add(
        connection,
        run,
        {"run_key": key},
        {
            "model_pk": model_pk,
            "parameters": extractor.parameters,
            "software": {
                "python": platform.python_version(),
                **{name: package_version(name) for name in SOFTWARE},
            },
            "device": "cpu",
            "created_at": now(),
            "actor": config.load().actor,
        },
    )
    for space in extractor.spaces:
        find_or_add_space(connection, run_pk, space.name, (space.dim, space.metric, space.nm_per_pixel))
    _make_current(connection, card.name, run_pk)
    uid = connection.execute(sa.select(run.c.uid).where(run.c.pk == run_pk)).scalar_one()
    if known is None:
        record(connection, "open", "run", uid=uid, detail={"extractor": card.name, "version": card.version})
    return OpenRun(run_pk, uid, card.name, extractor.parameters)


def find_or_add_space(
    connection: Connection, run_pk: int, name: str, facts: tuple[int, str, float | None]
) -> None:
    """Add a space of vectors to a run unless it is there."""
    where = (embedding_space.c.run_pk == run_pk, embedding_space.c.name == name)
    if connection.execute(sa.select(embedding_space.c.pk).where(*where)).scalar() is None:
        dim, metric, scale = facts
        connection.execute(
            embedding_space.insert(),
            {"run_pk": run_pk, "name": name, "dim": dim, "metric": metric, "nm_per_pixel": scale},
        )


def _make_current(connection: Connection, analysis: str, run_pk: int) -> None:
    held = connection.execute(
        sa.select(current_run.c.run_pk).where(current_run.c.analysis == analysis)
    ).scalar()
    if held is None:
        connection.execute(current_run.insert(), {"analysis": analysis, "run_pk": run_pk})
    elif held != run_pk:
        connection.execute(
            current_run.update().where(current_run.c.analysis == analysis).values(run_pk=run_pk)
        )

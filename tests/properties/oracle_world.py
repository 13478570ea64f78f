"""Many small catalogs in one database: planted once, and the same tables by hand as DataFrames.

A world is what `name` says: ``frame[frame.name == "w07"]``. Text differs in case and beyond ASCII, values
tie and are missing, and stored order is never the order of uid.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import Any

import pandas as pd
import sqlalchemy as sa

from micdb.catalog import results as r
from micdb.catalog import tables as t
from micdb.catalog.engine import writing

MOMENT = "2024-05-31T12:00:00.000000Z"
WORDS = ("HAADF", "haadf", "BF", "Z", "été", "a_b", "100%", 'x"y', "")
SAMPLES = ("S1", "s1", "Ä2", "S10", "b")
KINDS = ("vacancy", "Vacancy", "loop", "Lücke")
DATES = ("2024-05-01T10:00:00", "2024-05-31T12:00:00", "2023-12-31T23:59:59.5")
METHODS = ("Vickers", "vickers")
LOADS = (0.5, 2.0, 5.0)  # [N]
SIZES = (12, 8, 18, 5, 3, 12, 2, 8, 1, 0)
WORLDS = 40
LETTERS = "bAaBÉézZ_-%Ω"
IMAGE_COLUMNS = (
    "uid", "channel", "detector", "height", "width", "magnification", "intensity_min", "pixel_size",
    "colour", "sample", "acquired",
)  # fmt: skip
MATERIALS = {name: "WS2" if index % 2 else None for index, name in enumerate(SAMPLES)}
DEFECT_COLUMNS = ("uid", "kind", "score", "x_nm", "frame")


@dataclass(frozen=True)
class World:
    """The tables that pandas works on.

    Parameters
    ----------
    images
        One row per image of all worlds, with ``world`` and ``analysed``, the versions of ``hand``.
    defects
        ``image`` is the uid of theirs, ``version`` that of ``hand``.
    values
        Property values: ``owner`` is the name of a sample or the uid of an image.
    """

    images: pd.DataFrame
    defects: pd.DataFrame
    values: pd.DataFrame


def maybe(chance: random.Random, value: Any) -> Any:
    return None if chance.random() < 0.3 else value


def quarter(chance: random.Random) -> float:
    return chance.randint(-20, 20) / 4


def images() -> list[dict[str, Any]]:
    made = []
    for world in range(WORLDS):
        chance = random.Random(world)
        for index in range(SIZES[world % len(SIZES)]):
            uid = f"w{world:02d}{LETTERS[(5 * index) % len(LETTERS)]}{index}"
            made.append(
                {
                    "world": world, "uid": uid,
                    "channel": maybe(chance, chance.choice(WORDS)),
                    "detector": maybe(chance, chance.choice(WORDS[:4])),
                    "height": chance.choice((*range(1, 9), 60_000)), "width": chance.randint(0, 3),
                    "magnification": maybe(chance, quarter(chance)),
                    "intensity_min": maybe(chance, quarter(chance)),
                    "pixel_size": maybe(chance, chance.randint(1, 12) / 4),
                    "colour": chance.random() < 0.5, "sample": maybe(chance, chance.choice(SAMPLES)),
                    "acquired": maybe(chance, chance.choice(DATES)),
                    "analysed": tuple(version for version in "12" if chance.random() < 0.8),
                }
            )  # fmt: skip
    return made


def defects(of: list[dict[str, Any]]) -> list[dict[str, Any]]:
    chance, serial, made = random.Random(1), itertools.count(), []
    for image in of:
        for version in image["analysed"]:
            for _ in range(chance.randint(0, 3)):
                number = next(serial)
                made.append(
                    {
                        "image": image["uid"], "version": version, "world": image["world"],
                        "uid": f"{LETTERS[number % len(LETTERS)]}{number}",
                        "kind": chance.choice(KINDS), "score": maybe(chance, chance.randint(0, 4) / 4),
                        "x_nm": maybe(chance, quarter(chance)), "frame": chance.randint(0, 1),
                        "state": chance.choice(("detected", "accepted", "rejected")),
                    }
                )  # fmt: skip
    return made


def property_values(of: list[dict[str, Any]]) -> list[dict[str, Any]]:
    chance, made = random.Random(2), []
    for level, owners in (("sample", SAMPLES[:4]), ("image", [image["uid"] for image in of])):
        made += [
            {
                "level": level, "owner": owner, "value": chance.randint(0, 12) / 4,
                "sd": maybe(chance, chance.randint(1, 4) / 4), "retired": chance.random() < 0.2,
            }
            for owner in owners
            for _ in range(chance.randint(0, 3))
        ]  # fmt: skip
    measured = random.Random(4)  # a generator of its own, so that what was planted before stays
    for one in made:
        one["method"] = maybe(measured, measured.choice(METHODS))
        one["load_N"] = maybe(measured, measured.choice(LOADS))
        one["in_mN"] = measured.random() < 0.5
    stated = random.Random(5)
    for one in made:
        ends = (one["value"] - stated.randint(0, 4) / 4, one["value"] + stated.randint(0, 4) / 4)
        one["low"], one["high"] = ends if stated.random() < 0.6 else (None, None)
    return made


def tables() -> World:
    rows = images()
    return World(pd.DataFrame(rows), pd.DataFrame(defects(rows)), pd.DataFrame(property_values(rows)))


# ---------------------------------------------------------------------- planted


def plant(engine: sa.Engine) -> None:
    """Write all worlds into an empty catalog."""
    rows = images()
    with writing(engine) as connection:
        acquisition = _add(connection, t.acquisition, uid="a", source_sha256="0" * 64)
        held = _add(
            connection, t.object_, sha256="0" * 64, path="o", size=1, media_type="m", state="live",
            created_at=MOMENT,
        )  # fmt: skip
        material = _add(connection, t.material, uid="m", name="WS2")
        samples = {
            name: _add(
                connection,
                t.sample,
                uid=f"s{i}",
                name=name,
                material_pk=material if MATERIALS[name] else None,
            )
            for i, name in enumerate(SAMPLES)
        }
        shuffled = random.Random(3).sample(rows, len(rows))
        keys = {}
        for image in shuffled:
            plain = {name: image[name] for name in IMAGE_COLUMNS if name != "sample"}
            keys[image["uid"]] = _add(
                connection, t.micrograph, **plain, name=f"w{image['world']:02d}", acquisition_pk=acquisition,
                object_pk=held, sample_pk=samples.get(image["sample"]), pixel_hash="0" * 64, dtype="uint8",
                n_frames=1, axes=[], settings={}, problems=[], created_at=MOMENT,
            )  # fmt: skip
        _plant_runs(connection, rows, keys)
        _plant_values(connection, rows, {**keys, **samples})


def _plant_runs(connection: sa.Connection, rows: list[dict[str, Any]], keys: dict[str, int]) -> None:
    runs = {}
    for version in "12":
        model = _add(
            connection, r.model, uid=f"model{version}", name="hand", version=version,
            model_hash=version * 64, card={},
        )  # fmt: skip
        runs[version] = _add(
            connection, r.run, uid=f"run{version}", model_pk=model, run_key=version * 64, parameters={},
            software={}, device="cpu", created_at=MOMENT, actor="test",
        )  # fmt: skip
    connection.execute(r.current_run.insert().values(analysis="hand", run_pk=runs["1"]))
    done = [
        {"run_pk": runs[version], "micrograph_pk": keys[image["uid"]], "status": "done", "attempt": 1}
        for image in rows
        for version in image["analysed"]
    ]
    connection.execute(r.run_item.insert(), done)
    found = [
        {
            **{name: one[name] for name in ("uid", "kind", "score", "x_nm", "frame", "state")},
            "run_pk": runs[one["version"]], "micrograph_pk": keys[one["image"]],
        }
        for one in defects(rows)
    ]  # fmt: skip
    connection.execute(r.defect.insert(), found)


def _plant_values(connection: sa.Connection, rows: list[dict[str, Any]], keys: dict[str, int]) -> None:
    known = _add(connection, t.property_def, uid="p", name="hardness", kind="number", unit="GPa")
    for number, one in enumerate(property_values(rows)):
        owner = {"sample": "sample_pk", "image": "micrograph_pk"}[one["level"]]
        _add(
            connection, t.property_value, uid=f"v{number}", property_def_pk=known, level=one["level"],
            value=one["value"], sd=one["sd"], origin="sidecar", source_name="s.csv",
            natural_key=f"{number:064x}", created_at=MOMENT, retired_at=MOMENT if one["retired"] else None,
            method=one["method"], conditions=_conditions(one), low=one["low"], high=one["high"],
            **{owner: keys[one["owner"]]},
        )  # fmt: skip


def _conditions(one: dict[str, Any]) -> dict[str, Any] | None:
    """Return a load in one of two units, as sheets of two labs give it."""
    if one["load_N"] is None:
        return None
    unit, factor = ("mN", 1000.0) if one["in_mN"] else ("N", 1.0)
    return {"load": {"value": one["load_N"] * factor, "unit": unit}}


def _add(connection: sa.Connection, table: sa.Table, **values: Any) -> int:
    return int(connection.execute(table.insert().values(**values).returning(table.c.pk)).scalar_one())

"""What bringing in a sheet of properties costs, beside reading the same numbers with pandas and pint.

::

    python benchmarks/properties.py [DATABASE] [--rows 20000] [--rounds 3]

DATABASE is a new folder (one that is thrown away where it is left out) or the URL of an empty PostgreSQL
database. Each row has a sample (five rows each), hardness and modulus with standard deviations, a yield
strength with an interval, a number of measurements, a method, a load and a temperature; one load in ten has a
unit of its own. micdb checks every cell, converts, compares with what stands, and commits; pandas reads the
file and pint converts whole columns, in memory. Again: the same sheet, which changes nothing.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pint

import micdb
from micdb.catalog import schema
from micdb.catalog.engine import postgres_engine
from micdb.database import Database

SAMPLES = 5  # rows of each
PROPERTIES = 3
UNITS = {"HV": ("kgf/mm**2", "GPa"), "E": ("GPa", "GPa"), "Re": ("ksi", "MPa"), "T": ("degC", "K")}
MAP = """
sample = "sample"
[property.hardness]
column = "HV"
unit = "GPa"
sd = "HV_sd"
n = "n"
method = { column = "method" }
conditions = { load = { column = "load", unit = "N" }, temperature = { column = "T", unit = "degC" } }
[property.modulus]
column = "E"
unit = "GPa"
sd = "E_sd"
conditions = { temperature = { column = "T", unit = "degC" } }
[property.yield_strength]
column = "Re"
unit = "MPa"
low = "Re_low"
high = "Re_high"
conditions = { temperature = { column = "T", unit = "degC" } }
"""


def write_sheet(path: Path, rows: int, *, seed: int = 1) -> None:
    """Write a sheet of measurements."""
    rng = np.random.default_rng(seed)
    number = np.arange(rows)
    hardness, modulus, strength = rng.normal((2.4, 210, 400), (0.2, 5, 30), (rows, 3)).round(3).T
    load = np.where(number % 10 == 0, "5000 mN", rng.choice(["0.5", "5", "50"], rows))
    table = {
        "sample": [f"S{one // SAMPLES:05d}" for one in number], "HV": hardness,
        "HV_sd": (hardness / 20).round(4), "n": rng.integers(3, 20, rows),
        "method": rng.choice(["Vickers", "nanoindentation"], rows), "load": load,
        "T": rng.choice([23, 200, 500], rows), "E": modulus, "E_sd": (modulus / 50).round(4),
        "Re": strength, "Re_low": (strength - 20).round(3), "Re_high": (strength + 20).round(3),
    }  # fmt: skip
    pd.DataFrame(table).to_csv(path, index=False)


def by_pandas(path: Path) -> Any:
    """Read the sheet, and convert whole columns with pint."""
    registry: Any = pint.UnitRegistry(autoconvert_offset_to_baseunit=True)
    table = pd.read_csv(path)
    for column, (unit, wanted) in UNITS.items():
        table[column] = registry.Quantity(table[column].to_numpy(float), unit).to(wanted).magnitude
    return table


def create(place: Path | str) -> Database:
    """Make the database."""
    if "://" not in str(place):
        return micdb.init(place)
    engine = postgres_engine(str(place))
    schema.create(engine)
    return Database(Path(), engine)


def seconds(task: Callable[[], Any]) -> float:
    """Return how long a call takes [s]."""
    began = time.perf_counter()
    task()
    return time.perf_counter() - began


def main() -> None:
    """Print the times."""
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    parser.add_argument("database", nargs="?", help="new folder, or URL of an empty PostgreSQL database")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    values = arguments.rows * PROPERTIES
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        (home / "map.toml").write_text(MAP)
        for number in range(arguments.rounds):
            write_sheet(home / f"{number}.csv", arguments.rows, seed=number)
        with create(arguments.database or home / "lab.micdb") as db:
            for number in range(arguments.rounds):
                sheet = home / f"{number}.csv"
                taken = {
                    "new": seconds(lambda sheet=sheet: db.add_properties(sheet, home / "map.toml")),
                    "again": seconds(lambda sheet=sheet: db.add_properties(sheet, home / "map.toml")),
                    "pandas": seconds(lambda sheet=sheet: by_pandas(sheet)),
                }
                told = ", ".join(f"{what} {one:.2f} s" for what, one in taken.items())
                print(f"{values:,} values: {told}; {taken['new'] / values * 1e6:.0f} us a value", flush=True)


if __name__ == "__main__":
    main()

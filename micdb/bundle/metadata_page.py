"""docs/metadata.md, written from the tables in the code: ``python -m micdb.bundle.metadata_page``."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from importlib import import_module
from inspect import getsource
from pkgutil import iter_modules
from types import ModuleType

from micdb.bundle.crosswalk import CROSSWALK, Crossing
from micdb.ingest import readers
from micdb.ingest.metadata import Key

HEADING = """# Settings of instruments

Written by `make docs` from `micdb/bundle/crosswalk.py` and the tables of the readers; a test compares them.

Every reader maps what its vendor wrote to these names and units; the vendor's own metadata stays beside
them, untouched. Unknown is absent, never a default.

- **NXem**: path below the NXentry of `micdb export --as nxem`, in our unit. A group is written only where all
  that the definition demands in it is known; all settings stand in `/entry/micdb/settings` besides.
- **HyperSpy**: path in the metadata tree of `db.image(uid).to_hyperspy()`, with its unit where that is
  another. `{column}` is SEM or TEM (also for STEM and diffraction); images of other microscopes have no such
  node, and all settings stand in `original_metadata.micdb.settings` besides.

| setting | unit | NXem | HyperSpy |
|---|---|---|---|
"""
VENDORS = """
## Where they come from

The vendors' keys that feed each setting, by reader and table. A unit in brackets is that of a bare number in
the file; a unit written beside the value wins. Of several keys in one file the first that has a value counts.
Readers add what stands under no key: a place in a binary header, the column of a table.

| setting | vendor keys |
|---|---|
"""


def page() -> str:
    """Return the page."""
    keys = vendor_keys()
    crossings = "\n".join(_crossing(row) for row in CROSSWALK)
    vendors = "\n".join(f"| `{row.setting}` | {_vendors(keys.get(row.setting, {}))} |" for row in CROSSWALK)
    return f"{HEADING}{crossings}\n{VENDORS}{vendors}\n"


def vendor_keys() -> dict[str, dict[str, list[Key]]]:
    """Return every row of the readers' tables: setting -> table -> rows in order of preference."""
    found: defaultdict[str, defaultdict[str, list[Key]]] = defaultdict(lambda: defaultdict(list))
    for info in sorted(iter_modules(readers.__path__), key=lambda info: info.name):
        module = import_module(f"{readers.__name__}.{info.name}")
        for name, value in vars(module).items():
            if _defined(module, name):
                for key in _keys(value):
                    found[key.setting][_label(info.name, name)].append(key)
    return {setting: dict(tables) for setting, tables in found.items()}


def _defined(module: ModuleType, name: str) -> bool:
    """Return whether a module assigns a name itself; an imported table belongs to where it is written."""
    return re.search(rf"^{re.escape(name)}\b[^=\n]*=", getsource(module), re.MULTILINE) is not None


def _keys(value: object) -> Iterator[Key]:
    if isinstance(value, Key):
        yield value
    elif isinstance(value, Mapping):
        for child in value.values():
            yield from _keys(child)
    elif isinstance(value, tuple | list):
        for child in value:
            yield from _keys(child)


def _label(module: str, name: str) -> str:
    """Return how the page calls a table: ``tiff_sem fei`` for ``_FEI_KEYS`` of the module tiff_sem."""
    words = [word for word in name.lower().split("_") if word not in ("", "keys")]
    return " ".join([module, *words])


def _crossing(row: Crossing) -> str:
    path = row.hyperspy or ""
    path = f"Acquisition_instrument.{{column}}{path}" if path.startswith(".") else path
    unit = "keV" if path.endswith(".beam_energy") else row.hyperspy_unit
    hyperspy = f"`{path}`" + (f" [{unit}]" if unit else "") if path else ""
    nexus = f"`{row.nexus}`" if row.nexus else ""
    return f"| `{row.setting}` | {row.unit or ''} | {nexus} | {hyperspy} |"


def _vendors(tables: Mapping[str, list[Key]]) -> str:
    return "; ".join(f"{table}: {', '.join(_vendor(key) for key in keys)}" for table, keys in tables.items())


def _vendor(key: Key) -> str:
    written = key.vendor.replace("|", "\\|")
    return f"`{written}`" + (f" [{key.unit}]" if key.unit else "")


if __name__ == "__main__":
    sys.stdout.write(page())

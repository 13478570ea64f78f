"""Optional packages: the module, or an error that is the install line."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from micdb.errors import MissingExtraError

# import name -> the extra of pyproject.toml that brings it
EXTRAS = {
    "torch": "embed",
    "safetensors": "embed",
    "transformers": "hub",
    "rsciio": "em",
    "av": "movies",
    "nd2": "nd2",
    "watchdog": "watch",
    "xarray": "xarray",
    "polars": "polars",
    "psycopg": "postgres",
    "fastapi": "web",
    "dask": "dask",
    "ase": "simulate",
}


def require(module: str) -> ModuleType:
    """Return an optional module.

    Raises
    ------
    MissingExtraError
        It is not installed; the message is the command that installs it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        extra = EXTRAS.get(module.partition(".")[0])
        package = f"'micdb[{extra}]'" if extra else module.partition(".")[0]
        raise MissingExtraError(f"this needs the package {module!r}: pip install {package}") from error

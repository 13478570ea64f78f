"""``micdb doctor``: what is installed, what the machine has, and the command that mends what is missing."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from micdb.catalog.schema import HEAD
from micdb.extras import EXTRAS
from micdb.ingest.reader import readers
from micdb.populate.extractor import extractors
from micdb.provenance import package_version

PACKAGES = ("numpy", "pandas", "SQLAlchemy", "h5py", "duckdb", "pyarrow", "faiss-cpu", "scikit-learn")


def examine() -> dict[str, dict[str, Any]]:
    """Return facts under the titles micdb, packages, extras and machine; nothing heavy is imported."""
    return {
        "micdb": {
            "version": package_version(),
            "schema": HEAD,
            "readers": ", ".join(readers().names()),
            "extractors": ", ".join(extractors().names()),
        },
        "packages": {name: package_version(name) for name in PACKAGES},
        "extras": {module: _extra(module, extra) for module, extra in EXTRAS.items()},
        "machine": _machine(),
    }


def _extra(module: str, extra: str) -> str:
    return "installed" if find_spec(module) else f"not installed; pip install 'micdb[{extra}]'"


def _machine() -> dict[str, Any]:
    gpu = _has_nvidia_gpu()
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(),
        "free disk here [GB]": round(shutil.disk_usage(Path.cwd()).free / 1e9, 1),
        "NVIDIA GPU": "yes" if gpu else "no",
    }
    if gpu and find_spec("faiss") and package_version("faiss-gpu") == "unknown":
        facts["faiss on GPU"] = "no; pip uninstall -y faiss-cpu && pip install faiss-gpu"
    return facts


def _has_nvidia_gpu() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None

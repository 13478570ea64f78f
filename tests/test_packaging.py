"""The layout of docs/decisions/0001: four folders at the top, one import name, nothing leaks."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("ingest", "embed", "analysis", "migrations")
TOOL = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def packages_on_disk() -> set[str]:
    found = {"micdb"}
    for top, name in [("micdb", "micdb"), *((folder, f"micdb.{folder}") for folder in FOLDERS)]:
        for init in (ROOT / top).rglob("__init__.py"):
            inner = init.parent.relative_to(ROOT / top).parts
            if not (top == "micdb" and inner and inner[0] in FOLDERS):
                found.add(".".join([name, *inner]))
    return found


def test_every_package_is_declared():
    assert set(TOOL["packages"]) == packages_on_disk()


def test_links_point_at_the_top_folders():
    for folder in FOLDERS:
        link = ROOT / "micdb" / folder
        assert link.is_symlink()
        assert os.readlink(link) == f"../{folder}"


@pytest.mark.parametrize("folder", ["ingest", "embed", "analysis"])
def test_a_folder_refuses_its_bare_name(folder):
    run = subprocess.run([sys.executable, "-c", f"import {folder}"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 1
    assert f"installed as micdb.{folder}: import it by that name" in run.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Build sdist, then wheel from it, and install the wheel beside this environment's dependencies."""
    work = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(work), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = work.glob("*.whl")
    target = work / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    return target


def test_a_wheel_holds_the_weights_and_their_cards(installed):
    shipped = {path.name for path in (ROOT / "embed" / "weights").iterdir()}
    assert shipped
    assert {path.name for path in (installed / "micdb" / "embed" / "weights").iterdir()} == shipped


def test_a_wheel_beside_folders_of_the_same_names(installed, tmp_path):
    for name in (*FOLDERS, "tests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('not micdb')")
    check = (
        "import importlib, pathlib, pkgutil, micdb\n"
        f"assert pathlib.Path(micdb.__file__).is_relative_to({str(installed)!r}), micdb.__file__\n"
        "names = [m.name for m in pkgutil.walk_packages(micdb.__path__, 'micdb.')]\n"
        "left = ('micdb.migrations.', 'micdb.__main__', 'micdb.testing')\n"
        "names = [n for n in names if not n.startswith(left)]\n"
        "[importlib.import_module(n) for n in names]\n"
        "assert len(names) > 40, names\n"
        "micdb.init('lab.micdb')\n"
    )
    env = {**os.environ, "PYTHONPATH": str(installed)}
    subprocess.run([sys.executable, "-c", check], cwd=tmp_path, env=env, check=True)
    command = [sys.executable, "-m", "micdb", "query", "width > 0", "--db", "lab.micdb", "--json"]
    run = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert '"rows": []' in run.stdout


def test_only_micdb_is_installed(installed):
    tops = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert tops - {"bin"} == {"micdb"}


def test_the_makefile_asks_for_a_usable_python():
    assert venv  # the Makefile's question: a Python without venv is passed over
    text = (ROOT / "Makefile").read_text()
    assert "(3, 11) <= sys.version_info[:2] <= (3, 13)" in text
    spec = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert spec == ">=3.11,<3.14"

"""The docs cannot lie: every block of the README runs, and everything public is documented."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import micdb
from micdb.ingest.sheet import read_map

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language, text=README):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("readme")


def test_the_readme_runs(folder):
    """The shell block, then the Python block on the database it made, as a new user would."""
    (shell,) = blocks("sh")
    bin_folder = str(Path(sys.executable).parent)
    env = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", shell], cwd=folder, env=env, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    (python,) = blocks("python")
    run = subprocess.run([sys.executable, "-c", python], cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "GPa" in run.stdout
    page = "".join(blocks("python", (ROOT / "docs" / "query.md").read_text()))  # on the same database
    run = subprocess.run([sys.executable, "-c", page], cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    (page,) = blocks("python", (ROOT / "docs" / "citing.md").read_text())
    run = subprocess.run([sys.executable, "-c", page], cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "5 rows, 5 images, 1 run" in run.stdout
    assert "Welch" in (folder / "bundle" / "references.bib").read_text()


def test_the_page_of_atoms_runs(tmp_path):
    (page,) = blocks("python", (ROOT / "docs" / "atoms.md").read_text())
    run = subprocess.run([sys.executable, "-c", page], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert re.search(r"sheet +\d+ +2$", run.stdout, re.MULTILINE), run.stdout


def test_the_page_of_linking_runs(tmp_path):
    page = "".join(blocks("python", (ROOT / "docs" / "linking.md").read_text()))
    run = subprocess.run([sys.executable, "-c", page], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "explains" in run.stdout
    assert (tmp_path / "fit.html").exists()


def test_the_page_of_properties_runs(tmp_path):
    page = "".join(blocks("python", (ROOT / "docs" / "properties.md").read_text()))
    run = subprocess.run([sys.executable, "-c", page], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "16 values of 2 samples" in run.stdout
    assert re.search(r"A1 +2\.41 +0\.08 +1$", run.stdout, re.MULTILINE), run.stdout


def test_the_page_of_annotations_runs(tmp_path):
    (page,) = blocks("python", (ROOT / "docs" / "annotations.md").read_text())
    run = subprocess.run([sys.executable, "-c", page], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "Bob" in run.stdout
    assert "180 pixels of cementite" in run.stdout


def test_the_page_of_microstructures_runs(tmp_path):
    page = "".join(blocks("python", (ROOT / "docs" / "microstructures.md").read_text()))
    run = subprocess.run([sys.executable, "-c", page], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert re.search(r"^(9|10|11) images of pearlite$", run.stdout, re.MULTILINE), run.stdout
    assert "16 are labelled, 4 are not" in run.stdout
    assert "void_diameter" in run.stdout


def test_the_page_of_exchange_runs(tmp_path):
    page = "".join(blocks("python", (ROOT / "docs" / "exchange.md").read_text()))
    run = subprocess.run([sys.executable, "-c", page], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "of 1 new images and 1 results" in run.stdout
    assert "\nFalse\n" in run.stdout
    assert "\n0 images to compute" in run.stdout


def test_the_page_of_restoration_runs(tmp_path):
    (page,) = blocks("python", (ROOT / "docs" / "restoration.md").read_text())
    run = subprocess.run([sys.executable, "-c", page], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    before, after = re.search(r"squared error (\S+) then (\S+)", run.stdout).groups()
    assert float(after) < float(before) / 5


def test_the_page_of_defects_runs(tmp_path):
    (page,) = blocks("python", (ROOT / "docs" / "defects.md").read_text())
    run = subprocess.run([sys.executable, "-c", page], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert all(word in run.stdout for word in ("Si1C4", "V1", "5577")), run.stdout


def test_the_page_of_the_library_runs(tmp_path):
    (page,) = blocks("python", (ROOT / "docs" / "library.md").read_text())
    run = subprocess.run([sys.executable, "-c", page], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert re.search(r"Si1C3 +1[0-3] ", run.stdout), run.stdout  # twelve are planted
    assert (tmp_path / "supplement" / "figure-1.pdf").exists()


def test_the_map_in_the_readme_is_a_map(tmp_path):
    (text,) = blocks("toml")
    path = tmp_path / "map.toml"
    path.write_text(text)
    assert read_map(path).columns


def test_public_names_are_listed_and_documented():
    assert micdb.__all__ == sorted(micdb.__all__, key=lambda name: (not name[0].isupper(), name))
    for name in micdb.__all__:
        if not name.startswith("__"):
            assert inspect.getdoc(getattr(micdb, name)), name
    with pytest.raises(AttributeError, match="has no attribute 'opne'; it has"):
        _ = micdb.opne


def test_every_command_is_in_the_readme_or_documented_by_help():
    from micdb.cli.app import app

    for command in app.registered_commands:
        assert command.callback.__doc__, command.callback.__name__


def test_entry_points_resolve_to_documented_classes():
    from micdb.ingest.reader import readers
    from micdb.populate.extractor import extractors

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert set(readers().names()) >= set(project["micdb.readers"])
    assert set(extractors().names()) >= set(project["micdb.extractors"])
    for name, plugin in [*readers(), *extractors()]:
        assert inspect.getdoc(plugin), name


def test_links_in_the_docs_lead_somewhere():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(
            r"`((?:docs|micdb|ingest|embed|analysis|benchmarks|tests|changes)/[\w./-]+)`", page.read_text()
        ):
            assert list(ROOT.glob(f"{target.rstrip('/')}*")), f"{page.name} names {target}"

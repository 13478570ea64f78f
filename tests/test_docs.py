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


def test_the_readme_runs(page, tmp_path):
    """The shell block, then the Python block, as a new user would; then pages on what they left."""
    (shell,) = blocks("sh")
    bin_folder = str(Path(sys.executable).parent)
    env = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", shell], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    (python,) = blocks("python")
    run = subprocess.run([sys.executable, "-c", python], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "GPa" in run.stdout
    page("query.md")
    assert "5 rows, 5 images, 1 run" in page("citing.md")
    assert "Welch" in (tmp_path / "bundle" / "references.bib").read_text()
    said = page("study.md")
    assert re.search(r"\d+ rows came from Lab A, of 32 new images and 32 results", said), said
    assert "\n0 images to compute" in said
    assert "Not comparable as they are, in texture@32nm: Lab A and Lab B." in said
    assert re.search(r"Ridge regression explains 9\d % of the variance of hardness in unseen groups", said), (
        said
    )
    assert "64 rows, 64 images, 1 runs cited in hardness-study" in said


def test_the_page_of_atoms_runs(page):
    said = page("atoms.md")
    assert re.search(r"sheet +\d+ +2$", said, re.MULTILINE), said


def test_the_page_of_linking_runs(page, tmp_path):
    assert "explains" in page("linking.md")
    assert (tmp_path / "fit.html").exists()


def test_the_page_of_properties_runs(page):
    said = page("properties.md")
    assert "16 values of 2 samples" in said
    assert re.search(r"A1 +2\.41 +0\.08 +1$", said, re.MULTILINE), said


def test_the_page_of_annotations_runs(page):
    said = page("annotations.md")
    assert "Bob" in said
    assert "180 pixels of cementite" in said


def test_the_page_of_microstructures_runs(page):
    said = page("microstructures.md")
    assert re.search(r"^(9|10|11) images of pearlite$", said, re.MULTILINE), said
    assert "16 are labelled, 4 are not" in said
    assert "void_diameter" in said


def test_the_page_of_exchange_runs(page):
    said = page("exchange.md")
    assert "of 1 new images and 1 results" in said
    assert "\nFalse\n" in said
    assert "\n0 images to compute" in said


def test_the_page_of_restoration_runs(page):
    before, after = re.search(r"squared error (\S+) then (\S+)", page("restoration.md")).groups()
    assert float(after) < float(before) / 5


def test_the_page_of_defects_runs(page):
    said = page("defects.md")
    assert all(word in said for word in ("Si1C4", "V1", "5577")), said


def test_the_page_of_the_library_runs(page, tmp_path):
    said = page("library.md")
    assert re.search(r"Si1C3 +1[0-3] ", said), said  # twelve are planted
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

"""House rules that no linter knows: sizes, names, and words that must not appear."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOPS = ("micdb", "ingest", "embed", "analysis", "migrations")
SOURCES = sorted(
    path
    for top in TOPS
    for path in (ROOT / top).rglob("*.py")
    if not (top == "micdb" and path.relative_to(ROOT).parts[1] in TOPS)
)
REVISIONS = ROOT / "migrations" / "versions"  # frozen history: its length is the schema's


def name_of(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_file_and_function_sizes(path):
    text = path.read_text()
    assert text.count("\n") <= 400, "split the file"
    if path.parent == REVISIONS:
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = node.body[0] if ast.get_docstring(node, clean=False) is not None else None
            length = node.end_lineno - node.lineno + 1
            if docstring is not None:
                length -= docstring.end_lineno - docstring.lineno + 1
            assert length <= 50, f"{node.name} has {length} lines: split it"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_public_functions_take_few_positional_arguments(path):
    if path.parent.name == "cli":  # commands are called by option names
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            positional = [
                a for a in (*node.args.posonlyargs, *node.args.args) if a.arg not in ("self", "cls")
            ]
            assert len(positional) <= 5, f"{node.name}: make some keyword-only"


def test_no_grab_bags():
    grab_bags = {"utils.py", "helpers.py", "common.py", "misc.py"}
    assert not [path for path in SOURCES if path.name in grab_bags]


def test_no_leftovers():
    for path in SOURCES:
        for word in ("TODO", "FIXME", "XXX", "raise NotImplementedError"):
            assert word not in path.read_text(), f"{word} in {path}"


def test_a_change_fragment_is_well_formed():
    run = subprocess.run(
        [sys.executable, "-m", "towncrier", "build", "--draft", "--version", "0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr

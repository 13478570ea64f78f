"""``micdb compact``, as a user types it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from micdb.cli.app import app


@pytest.fixture
def said(lab):
    lab.engine.dispose()

    def say(*words: str) -> str:
        done = CliRunner().invoke(app, ["compact", "--db", str(lab.root), *words], catch_exceptions=False)
        assert done.exit_code == 0
        return done.output

    return say


def test_it_says_what_it_did(said):
    lines = said().splitlines()
    assert lines[0].startswith("parts: 8 -> 2 (0.0 -> 0.0 MB)")
    assert lines[1] == "loose files: 20 -> 14; 0 went into packs, of which there are 0"


def test_it_speaks_json_and_takes_sizes(said):
    found = json.loads(said("--json", "--small", "1", "--pack", "1", "--part", "1", "--memory", "64"))
    assert (found["parts_before"], found["parts_after"], found["packed"], found["skipped"]) == (8, 2, 0, [])
    assert json.loads(said("--unpack", "--json")) == {"unpacked": 0}
    assert said("--purge").splitlines()[0].startswith("parts: 2 -> 2")

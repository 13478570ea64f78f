"""docs/simulation.md: its blocks run, and it names every family and defect."""

from __future__ import annotations

import re
from pathlib import Path

from micdb.embed.simulate import dichalcogenides, graphene, metals, perovskites, silicon
from micdb.embed.simulate.microstructures.scenes import SCENES

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "simulation.md").read_text(encoding="utf-8")


def test_the_blocks_run(capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    names = {}
    for block in blocks:
        exec(block, names)
    out = capsys.readouterr().out
    assert "(256, 256)" in out
    assert out.count("substitution") == 1
    assert len(out.splitlines()) == 8
    assert "(4, 256, 256)" in out


def test_every_family_is_named():
    for name in (*dichalcogenides.LAYERS, *silicon.SEMICONDUCTORS):
        assert name in PAGE
    for module in (graphene, dichalcogenides, metals, perovskites, silicon):
        assert f"`{module.__name__.rpartition('.')[2]}`" in PAGE
    for name in graphene.DEFECTS:
        if name.startswith("Si"):
            assert name in PAGE


def test_every_scene_is_named():
    for kind in SCENES:
        assert f"`{kind}`" in PAGE

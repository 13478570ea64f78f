"""The page on defects in STM images runs as it is printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[3] / "docs" / "stm.md"


def test_the_page_of_stm_defects_runs(tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    code = "\n".join([*blocks, "print(im.defects.count(), set(im.defects.to_pandas().kind))"])
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "small-" in run.stdout
    assert "{'Se vacancy'}" in run.stdout

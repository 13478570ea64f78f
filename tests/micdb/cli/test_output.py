"""Tables on terminals, which have a width, and in pipes, which have none."""

from __future__ import annotations

from io import StringIO

import pandas as pd
import pytest
from rich.console import Console

from micdb.cli import output

FRAME = pd.DataFrame({"name": ["graphene", "MoS2"], "pixel_size": [0.02, 0.5], "material": ["C" * 30, "b"]})
FRAME.attrs["units"] = {"pixel_size": "nm"}


def printed(monkeypatch, *, width, cut):
    """Return what a terminal of a width shows, its lines joined: text may be wrapped."""
    screen = Console(file=StringIO(), width=width, force_terminal=True, color_system=None)
    monkeypatch.setattr(output, "console", lambda: screen)
    output.print_frame(FRAME, "table", cut=cut)
    return " ".join(screen.file.getvalue().split())


@pytest.mark.parametrize(("width", "left_out"), [(100, 0), (59, 0), (58, 1), (27, 1), (26, 2), (9, 2)])
def test_a_terminal_shows_the_columns_that_fit_and_says_how_to_see_the_others(monkeypatch, width, left_out):
    names = ["name", "pixel_size [nm]", "material"]
    shown = printed(monkeypatch, width=width, cut=True)
    assert [name in shown for name in names] == [index < 3 - left_out for index in range(3)]
    told = f"2 rows; {left_out} more column{'s' * (left_out > 1)}: --columns names some, --format csv has all"
    assert shown.endswith(told if left_out else "2 rows")


def test_what_was_asked_for_is_shown_whole(monkeypatch):
    asked = printed(monkeypatch, width=30, cut=False)
    assert "material" in asked
    assert "more columns" not in asked


def test_a_pipe_has_no_width(capsys):
    output.print_frame(FRAME, "table", cut=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["graphene", "0.02", "C" * 30]
    assert lines[-1] == "2 rows"

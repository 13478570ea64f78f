"""Names of files: for people, and for every file system."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micdb.bundle.names import numbered, readable, stems


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("α-Fe, 5 µm (overview) #3 & more", "alpha-Fe_5_um_overview_3_more"),
        ("../../etc/passwd", "etc_passwd"),
        ("C:\\data\\scan.dm3", "C_data_scan.dm3"),
        ("Größe 1.5 Å", "Grosse_1.5_A"),
        ("25 °C", "25_degC"),
        ("写真", "image"),
        ("..", "image"),
        ("", "image"),
        ("x" * 300, "x" * 80),
        ("-rf", "rf"),
    ],
)
def test_titles(title, expected):
    assert readable(title) == expected


@given(st.lists(st.text(), max_size=6))
def test_any_title_gives_a_safe_unique_name(titles):
    uids = [f"01900000-0000-7000-8000-{number:012x}" for number in range(len(titles))]
    made = stems(zip(uids, titles, strict=True))
    for stem in made:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", stem)
        assert len(stem) < 130
    assert len({stem.lower() for stem in made}) == len(made)


def test_one_title_and_one_tail_take_the_whole_uid():
    uids = ["0190-1-aaaabbbb", "0190-2-aaaabbbb", "0190-3-ccccdddd"]
    assert stems((uid, title) for uid, title in zip(uids, ("Grain", "grain", "grain"), strict=True)) == [
        "Grain-0190-1-aaaabbbb",
        "grain-0190-2-aaaabbbb",
        "grain-ccccdddd",
    ]


def test_frames_are_numbered_so_that_they_sort():
    assert numbered("a", 1, ".png") == ["a.png"]
    assert numbered("a", 11, ".png")[::10] == ["a_00.png", "a_10.png"]
    assert numbered("a", 10, ".png")[-1] == "a_9.png"

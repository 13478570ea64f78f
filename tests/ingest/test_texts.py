"""Whatever a reader says, every catalog can keep it, and what had to be changed is told."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from micdb.catalog import tables
from micdb.catalog.engine import reading, writing
from micdb.catalog.rows import Finder, add
from micdb.ingest.arrival import Image
from micdb.ingest.image_rows import add_micrograph, columns
from micdb.ingest.texts import fit
from micdb.records import Axis, Pixels, Quantity, Scan, Source


def scan(**facts) -> Scan:
    load = Pixels((4, 5), "uint8", lambda: np.zeros((4, 5), np.uint8))
    axes = (Axis("y", 4, 1.0, unit="nm"), Axis("x", 5, 1.0, unit="nm"))
    plain = {"name": "a", "source": Source("/data/a.xyz", "xyz", "plug-in", "1")}
    return Scan(load, facts.pop("axes", axes), **{**plain, **facts})


def test_a_sound_scan_is_left_alone():
    sound = scan(
        name="é😀 \\u0000", channel="HAADF", settings={"bias": Quantity(1.0, "V", raw="\\ud800")},
        original={"a": ["\\u0000", "😀", 1.5, None, {"b": True}]}, problems=("x",),
    )  # fmt: skip
    assert fit(sound) is sound


def test_what_no_catalog_keeps_is_taken_out_and_told():
    found = fit(
        scan(
            name="a\0b", channel="\ud800x", acquired_raw="2020\0", intensity_unit="n\0A",
            settings={
                "operator": Quantity("Ada\0", raw="OP = Ada\0"),
                "bias": Quantity(math.nan, "V"),
                "magnification": Quantity(math.inf),
                "dwell_time": Quantity(1.0, "s"),
            },
            original={"k\0": "v\0", "n": math.nan, "deep": [{"x": "\udcff"}], "bytes": b"\x00\x01"},
            axes=(Axis("y", 4, 1.0, unit="n\0m"), Axis("x", 5)), problems=("bad \0 sign",),
        )
    )  # fmt: skip
    assert (found.name, found.channel, found.acquired_raw, found.intensity_unit) == ("ab", "?x", "2020", "nA")
    assert found.settings["operator"] == Quantity("Ada", raw="OP = Ada")
    assert set(found.settings) == {"operator", "dwell_time"}
    assert found.original == {"k": "v", "n": "nan", "deep": [{"x": "?"}], "bytes": "\x01"}
    assert found.axes[0].unit == "nm"
    assert found.problems[0] == "bad  sign"
    told = "\n".join(found.problems)
    for word in (
        "name: char",
        "channel: char",
        "operator: char",
        "bias unknown: it would be nan",
        "original metadata",
    ):
        assert word in told


wild = st.text(st.sampled_from("a\0\ud800\udfff\\u é😀"), max_size=6)


@pytest.fixture
def engine(tmp_path, new_catalog):
    return new_catalog(tmp_path)


def test_every_catalog_keeps_what_is_left(engine):
    wild_scan = scan(
        name="a\0\ud800", channel="\udfff",
        settings={
            "operator": Quantity("\0Ada"), "instrument": Quantity("T\0"), "bias": Quantity(math.nan, "V"),
        },
        original={"\0": ["\ud800", math.inf]}, problems=("\0",),
    )  # fmt: skip
    with writing(engine) as connection:
        fit_scan = fit(wild_scan)
        facts = columns(Finder(connection), Image(fit_scan), None)
        recording = add(connection, tables.acquisition, {"started": None})
        pk = add_micrograph(connection, fit_scan, {**facts, "acquisition_pk": recording})
        row = {
            "uid": "u", "micrograph_pk": pk, "position": 0, "file_name": "a", "path": "/a", "size": 1,
            "format": "xyz", "reader": "r", "reader_version": "1", "ingested_at": "t",
        }  # fmt: skip
        connection.execute(tables.source.insert(), {**row, "original": fit_scan.original})
    with reading(engine) as connection:
        found = connection.execute(sa.select(tables.micrograph)).one()
        assert (found.name, found.channel) == ("a?", "?")
        assert "bias unknown: it would be nan" in found.problems
        assert connection.scalar(sa.select(tables.person.c.name)) == "Ada"
        assert connection.scalar(sa.select(tables.source.c.original)) == {"": ["?", "inf"]}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(wild, st.dictionaries(wild, wild, max_size=3))
def test_what_is_left_is_text_and_fit_again(name, original):
    once = fit(scan(name=name, original=original))
    for text in (once.name, json.dumps(once.original, ensure_ascii=False)):
        assert "\0" not in text
        text.encode()  # no lone surrogates
    assert fit(once) is once
    if once.name != name:
        assert once.problems

"""The table of names: whole, in units that convert, and the page that shows it."""

from __future__ import annotations

from pathlib import Path

from micdb import units
from micdb.bundle.crosswalk import CROSSWALK, crossed
from micdb.bundle.metadata_page import page, vendor_keys
from micdb.records import SETTINGS, Quantity

ROOT = Path(__file__).resolve().parents[3]


def test_every_setting_has_one_row_in_the_order_of_the_vocabulary():
    assert [row.setting for row in CROSSWALK] == list(SETTINGS)


def test_units_convert_and_places_are_given_once():
    for row in CROSSWALK:
        if row.hyperspy_unit is not None:
            assert units.compatible(row.hyperspy_unit, row.unit)
    for places in ([row.nexus for row in CROSSWALK], [row.hyperspy for row in CROSSWALK]):
        known = [place for place in places if place is not None]
        assert len(set(known)) == len(known)


def test_values_come_in_our_unit_and_nonsense_is_left_out():
    settings = {
        "accelerating_voltage": Quantity(5.0, "kV"),
        "working_distance": Quantity(5.0, "V"),
        "detector": Quantity("InLens"),
    }
    assert [(row.setting, value) for row, value in crossed(settings)] == [
        ("accelerating_voltage", 5000.0),
        ("detector", "InLens"),
    ]


def test_the_readers_tables_are_found_once_and_where_they_are_written():
    keys = vendor_keys()
    assert set(keys) <= set(SETTINGS)
    voltage = keys["accelerating_voltage"]
    assert "hyperspy_tree" in voltage
    assert not any(table.startswith("rosettasciio") for table in voltage)  # it imports that table
    assert [key.vendor for key in keys["bias"]["nanonis"]] == ["BIAS", "Bias>Bias (V)"]


def test_the_page_is_the_tables():
    written = (ROOT / "docs" / "metadata.md").read_text(encoding="utf-8")
    assert written == page(), "run: make docs"

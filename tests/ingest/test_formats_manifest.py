"""Real files of other people: every fact of independent readers, field by field, and docs/formats.md.

The facts stand in the manifest beside the real files (see its own README); `conformance` compares, and
`conformance_differences` explains where another reader and micdb rightly differ.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from micdb import units
from micdb.errors import MicdbError, MissingExtraError, NotAnImageError
from micdb.ingest.reader import readers
from micdb.ingest.sniff import open_scans

sys.path.insert(0, str(Path(__file__).parent))  # the modules beside this one

import conformance
import conformance_claims
import conformance_page
from conformance_by_hand import BY_HAND
from conformance_claims import Claim, six_digits
from conformance_differences import DIFFERENCES, JOINED, PAIRS, REFUSED

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "formats.md"

real_files = pytest.mark.skipif(
    not conformance.ITEMS, reason="real data (../shared/data) is not beside this checkout"
)
each_item = pytest.mark.parametrize(
    "number", range(len(conformance.ITEMS)), ids=[item["id"] for item in conformance.ITEMS]
)


@pytest.fixture
def report(number):
    found = conformance.report(number)
    if isinstance(found.refusal, MissingExtraError):
        pytest.skip(str(found.refusal))
    return found


@pytest.fixture
def all_reports():
    if not conformance.ITEMS or conformance.missing_extras():
        pytest.skip("needs the real data and every extra")
    return list(conformance.reports())


@real_files
@each_item
def test_every_fact_of_an_item_is_equal_or_differs_as_explained(number, report):
    name = report.item["open"]
    if name in REFUSED:
        kind, reason = REFUSED[name]
        assert type(report.refusal).__name__ == kind
        assert re.search(reason, str(report.refusal)), report.refusal
        return
    assert report.refusal is None
    assert report.scans
    wrong = [check for check in report.checks if check.outcome == "wrong"]
    assert not wrong, "\n".join(f"{check.claim}: micdb says {check.ours!r}" for check in wrong)
    assert report.checks or report.item["expected"]["facts"] is None


@real_files
@each_item
def test_every_image_of_an_item_is_compared(number, report):
    if report.refusal is not None or not (report.item["expected"]["facts"] or {}).get("images"):
        return
    shapes = [check for check in report.checks if check.claim.field == "shape"]
    assert len({check.claim.image for check in shapes}) >= report.images > 0
    assert {check.claim.field for check in report.checks} & {"min", "first frame min"}


@real_files
@each_item
def test_nothing_is_said_that_neither_a_reader_nor_a_look_into_the_file_confirms(number, report):
    found, expected = conformance.unclaimed(report), BY_HAND.get(report.item["open"], {})
    assert set(found) == set(expected)
    for name, value in expected.items():
        if isinstance(value, float):
            assert six_digits(value, found[name]), name
        else:
            assert found[name] == value, name


@real_files
@each_item
def test_the_comparison_would_notice_a_wrong_fact(number, report):
    """Every claim, changed a little, is wrong: an explanation excuses exactly one difference."""
    pictures = conformance.Pictures(report.scans, len(report.scans))
    for check in report.checks:
        claim = check.claim
        if claim.image >= len(report.scans) or _says_no_scale(claim):
            continue
        changed = claim._replace(value=_changed(claim))
        assert conformance.compare(report.item["open"], changed, pictures).outcome == "wrong", changed


def _says_no_scale(claim):
    return claim.field.startswith("step") and units.known(claim.unit) is None


def _changed(claim):
    if isinstance(claim.value, int | float):
        return claim.value * 1.001 or 1
    if isinstance(claim.value, tuple):
        return (*claim.value[:-1], claim.value[-1] + 7)
    if claim.field == "date":
        later = (datetime.fromisoformat(claim.value) + timedelta(days=1, seconds=1)).isoformat()
        return later if "T" in claim.value else later.partition("T")[0]
    return "K" if claim.field == "unit" else "changed"


@pytest.mark.parametrize(
    ("theirs", "ours", "equal"),
    [
        (0.168675, 0.16867469879, True),
        (0.168675, 0.168674, False),
        (-415826.0, -415826.4, True),
        (-415826.0, -415827.0, False),
        (0.0, 0.0, True),
        (0.0, 1e-30, False),
        (1.0, 1.0000051, False),
        (float("nan"), float("nan"), False),
    ],
)
def test_numbers_are_equal_to_six_digits(theirs, ours, equal):
    assert six_digits(theirs, ours) is equal


@pytest.mark.parametrize(
    ("claim", "ours", "equal"),
    [
        (Claim("a", 0, "step x", 1.0, ""), None, True),
        (Claim("a", 0, "step x", 1.0, "pix"), None, True),
        (Claim("a", 0, "step x", 1.0, "pix"), 1.0, False),
        (Claim("a", 0, "step x", 1.0, "nm"), None, False),
        (Claim("a", 0, "date", "2016-05-16"), "2016-05-16T16:03:27", True),
        (Claim("a", 0, "date", "2016-05-16T16:03:27"), "2016-05-16T16:03:27+00:00", False),
        (Claim("a", 0, "channel", "Z (Forward)"), "Z forward", True),
        (Claim("a", 0, "channel", "Z (Forward)"), "Z backward", False),
        (Claim("a", 0, "unit", "m"), "nm", True),
        (Claim("a", 0, "unit", "m"), "V", False),
    ],
)
def test_what_counts_as_the_same(claim, ours, equal):
    assert conformance.same(claim, ours) is equal


def test_every_explanation_is_needed(all_reports):
    used = {id(check.difference) for report in all_reports for check in report.checks if check.difference}
    assert [row for row in DIFFERENCES if id(row) not in used] == []
    opened = {report.item["open"] for report in all_reports}
    assert set(PAIRS) | set(JOINED) | set(REFUSED) | set(BY_HAND) <= opened
    refused = {report.item["open"] for report in all_reports if report.refusal is not None}
    assert refused == set(REFUSED)


@real_files
def test_every_key_of_the_manifest_is_compared_or_left_out_for_a_reason():
    keys = {key for item in conformance.ITEMS for key in item["expected"]["facts"] or {}}
    assert set(conformance_claims.NO_CLAIM) <= keys
    assert all(conformance_claims.NO_CLAIM.values())


def test_tested_formats_are_those_that_an_item_proves(all_reports):
    proven = {(scan.source.reader, scan.source.format) for report in all_reports for scan in report.scans}
    flagged = {(name, known.name) for name, reader in readers() for known in reader.formats if known.tested}
    assert flagged - {("hdf5", "micdb")} == proven  # micdb is itself the maker of its own files


def test_the_page_is_what_the_readers_give(all_reports):
    assert PAGE.read_text() == conformance_page.page(), "make docs writes it anew"


def test_the_page_names_no_path_of_this_machine():
    assert str(ROOT.parent) not in PAGE.read_text()


def test_the_page_is_kept_where_it_cannot_be_written(tmp_path, monkeypatch, capsys):
    page = tmp_path / "formats.md"
    page.write_text("as it was")
    monkeypatch.setattr(conformance, "ITEMS", [])
    conformance_page.main(page)
    assert page.read_text() == "as it was"
    assert "is kept: the real files" in capsys.readouterr().err


@real_files
def test_every_file_of_the_collection_gives_scans_or_a_micdb_error():
    """Parts and sidecars too: nothing but a `MicdbError`, and never a promise that is not kept."""
    outcomes = Counter()
    for file in sorted(conformance.FOLDER.rglob("*")):
        if not file.is_file():
            continue
        try:
            for scan in open_scans(file):
                frame = next(scan.pixels.frames(colour=scan.colour))
                assert frame.shape == scan.pixels.shape[len(scan.frame_axes) :]
            outcomes["read"] += 1
        except MicdbError as error:
            assert isinstance(error, MissingExtraError | NotAnImageError) or str(file) in str(error)
            outcomes["refused"] += 1
    assert outcomes["read"] > outcomes["refused"] > 0

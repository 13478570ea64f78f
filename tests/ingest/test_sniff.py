"""The one door: candidates, errors, promises of pixels; and the metadata tables every reader uses."""

from __future__ import annotations

import logging
import pickle
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from micdb.errors import (
    ContractError,
    DamagedFileError,
    MicdbError,
    MissingExtraError,
    NotAnImageError,
    NotFoundError,
    UnknownFormatError,
)
from micdb.extras import require
from micdb.ingest.metadata import (
    Key,
    apply,
    flatten,
    local_time,
    locale_time,
    measure,
    plain,
    positive,
    tolerate,
    utc_time,
)
from micdb.ingest.reader import Format, Reader, readers
from micdb.ingest.sniff import candidates, open_scans
from micdb.provenance import canonical_json
from micdb.records import Axis, Pixels, Scan, Source

MAGIC = b"FAKEFORMAT"


def give(array: np.ndarray) -> np.ndarray:
    return array


def fail(error: BaseException) -> np.ndarray:
    raise error


class Fake(Reader):
    """A reader that does what the test tells it."""

    name = "zz_fake"
    formats = (Format("fake", "Fake", (".fake",)),)
    outcome: ClassVar[Any] = None
    score: ClassVar[int] = 2

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:
        return cls.score if head.startswith(MAGIC) else 0

    def read(self, path: Path) -> list[Scan]:
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return list(self.outcome)


def scan(load: Any, *, shape: tuple[int, ...] = (2, 3), sizes: tuple[int, ...] = (2, 3)) -> Scan:
    axes = tuple(Axis(name, size) for name, size in zip(("y", "x"), sizes, strict=True))
    return Scan(Pixels(shape, "uint8", load, load), axes, "a", Source("a", "fake", "zz_fake", "1"))


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    registry = readers()
    monkeypatch.setitem(registry._loaded, "zz_fake", Fake)
    monkeypatch.setattr(Fake, "outcome", [])
    path = tmp_path / "a.fake"
    path.write_bytes(MAGIC * 10)
    return path


def test_missing_file() -> None:
    with pytest.raises(NotFoundError, match=r"nowhere/a\.tif: no such file; check the spelling"):
        open_scans("nowhere/a.tif")


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(NotAnImageError, match="this is a folder; give a file, or ingest the folder"):
        open_scans(tmp_path)


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.tif").touch()
    with pytest.raises(DamagedFileError, match=r"a\.tif: the file is empty \(0 bytes\)"):
        open_scans(tmp_path / "a.tif")


def test_nul_in_the_name() -> None:
    with pytest.raises(MicdbError):
        open_scans("a\0b.tif")


def test_unknown_content_lists_the_readers(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"hello there")
    with pytest.raises(
        UnknownFormatError, match=r"starts with bytes 68 65 6c 6c .* installed readers: .*dm, .*hdf5"
    ):
        open_scans(path)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\x01\xb0\x93\xff" + bytes(28), r"an NT-MDT file \(.mdt\); convert it to .gwy with Gwyddion"),
        (b"[DataSet]\r\nVersion=2\r\n", r"a Nanosurf or NanoScan file \(.nid, .ezd\)"),
        (bytes(4) + b"TPER" + bytes(200), "an Ando AFM movie"),
        (b"\x01\0\0\0" + bytes(range(20)) + b"T\0P\0P\0H\0" + bytes(200), "an Ando AFM movie"),
        (b"\x0a\n3\x04\x20\0\0\0ARDF" + bytes(20), "an Asylum Research data file"),
        (b"[Data Version]\r\nProgram=SPMLab\r\n", "an SPMLab file"),
        (b"Gwyddion Simple Field 1.0\nXRes = 2\n", "a Gwyddion simple field"),
        (b";\r\n;               Omicron SPM Control.\r\n", "an Omicron SCALA parameter file"),
        (b";ANFATEC Parameterfile\r\n", "an Anfatec parameter file"),
        (b"\x01\0Directory\0", "a Wyko profiler file"),
        (b"ZISRAWFILE" + bytes(22), r"a Zeiss file \(.czi\); save it as OME-TIFF"),
    ],
)
def test_formats_that_nobody_reads_are_named(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "a.dat"
    path.write_bytes(content)
    with pytest.raises(UnknownFormatError, match=rf"\(this is {what}.*\); installed readers: .*hdf5"):
        open_scans(path)


def test_missing_extra_names_file_and_install_line(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingExtraError) as caught:
        require("rsciio_that_is_not_there")
    monkeypatch.setattr(Fake, "outcome", caught.value)
    with pytest.raises(MissingExtraError, match=r"a\.fake: this needs the package .*pip install"):
        open_scans(fake)


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.txt", b"$SEM_DATA_VERSION 1\n$CM_MAG 95\n", "a JEOL SEM parameter text"),
        ("a.txt", b"[SemImageFile]\r\nPixelSize=1\r\n", "a Hitachi SEM"),
        ("a.txt", "[SemImageFile]\r\nPixelSize=1\r\n".encode("utf-16"), "a Hitachi SEM"),
        ("a-tif.hdr", b"[MAIN]\r\nPixelSizeX=1\r\n", "a TESCAN image header"),
        ("a.hdr", b"HDR,\t\r\nTime\r\n", "a Merlin detector header"),
    ],
)
def test_companions_say_what_they_are(tmp_path: Path, name: str, content: bytes, what: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(NotAnImageError, match=f"this is {what}.*without pixels of its own; open its"):
        open_scans(tmp_path / name)


@pytest.mark.parametrize(
    "error", [ValueError("bad"), AssertionError(), KeyError("x"), RecursionError("deep"), OSError("io")]
)
def test_any_library_error_becomes_one_of_ours(
    fake: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(Fake, "outcome", error)
    with pytest.raises(DamagedFileError, match=rf"a\.fake \[zz_fake\]: .*{type(error).__name__}") as caught:
        open_scans(fake)
    assert caught.value.__cause__ is error
    assert caught.value.reader == "zz_fake"


def test_absurd_header_is_damage(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fake, "outcome", MemoryError())
    with pytest.raises(DamagedFileError, match="promises more pixels than memory can hold"):
        open_scans(fake)


def test_own_errors_pass_through(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = NotAnImageError(fake, "a spectrum", offset=7)
    monkeypatch.setattr(Fake, "outcome", error)
    with pytest.raises(NotAnImageError) as caught:
        open_scans(fake)
    assert caught.value is error


def test_no_scan_is_no_image(fake: Path) -> None:
    with pytest.raises(NotAnImageError, match="the file holds no image"):
        open_scans(fake)


def test_errors_of_pixels_are_wrapped_when_they_are_read(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fake, "outcome", [scan(partial(fail, EOFError("short")))])
    (opened,) = open_scans(fake)
    with pytest.raises(DamagedFileError, match=r"a\.fake \[zz_fake\]: .*EOFError: short"):
        opened.pixels.read()


@pytest.mark.parametrize("array", [np.zeros((3, 2), np.uint8), np.zeros((2, 3), np.uint16)])
def test_pixels_must_keep_the_promise(fake: Path, monkeypatch: pytest.MonkeyPatch, array: np.ndarray) -> None:
    monkeypatch.setattr(Fake, "outcome", [scan(partial(give, array))])
    with pytest.raises(DamagedFileError, match=r"the header promises uint8 \(2, 3\), the pixels are"):
        open_scans(fake)[0].pixels.read()


def test_sealed_scans_travel_to_other_processes(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    monkeypatch.setattr(Fake, "outcome", [scan(partial(give, array))])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(open_scans(fake)[0])).pixels.read(), array)


def test_axes_that_do_not_fit_are_the_readers_bug(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fake, "outcome", [scan(None, sizes=(2, 4))])
    with pytest.raises(ContractError, match="'zz_fake' gave axes"):
        open_scans(fake)


@pytest.mark.parametrize(("step", "offset"), [(0.0, 1.0), (float("inf"), 0.0), (2.0, float("nan"))])
def test_a_step_that_is_no_number_is_unknown(
    fake: Path, monkeypatch: pytest.MonkeyPatch, step: float, offset: float
) -> None:
    axes = (Axis("y", 2, step, offset, unit="nm"), Axis("x", 3, 0.5, 1.0, unit="nm"))
    monkeypatch.setattr(Fake, "outcome", [replace(scan(None), axes=axes)])
    (found,) = open_scans(fake)
    assert found.axes == (Axis("y", 2), axes[1])
    assert found.problems == (f"pixel size of y unknown: it would be {step} nm",)


def test_image_without_pixels_is_damage(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fake, "outcome", [scan(None, shape=(0, 3), sizes=(0, 3))])
    with pytest.raises(DamagedFileError, match=r"an image of \(0, 3\) has no pixels"):
        open_scans(fake)


def test_the_surest_reader_wins_and_ties_go_by_name(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(Fake):
        name = "aa_other"

    monkeypatch.setitem(readers()._loaded, "aa_other", Other)
    assert [found.name for found in candidates(fake)] == ["aa_other", "zz_fake"]
    monkeypatch.setattr(Other, "score", 1)
    assert [found.name for found in candidates(fake)] == ["zz_fake", "aa_other"]


def test_a_failing_sniff_stops_nobody_and_is_named(
    fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Fake):
        name = "broken"

        @classmethod
        def sniff(cls, path: Path, head: bytes) -> int:
            raise ZeroDivisionError("oops")

    monkeypatch.setitem(readers()._loaded, "broken", Broken)
    assert [found.name for found in candidates(fake)] == ["zz_fake"]
    (tmp_path / "b").write_bytes(b"nothing known")
    with pytest.raises(
        UnknownFormatError, match=r"reader 'broken' failed while looking at it \(ZeroDivisionError"
    ):
        open_scans(tmp_path / "b")


def test_libraries_are_silenced_only_while_they_read(
    fake: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def chatter() -> np.ndarray:
        logging.getLogger("tifffile").error("noise")
        warnings.warn("noise", stacklevel=1)
        return np.zeros((2, 3), np.uint8)

    monkeypatch.setattr(Fake, "outcome", [scan(chatter)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_scans(fake)[0].pixels.read()
    assert not caplog.records
    logging.getLogger("tifffile").error("signal")
    assert [record.message for record in caplog.records] == ["signal"]


TABLE = (
    Key("HV", "accelerating_voltage", "kV"),
    Key("Beam.HV", "accelerating_voltage", "V", positive),
    Key("WD", "working_distance", "m"),
    Key("Det", "detector"),
)


def test_table_converts_and_keeps_the_raw_text() -> None:
    found = apply(TABLE, {"HV": "5", "WD": "5.2 mm", "Det": b"InLens\0"})
    voltage = found.values["accelerating_voltage"]
    assert (voltage.value, voltage.unit, voltage.origin, voltage.raw) == (5000.0, "V", "file", "HV = 5")
    assert found.values["working_distance"].value == pytest.approx(5.2)  # the unit beside the value wins
    assert found.values["detector"].value == "InLens"
    assert found.problems == []


def test_first_row_wins_and_not_given_lets_the_next_try() -> None:
    assert apply(TABLE, {"HV": 1, "Beam.HV": 7}).values["accelerating_voltage"].value == 1000
    assert apply(TABLE, {"HV": "", "Beam.HV": 7}).values["accelerating_voltage"].value == 7
    assert apply(TABLE, {"Beam.HV": 0}).values == {}


@pytest.mark.parametrize(
    "value", ["none given", float("nan"), float("inf"), "5 furlongs per", [1, 2], "3 kg"]
)
def test_broken_values_are_problems_never_guesses(value: Any) -> None:
    found = apply(TABLE, {"HV": value})
    assert found.values == {}
    assert found.problems[0].startswith("accelerating_voltage unknown: cannot read HV = ")


def test_tolerate_names_what_failed() -> None:
    problems: list[str] = []
    with tolerate(problems, "the header"):
        raise KeyError("Beam")
    assert problems == ["the header could not be read (KeyError: 'Beam')"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("27/08/2016 08:55:59 p.m.", "2016-08-27T20:55:59"),
        ("8/27/2016 12:01 AM", "2016-08-27T00:01:00"),
        ("8/8/2016 4:26:37 PM", "2016-08-08T16:26:37"),
        ("27.08.2016", "2016-08-27"),
        ("03.04.2016 10:00:00", "2016-04-03T10:00:00"),
        ("2019-02-03 10:00:00", "2019-02-03T10:00:00"),
        ("2023-12-20 11:44:03 PM", "2023-12-20T23:44:03"),
        ("12/10/2019 3:32:41 PM", None),
        ("31/31/2019", None),
        ("yesterday", None),
    ],
)
def test_locale_dates_are_read_only_where_certain(written: str, expected: str | None) -> None:
    assert locale_time(written) == expected


def test_times_of_vendors() -> None:
    assert local_time("02/13/2020  09:23:51 PM", ("%m/%d/%Y %I:%M:%S %p",)) == "2020-02-13T21:23:51"
    assert local_time("11 Apr 2023", ("%d %b %Y",)) == "2023-04-11"
    assert local_time("13/02/2020", ("%m/%d/%Y",)) is None
    assert utc_time("1596041299") == "2020-07-29T16:48:19Z"
    assert utc_time(0) is None


def test_flatten_numbers_lists() -> None:
    assert flatten({"a": {"b": 1}, "c": [{"d": 2}, 3], "e": ()}) == {"a.b": 1, "c.0.d": 2, "c.1": 3, "e": ()}


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.complex_numbers()
)


@given(
    st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner))
)
def test_everything_plain_is_json(value: Any) -> None:
    """Whatever a vendor wrote, what is kept of it can be written as JSON and as HDF5 text."""
    written = canonical_json(plain(value))
    assert "\\u0000" not in written
    written.encode("utf-8")


def test_plain_keeps_numbers_and_notes_blocks() -> None:
    assert plain({"a": np.float32(1.5), "b": np.arange(3), 4: b"caf\xe9"}) == {
        "a": 1.5,
        "b": [0, 1, 2],
        "4": "café",
    }
    assert plain(np.zeros((100, 100))) == "<array float64 (100, 100)>"
    assert plain(b"x" * 5000) == "<5000 bytes>"
    assert plain(float("nan")) == "nan"


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["V", "kV", "m", "um", "deg"]))
def test_measure_reads_what_it_is_written(number: float, unit: str) -> None:
    assert measure(f"{number!r} {unit}") == (number, unit)
    assert measure(number, unit=unit) == (number, unit)

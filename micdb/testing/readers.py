"""The contract of a reader, as a test class that the author of one inherits.

::

    class TestMyReader(ReaderContract):
        reader = MyReader

        @pytest.fixture
        def files(self, tmp_path):
            return [write_a_tiny_genuine_file(tmp_path)]

Needs pytest; nothing else of micdb imports this module.
"""
# ruff: noqa: S101, PT017 (a contract asserts)

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from micdb import units
from micdb.errors import MicdbError
from micdb.ingest.metadata import TEXT_SETTINGS
from micdb.ingest.reader import HEAD, Reader, readers
from micdb.ingest.sniff import candidates, open_scans
from micdb.provenance import canonical_json, pixel_hash
from micdb.records import SETTINGS, Scan

# Where damaged copies are cut, as a fraction of the file.
_CUTS = (0.02, 0.3, 0.6, 0.9, 0.99)
_FOREIGN = {
    "random.bin": bytes((index * 73 + index // 7 * 31) % 256 for index in range(2000)),
    "zeros.bin": bytes(2000),
    "short.bin": b"\x01",
    "text.txt": b"time,value\n1,2\n3,4\n" * 50,
}


class ReaderContract:
    """Inherit, set `reader`, give the fixture `files`: every promise of a reader is then tested."""

    #: The class under test, registered under its name.
    reader: ClassVar[type[Reader]]
    #: Whether the content alone identifies the file; False for formats known by extension only.
    by_content: ClassVar[bool] = True

    @pytest.fixture
    def files(self, tmp_path: Path) -> list[Path]:
        """Return paths of sound files, written into `tmp_path`; to be overridden."""
        pytest.fail(f"override the fixture `files`: write some into {tmp_path}")

    @pytest.fixture
    def scans(self, files: list[Path]) -> list[Scan]:
        """Return every scan of every file."""
        return [scan for file in files for scan in open_scans(file)]

    def test_is_registered_under_its_name(self) -> None:
        """The entry point and the class agree."""
        assert readers().get(self.reader.name) is self.reader
        assert self.reader.formats, "a reader names the formats it knows"
        for extension in self.reader.extensions():
            assert extension == extension.lower()
            assert extension[0] == "."

    def test_wins_its_own_files(self, files: list[Path]) -> None:
        """No other reader is surer of these files."""
        for file in files:
            assert candidates(file)[0].name == self.reader.name
            assert all(scan.source.reader == self.reader.name for scan in open_scans(file))

    def test_leaves_other_files_alone(self, tmp_path: Path) -> None:
        """Random bytes, zeros, one byte and text are nobody's."""
        for name, content in _FOREIGN.items():
            file = tmp_path / name
            file.write_bytes(content)
            assert self.reader.sniff(file, content[:HEAD]) == 0, name

    def test_reads_a_wrong_extension_by_content(self, files: list[Path], tmp_path: Path) -> None:
        """The extension is a hint, never proof."""
        if not self.by_content:
            pytest.skip(f"{self.reader.name} knows these files by their extension only")
        for number, file in enumerate(files):
            renamed = tmp_path / f"renamed_{number}.dat"
            shutil.copy(file, renamed)
            assert self.reader.sniff(renamed, renamed.read_bytes()[:HEAD]) >= 2

    def test_scans_are_frozen_and_picklable(self, scans: list[Scan]) -> None:
        """A scan travels to a worker process and gives the same pixels there."""
        for scan in scans:
            with pytest.raises(FrozenInstanceError):
                scan.name = "other"  # type: ignore[misc]
            there = pickle.loads(pickle.dumps(scan))  # noqa: S301 (our own bytes)
            assert pixel_hash(there.pixels.read()) == pixel_hash(scan.pixels.read())

    def test_pixels_keep_the_promise(self, scans: list[Scan]) -> None:
        """Shape, dtype and byte order are those announced; single frames equal the whole."""
        for scan in scans:
            array = scan.pixels.read()
            assert array.shape == scan.pixels.shape
            assert array.dtype == np.dtype(scan.pixels.dtype)
            assert array.dtype.isnative
            if scan.pixels.load_frame is not None:
                frames = array.reshape(-1, *array.shape[len(scan.frame_axes) :])
                last = len(frames) - 1
                np.testing.assert_array_equal(scan.pixels.load_frame(last), frames[last])
            streamed = np.array(list(scan.pixels.frames(colour=scan.colour)))
            np.testing.assert_array_equal(streamed.reshape(array.shape), array)

    def test_stacks_can_be_read_frame_by_frame(self, scans: list[Scan]) -> None:
        """A stack may be larger than memory: single frames can be had without the others."""
        for scan in scans:
            assert scan.n_frames == 1 or scan.pixels.load_frame is not None, scan.name

    def test_axes_fit(self, scans: list[Scan]) -> None:
        """One axis per dimension, ending in y, x or y, x, colour; steps finite, units spelled our way."""
        for scan in scans:
            names = [axis.name for axis in scan.axes]
            assert tuple(axis.size for axis in scan.axes) == scan.pixels.shape
            assert names[-2:] == ["y", "x"] or names[-3:] == ["y", "x", "colour"], names
            assert len(set(names)) == len(names), names
            assert not scan.colour or scan.axes[-1].size in (3, 4)
            for axis in scan.axes:
                assert axis.step is None or (np.isfinite(axis.step) and axis.step != 0), axis
                assert axis.unit is None or units.normalise(axis.unit) == axis.unit, axis

    def test_reading_twice_gives_equal_pixels(self, files: list[Path]) -> None:
        """Nothing depends on order, time or state."""
        for file in files:
            first = [pixel_hash(scan.pixels.read()) for scan in open_scans(file)]
            assert first == [pixel_hash(scan.pixels.read()) for scan in open_scans(file)]

    def test_settings_are_of_the_vocabulary(self, scans: list[Scan]) -> None:
        """Names and units are those of `SETTINGS`; numbers are numbers, names are text, nothing is NaN."""
        for scan in scans:
            assert set(scan.settings) <= set(SETTINGS)
            for name, quantity in scan.settings.items():
                assert quantity.unit == SETTINGS[name], name
                assert isinstance(quantity.value, str) == (name in TEXT_SETTINGS), name
                assert isinstance(quantity.value, str) or np.isfinite(quantity.value), name
                assert quantity.raw, name

    def test_original_is_json(self, scans: list[Scan]) -> None:
        """The vendor's metadata survives a round trip through JSON unchanged."""
        for scan in scans:
            assert json.loads(canonical_json(scan.original)) == scan.original

    def test_source_names_file_and_library(self, scans: list[Scan], files: list[Path]) -> None:
        """Every scan leads back to its file; indices count the images of one file."""
        names = {known.name for known in self.reader.formats}
        for scan in scans:
            assert scan.source.format in names
            assert Path(scan.source.path) in files
            assert scan.source.reader_version
        for file in files:
            assert [scan.source.index for scan in open_scans(file)] == list(range(len(open_scans(file))))

    def test_damaged_copies_raise_only_micdb_errors(self, files: list[Path], tmp_path: Path) -> None:
        """A file cut anywhere is refused, or what is read of it keeps the promise."""
        for number, file in enumerate(files):
            content = file.read_bytes()
            for cut in _CUTS:
                copy = tmp_path / f"cut_{number}_{round(cut * 100)}{file.suffix}"
                copy.write_bytes(content[: int(len(content) * cut)])
                try:
                    for scan in open_scans(copy):
                        assert scan.pixels.read().shape == scan.pixels.shape
                except MicdbError as error:
                    assert str(copy) in str(error)

"""What a samples sheet says of each sample over all its rows: the same fact on every row is one fact."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from micdb.composition import COMPOSITION
from micdb.errors import SheetError
from micdb.ingest.sheet import PropertyEntry, Row, Sheet

NO_STEP = 0  # steps are numbered from 1


class Stated(NamedTuple):
    """Where something was written first, and how."""

    row: int
    raw: str


Key = tuple[str | None, str | None, int, str]  # lab, sample, position of the step, property


class Statements:
    """A sheet by sample.

    Parameters
    ----------
    sheet
        The sheet.
    lab
        Laboratory of the rows that name none.

    Raises
    ------
    SheetError
        Two rows give one sample different materials or compositions, or values of a processing parameter.
    """

    def __init__(self, sheet: Sheet, lab: str | None) -> None:
        #: What the sheet is called in the catalog: there is a samples.csv in other folders too.
        self.source = str(sheet.path.resolve())
        self.sheet = sheet.path.name
        self._lab = lab
        self._said: defaultdict[Key, dict[PropertyEntry, Stated]] = defaultdict(dict)
        first: dict[Key, Stated] = {}
        for row in sheet.rows:
            if row.sample is None:
                continue
            if row.material is not None:
                self._refuse_second(row, self._key(row, NO_STEP, "material"), row.material, first)
            for position, entry in sample_entries(row):
                key, content = self._key(row, position, entry.name), meaning(entry)
                while content.repeat is not None and content in self._said[key]:
                    content = replace(content, repeat=content.repeat + 1)
                if content not in self._said[key]:
                    self._said[key][content] = Stated(row.number, str(entry.raw))
                    if position or entry.name == COMPOSITION:
                        self._refuse_second(row, key, str(entry.raw), first)

    def said(self, row: Row, position: int, name: str) -> Mapping[PropertyEntry, Stated]:
        """Return all that the sheet says under that name of the row's sample, and where it says so first."""
        return self._said[self._key(row, position, name)]

    def all(self) -> Iterable[tuple[Key, Mapping[PropertyEntry, Stated]]]:
        """Return all that the sheet says, by sample, step and property."""
        return self._said.items()

    def _key(self, row: Row, position: int, name: str) -> Key:
        return (row.lab or self._lab, row.sample, position, name)

    def _refuse_second(self, row: Row, key: Key, raw: str, first: dict[Key, Stated]) -> None:
        """A sample is of one material and composition, and went through a step once."""
        other = first.setdefault(key, Stated(row.number, raw))
        if other.raw != raw:
            raise SheetError(
                f"{row.where}: sample {row.sample!r} has {key[3]} {raw} here and {other.raw} in row "
                f"{other.row}; correct the sheet, or give the two samples different names"
            )


def meaning(entry: PropertyEntry) -> PropertyEntry:
    """Return an entry without its wording: ``800`` and ``1073.15 K`` in a column of degC are the same."""
    return replace(entry, raw=None)


def sample_entries(row: Row) -> Iterator[tuple[int, PropertyEntry]]:
    """Yield what a row says of its sample, each with the position of its step or `NO_STEP`."""
    for step in row.steps:
        yield from ((step.position, entry) for entry in step.parameters)
    yield from ((NO_STEP, entry) for entry in row.properties if entry.level == "sample")


def image_entries(row: Row) -> Iterator[PropertyEntry]:
    """Yield what a row says of its images."""
    return (entry for entry in row.properties if entry.level == "image")

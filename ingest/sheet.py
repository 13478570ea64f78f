"""Samples sheets: what people know of their files and the microscope does not.

One row per file; a map (`micdb.ingest.sheet_map`) says which column is the sample, a processing step, a
property, a label or the pixel size. Nothing here touches a database.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from os import path as os_path
from pathlib import Path, PurePosixPath

from micdb.errors import SheetError, UsageError, suggestion
from micdb.ingest.sheet_cells import Line
from micdb.ingest.sheet_map import SheetMap, read_map
from micdb.ingest.sheet_property import PropertyEntry
from micdb.ingest.sheet_row import Row, Step, read_row
from micdb.ingest.sheet_table import Table, read_table

SHOWN = 50  # wrong cells that a message lists

__all__ = ["PropertyEntry", "Row", "Sheet", "SheetMap", "Step", "read_map", "read_sheet", "read_tables"]


@dataclass(frozen=True)
class Sheet:
    """A samples sheet, read and checked.

    Parameters
    ----------
    path
        The sheet.
    root
        Folder that is being ingested; file names may be relative to it, or to the sheet.
    rows
        One per file, in the order of the sheet.
    """

    path: Path
    root: Path
    rows: tuple[Row, ...]

    def match(self, path: str | PathLike[str]) -> Row | None:
        """Return the row of a file, or None.

        A row belongs to a file when its name leads there from the ingested folder or from the sheet;
        else when the file's path ends in it, which a bare file name does.

        Raises
        ------
        SheetError
            Several rows fit equally well.
        """
        whole = os_path.abspath(path)
        exact = self._by_path.get(whole, [])
        found = exact or [row for row in self._by_name[Path(whole).name] if _ends_in(whole, row.file)]
        if len(found) > 1:
            shown = ", ".join(f"{row.number} ({row.file})" for row in found)
            raise SheetError(
                f"{self.path}: rows {shown} all fit {path}; write the path relative to {self.root}"
            )
        return found[0] if found else None

    def unmatched(self, paths: Iterable[str | PathLike[str]]) -> list[int]:
        """Return the numbers of the rows that belong to none of the files.

        Raises
        ------
        SheetError
            Several rows fit one file, or a row without a folder fits several files.
        """
        holders: dict[int, str] = {}
        for path in paths:
            row = self.match(path)
            if row is None:
                continue
            holder = holders.setdefault(row.number, os_path.abspath(path))
            if holder != os_path.abspath(path):
                raise SheetError(
                    f"{self.path}: row {row.number} ({row.file}) fits {holder} and {path}; "
                    f"write the path relative to {self.root}"
                )
        return [row.number for row in self.rows if row.number not in holders]

    @cached_property
    def _by_path(self) -> dict[str, list[Row]]:
        places: dict[str, list[Row]] = defaultdict(list)
        for row in self.rows:
            for place in {os_path.abspath(folder / row.file) for folder in (self.root, self.path.parent)}:
                places[place].append(row)
        return places

    @cached_property
    def _by_name(self) -> defaultdict[str, list[Row]]:
        names: defaultdict[str, list[Row]] = defaultdict(list)
        for row in self.rows:
            names[PurePosixPath(row.file).name].append(row)
        return names


def read_sheet(path: str | PathLike[str], sheet_map: SheetMap, *, root: str | PathLike[str]) -> Sheet:
    """Read a samples sheet.

    Parameters
    ----------
    path
        CSV or XLSX with a header row.
    sheet_map
        What its columns mean, from `read_map`.
    root
        Folder that is being ingested.

    Raises
    ------
    NotFoundError
        There is no such file.
    SheetError
        A column is missing, cells cannot be read, or a file has two rows that differ. Every wrong cell is
        named: its row as a spreadsheet shows it, column and content.
    """
    table = read_table(path, sheet_map.columns, sheet=sheet_map.sheet)
    _check_columns(table, sheet_map)
    faults: list[SheetError] = []
    rows = [
        read_row(Line(table, number, dict(zip(table.columns, cells, strict=True)), faults), sheet_map)
        for number, cells in table.rows
    ]
    _check_cells(table.path, faults)
    return Sheet(table.path, Path(root), _distinct(table.path, rows) if sheet_map.file else tuple(rows))


def _check_cells(path: Path, faults: list[SheetError]) -> None:
    """Refuse a sheet that has wrong cells, all of them at once: who mends one wants to know the others."""
    if len(faults) == 1:
        raise faults[0]
    if faults:
        shown = [str(fault).removeprefix(f"{path}: ") for fault in faults[:SHOWN]]
        more = f"\n  and {len(faults) - SHOWN} more" if faults[SHOWN:] else ""
        raise SheetError(f"{path}: {len(faults)} cells are wrong:\n  " + "\n  ".join(shown) + more)


def _check_columns(table: Table, sheet_map: SheetMap) -> None:
    for column, key in sheet_map.columns.items():
        count = table.columns.count(column)
        if count == 0:
            known = [name for name in table.columns if name]
            raise SheetError(
                f"{table.path}: no column {column!r}, which {key} of {sheet_map.path} names"
                f"{suggestion(column, known)}; columns: {', '.join(known)}"
            )
        if count > 1:
            raise SheetError(f"{table.path}: {count} columns are named {column!r}; rename all but one")


def _distinct(path: Path, rows: list[Row]) -> tuple[Row, ...]:
    """Drop repetitions; two rows for one file that say different things are an error."""
    kept: dict[str, Row] = {}
    for row in rows:
        first = kept.setdefault(row.file, row)
        if replace(row, number=first.number) != first:
            raise SheetError(
                f"{path}: rows {first.number} and {row.number} both describe {row.file} and differ; keep one"
            )
    return tuple(kept.values())


def _ends_in(whole: str, name: str) -> bool:
    parts = PurePosixPath(name).parts
    return Path(whole).parts[-len(parts) :] == parts


def read_tables(
    sheet: str | PathLike[str] | None, map_: str | PathLike[str] | None, root: Path
) -> tuple[Sheet | None, frozenset[Path]]:
    """Return the sheet that two files make, if any, and the files themselves: they are no micrographs.

    Raises
    ------
    UsageError
        One is given without the other.
    """
    if sheet is None and map_ is None:
        return None, frozenset()
    if sheet is None or map_ is None:
        missing = "sheet" if sheet is None else "map"
        raise UsageError(f"a samples sheet needs its map and the map its sheet; --{missing} is missing")
    table = read_sheet(Path(sheet), read_map(Path(map_)), root=root)
    return table, frozenset({Path(sheet).resolve(), Path(map_).resolve()})


def read_properties(sheet: str | PathLike[str], map_: str | PathLike[str]) -> Sheet:
    """Read a sheet of properties: one row per measurement of a sample, or per sample, and no file names.

    Every filled cell of a property is a measurement of its own, also where two are the same.

    Raises
    ------
    NotFoundError, SheetError
        As for `read_map` and `read_sheet`.
    """
    path = Path(sheet)
    return read_sheet(path, read_map(Path(map_), files=False), root=path.parent)

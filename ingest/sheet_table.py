"""A CSV or XLSX file as a header and rows of text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time
from os import PathLike
from pathlib import Path
from typing import Any

from micdb.errors import NotFoundError, SheetError, suggestion

_ZIP = b"PK\x03\x04"  # XLSX is a ZIP archive
_OLE = b"\xd0\xcf\x11\xe0"  # .xls of Excel 97-2003
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text, blanks stripped, empty ones as ``""``.

    Parameters
    ----------
    path
        The file.
    columns
        Names in the header, in order.
    rows
        Row number as a spreadsheet shows it, and one cell per column. Empty rows are left out.
    decimal_comma
        Whether a comma in a number may be a decimal comma: it is not what parts the columns.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    decimal_comma: bool = False


def read_table(path: str | PathLike[str], wanted: Iterable[str], *, sheet: str | None = None) -> Table:
    """Read a table.

    Parameters
    ----------
    path
        CSV (UTF-8 or Latin-1, parted by comma, semicolon or tab) or XLSX, told apart by content.
    wanted
        Columns the caller expects: the delimiter that yields most of them is the right one.
    sheet
        Name of the sheet in an XLSX; the first one where None.

    Raises
    ------
    NotFoundError
        There is no such file.
    SheetError
        It is no table; names the row.
    """
    file = Path(path)
    if not file.is_file():
        raise NotFoundError(f"{file}: no such sheet; check the spelling and the current folder")
    content = file.read_bytes()
    if content.startswith(_OLE):
        raise SheetError(f"{file}: this is an old .xls workbook; save it as .xlsx or CSV")
    if content.startswith(_ZIP):
        return _table(file, _xlsx_rows(file, content, sheet))
    if sheet is not None:
        raise SheetError(
            f"{file}: the map asks for the sheet {sheet!r}, but this is a CSV file, which has none"
        )
    return _read_csv(file, _decoded(content), set(wanted))


def _decoded(content: bytes) -> str:
    if content.startswith(_UTF16):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _read_csv(path: Path, text: str, wanted: set[str]) -> Table:
    def score(delimiter: str) -> tuple[int, int]:
        header = next(
            (row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if any(row)), []
        )
        return len(wanted & {cell.strip() for cell in header}), len(header)

    try:
        delimiter = max(_DELIMITERS, key=score)
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise SheetError(f"{path}: not a readable CSV file: {error}") from error
    return _table(path, rows, decimal_comma=delimiter != ",")


def _xlsx_rows(path: Path, content: bytes, sheet: str | None) -> list[list[str]]:
    from openpyxl import load_workbook

    try:
        book = load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        names = [page.title for page in book.worksheets]
        if not names or (sheet is not None and sheet not in names):
            raise SheetError(f"{path}: no sheet {sheet or ''!r}{suggestion(sheet or '', names)}")
        page = book[sheet or names[0]]
        page.reset_dimensions()  # what the file says of its size is often wrong
        return [
            [_cell(path, cell, row) for cell in cells] for row, cells in enumerate(page.iter_rows(), start=1)
        ]
    except SheetError:
        raise
    except Exception as error:  # openpyxl lets KeyError, BadZipFile, XML errors and its own classes through
        raise SheetError(f"{path}: not a readable XLSX workbook ({type(error).__name__}: {error})") from error


def _cell(path: Path, cell: Any, number: int) -> str:
    value = cell.value
    if value is None:
        return ""
    if cell.data_type == "e":
        raise SheetError(
            f"{path}: row {number} holds the error {value}; mend the formula, or leave the cell empty"
        )
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, datetime):
        return value.isoformat(" ") if value.time() != time() else value.date().isoformat()
    return str(value)


def _table(path: Path, rows: list[list[str]], *, decimal_comma: bool = False) -> Table:
    filled = [
        (number, tuple(map(str.strip, row)))
        for number, row in enumerate(rows, start=1)
        if any(map(str.strip, row))
    ]
    if not filled:
        raise SheetError(f"{path}: the sheet is empty; expected a header row and one row per file")
    (_, header), *body = filled
    width = len(header)
    for number, row in body:
        if any(row[width:]):
            raise SheetError(
                f"{path}: row {number} has {len(row)} cells, the header {width}; quote cells with a delimiter"
            )
    cells = tuple((number, (*row, *[""] * width)[:width]) for number, row in body)
    return Table(path, header, cells, decimal_comma)

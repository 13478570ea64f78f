"""How a frame looks at a prompt and in a notebook: a preview that never hangs."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from queue import Empty, Queue
from textwrap import fill
from threading import Thread
from typing import Any, Protocol, TypeVar

import pandas as pd

from micdb.query import thumbnails, verbs
from micdb.query.columns import SOURCES
from micdb.query.context import Context
from micdb.query.schema import Field, Schema

ROWS = 8
COUNTED = 10_000  # rows are counted to one more than this
BUDGET = 2.0  # [s] after which only the columns are shown
WIDTH = 110  # [character] of a text table
CELL = 36  # [character] longer text is cut; a uid is shown whole
HTML_COLUMNS = 12
THUMBNAIL = 64  # [pixel] edge of a picture in a table

# Colours are shares of the page's own text colour, so that light and dark notebooks both work.
STYLE = (
    ".micdb-frame{border-collapse:collapse;font-size:12px;color:inherit;background:transparent}"
    ".micdb-frame th,.micdb-frame td{padding:3px 9px;text-align:left;vertical-align:middle;"
    "border:0;border-bottom:1px solid rgba(128,128,128,.35);white-space:nowrap;background:transparent}"
    ".micdb-frame .number{text-align:right;font-variant-numeric:tabular-nums}"
    ".micdb-frame .unit,.micdb-frame .missing,.micdb-note{opacity:.65;font-weight:normal}"
    f".micdb-frame img,.micdb-frame .blank{{display:block;width:{THUMBNAIL}px;height:{THUMBNAIL}px;"
    "object-fit:contain;background:rgba(128,128,128,.25);border-radius:3px}"
    ".micdb-note{font-size:12px;margin:4px 9px;max-width:80em}"
)
_NARROWING = (verbs.Filter, verbs.Distinct, verbs.Group, verbs.Explode, verbs.Merge, verbs.Join)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Preview:
    """The first rows of a frame.

    Parameters
    ----------
    table
        Rows to show, with the frame's visible columns.
    uids
        ``uid`` of the image each row belongs to; None where it belongs to none.
    count
        Number of rows of the whole frame, or one more than was asked to be counted.
    """

    table: pd.DataFrame
    uids: Sequence[str | None]
    count: int


class Shown(Protocol):
    """What display needs of a frame."""

    @property
    def context(self) -> Context:
        """Surroundings of the query."""

    @property
    def schema(self) -> Schema:
        """Visible columns."""

    @property
    def noun(self) -> str:
        """What its rows are: ``images``, ``defects``, ``rows``."""

    @property
    def among(self) -> str:
        """Rows that later conditions were put to, ``of the first 5``; empty where that is all of them."""

    def preview(self, rows: int, *, counted: int) -> Preview:
        """Return the first rows, and the number of rows up to `counted` + 1."""


def text(frame: Shown) -> str:
    """Return a frame as text: up to 8 rows, units in the header, the number of rows.

    A query that takes longer than 2 s is shown by its columns only.
    """
    fields = list(frame.schema.fields.values())
    shown = _within(BUDGET, lambda: frame.preview(ROWS, counted=COUNTED))
    if shown is None:
        return fill(_schema(frame.noun, fields), WIDTH)
    fields = _telling_first(frame.noun, fields, shown.table)
    columns = [_column(field, shown.table[field.name]) for field in fields]
    used, fitting = 0, 0
    for cells in columns:
        used += max(map(len, cells)) + 2
        if used > WIDTH + 2:
            break
        fitting += 1
    fitting = max(fitting, min(1, len(fields)))
    padded = [_padded(field, cells) for field, cells in zip(fields, columns[:fitting], strict=False)]
    lines = ["  ".join(cells).rstrip() for cells in zip(*padded, strict=True)]
    return "\n".join([*lines, fill(_summary(frame, shown.count, fields[fitting:]), WIDTH)])


def html(frame: Shown) -> str:
    """Return a frame as an HTML fragment: as `text`, with thumbnails; nothing is loaded from elsewhere."""
    fields = list(frame.schema.fields.values())

    def work() -> tuple[Preview, Mapping[str, bytes]]:
        found = frame.preview(ROWS, counted=COUNTED)
        return found, thumbnails.load(frame.context, {uid for uid in found.uids if uid is not None})

    answer = _within(BUDGET, work)
    if answer is None:
        return f'<style>{STYLE}</style><p class="micdb-note">{escape(_schema(frame.noun, fields))}</p>'
    shown, pictures = answer
    fields = _telling_first(frame.noun, fields, shown.table)
    fitting = fields[:HTML_COLUMNS]
    pictured = any(uid is not None for uid in shown.uids)
    head = ("<th></th>" if pictured else "") + "".join(map(_header, fitting))
    body = "".join(
        "<tr>"
        + (_picture(pictures.get(shown.uids[row] or "")) if pictured else "")
        + "".join(_cell(field, shown.table[field.name].iloc[row]) for field in fitting)
        + "</tr>"
        for row in range(len(shown.table))
    )
    note = escape(_summary(frame, shown.count, fields[HTML_COLUMNS:]))
    return (
        f'<style>{STYLE}</style><div style="overflow-x:auto"><table class="micdb-frame">'
        f'<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div><p class="micdb-note">{note}</p>'
    )


def among(steps: Sequence[verbs.Verb]) -> str:
    """Return which rows later verbs were put to: ``of the first 5``, ``of the 10 most similar``.

    As in pandas a condition after `head`, `similar_to` or `sample` speaks of those rows; a reader of the
    display could take it for one on all rows.
    """
    later = False
    for step in reversed(steps):
        if isinstance(step, verbs.Slice) and later:
            last = "the end" if step.stop is None else f"{step.stop:,}"
            return f"of the first {last}" if step.start == 0 else f"of rows {step.start:,} to {last}"
        if isinstance(step, verbs.Similar) and later:
            return f"of the {step.k:,} most similar"
        if isinstance(step, verbs.Sample) and later:
            return f"of a sample of {step.n:,}"
        later = later or isinstance(step, _NARROWING)
    return ""


def _telling_first(noun: str, fields: list[Field], table: pd.DataFrame) -> list[Field]:
    """Return the columns in the order they are shown in; the order is the frame's where all of them fit.

    The name and what the query made (similarity, counts, properties) come first, columns that are
    missing in every row shown come last: what does not fit is only named.
    """
    if len(fields) <= HTML_COLUMNS or noun not in SOURCES:
        return fields
    given = set(SOURCES[noun].elements) - {"name"}
    return sorted(fields, key=lambda field: (bool(table[field.name].isna().all()), field.name in given))


def _within(seconds: float, work: Callable[[], T]) -> T | None:
    """Return the result of `work`, or None when it takes longer; a daemon thread never delays exit."""
    answers: Queue[tuple[T | None, BaseException | None]] = Queue(1)

    def run() -> None:
        try:
            answers.put((work(), None))
        except BaseException as error:  # raised again below, in the caller's thread
            answers.put((None, error))

    Thread(target=run, daemon=True, name="micdb-preview").start()
    try:
        value, error = answers.get(timeout=seconds)
    except Empty:
        return None
    if error is not None:
        raise error
    return value


def _schema(noun: str, fields: Sequence[Field]) -> str:
    return f"{noun}: no preview within {BUDGET:g} s; columns: {_names(fields)}"


def _summary(frame: Shown, count: int, hidden: Sequence[Field]) -> str:
    noun = frame.noun
    if count == 1:
        noun = SOURCES[noun].singular if noun in SOURCES else noun.removesuffix("s")
    number = f"{COUNTED:,}+" if count > COUNTED else f"{count:,}"
    among = f" {frame.among}" if frame.among else ""
    return f"{number} {noun}{among}" + (f"; further columns: {_names(hidden)}" if hidden else "")


def _names(fields: Sequence[Field]) -> str:
    return ", ".join(_title(field) for field in fields)


def _title(field: Field) -> str:
    return f"{field.name} [{field.unit}]" if field.unit else field.name


def _column(field: Field, values: pd.Series[Any]) -> list[str]:
    return [_title(field), *(_value(value) for value in values)]


def _padded(field: Field, cells: Sequence[str]) -> list[str]:
    width = max(map(len, cells))
    return [cell.rjust(width) if _numeric(field) else cell.ljust(width) for cell in cells]


def _value(value: Any) -> str:
    if _missing(value):
        return "<NA>"
    if isinstance(value, float):
        return f"{value:.6g}"
    shown = " ".join(str(value).split())
    return shown if len(shown) <= CELL else shown[: CELL - 1] + "\u2026"


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and value != value)  # noqa: PLR0124


def _numeric(field: Field) -> bool:
    return field.kind in ("integer", "number")


def _header(field: Field) -> str:
    unit = f' <span class="unit">[{escape(field.unit)}]</span>' if field.unit else ""
    return f"<th{_class(field)}>{escape(field.name)}{unit}</th>"


def _cell(field: Field, value: Any) -> str:
    if _missing(value):
        return f'<td{_class(field)}><span class="missing">&lt;NA&gt;</span></td>'
    return f"<td{_class(field)}>{escape(_value(value))}</td>"


def _class(field: Field) -> str:
    return ' class="number"' if _numeric(field) else ""


def _picture(png: bytes | None) -> str:
    if png is None:
        return '<td><span class="blank" title="no picture"></span></td>'
    return f'<td><img alt="" src="data:image/png;base64,{base64.b64encode(png).decode()}"></td>'

"""docs/formats.md, written from the readers and the real files: ``conformance_page.py docs/formats.md``."""

from __future__ import annotations

import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import conformance
from conformance import Check, Report
from conformance_by_hand import BY_HAND
from conformance_differences import REFUSED

from micdb import units
from micdb.ingest.reader import readers
from micdb.records import Scan

_WIDTH = 115
HEADING = """# Formats

Written by `make docs` from the readers and from real files of other people; a test compares the two.
`micdb formats` lists the same formats, with those of plug-ins, as installed.
"""
KNOWN = """## What is read

Files are recognised by what they hold, never by the extension alone. A format with an extra needs
`pip install 'micdb[EXTRA]'`. "Own files" means: only files of our own making were compared.
"""
_COMPARED = (
    "Each row is one of {items} files and sets of files from the test folders of public projects; nobody "
    "here wrote any of them. Every fact that an independent reader gives of them is compared with what micdb "
    "says, image by image and field by field: {readers}. Numbers must agree in six significant digits, units "
    "are converted, dates are compared as moments and as written."
)
LEGEND = """
| | |
|---|---|
| ✓ | every fact of the readers is what micdb says |
| ✓³ | the same, but for the difference explained under 3 below; it is tested to be exactly that |
| + | read by micdb and by none of the readers; looked up in the file by hand |
| – | unknown to micdb and to the readers |

Values are minimum, maximum, mean, standard deviation and range of every image. "Other" counts the remaining
facts: detector, stage, working distance, bias, set-point, channels, instrument, and what few formats have.
"""
_LENGTHS = (("mm", 1e-3), ("um", 1e-6), ("nm", 1e-9), ("pm", 1e-12))
_SUPERSCRIPT = str.maketrans("0123456789,", "⁰¹²³⁴⁵⁶⁷⁸⁹·")
_NAME_LIMIT = 30

# Column -> the fields it sums up.
_COLUMNS = {
    "images": ("shape", "frames", "scans"),
    "dtype": ("dtype",),
    "values": (*conformance.STATISTICS, "unit"),
    "pixel size": ("step ", "extent ", "reach ", "unit of axis"),
    "kV": ("accelerating_voltage",),
    "mag": ("magnification",),
    "date": ("date", "date as written", "time"),
}
_HEADS = ("file", *_COLUMNS, "other")


def page() -> str:
    """Return the page."""
    reports = list(conformance.reports())
    notes = _Notes()
    rows = [_row(report, notes) for report in reports if report.refusal is None]
    used = sorted({check.claim.by for report in reports for check in report.checks}, key=str.lower)
    compared = _COMPARED.format(items=len(reports), readers=", ".join(used))
    parts = [
        HEADING,
        *_totals(reports),
        *_known(reports),
        "## Conformance",
        "",
        textwrap.fill(compared, _WIDTH, break_on_hyphens=False),
        LEGEND,
        *_table(_HEADS, rows),
        *notes.section(),
        *_refused(reports),
        *_by_hand(),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    lines = [heads, ("---",) * len(heads), *rows]
    return [*("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines), ""]


def _totals(reports: list[Report]) -> list[str]:
    read = [report for report in reports if report.refusal is None]
    images = [report for report in reports if report.item["open"] not in REFUSED]
    outcomes = Counter(check.outcome for report in reports for check in report.checks)
    named = Counter(REFUSED[report.item["open"]][0] for report in reports if report.refusal is not None)
    rows = [
        ("files and sets of files", str(len(reports))),
        ("that hold images", str(len(images))),
        ("of these read", f"{len(read)} ({len(read) / len(images):.0%})"),
        ("images in them, one per channel and direction", str(sum(len(report.scans) for report in read))),
        ("refused with the reason: spectra, curves and sidecars", str(named["NotAnImageError"])),
        ("refused with the reason: damaged", str(named["DamagedFileError"])),
        ("facts compared", str(outcomes.total())),
        ("equal", str(outcomes["equal"])),
        ("different, explained, and exactly as explained", str(outcomes["explained"])),
        ("wrong", str(outcomes["wrong"])),
    ]
    return _table(("", "count"), rows)


def _known(reports: list[Report]) -> list[str]:
    """Return the table of formats; proof is a file of other people that was read and compared."""
    proof = Counter(
        (kind, report.item["content"] == "pattern")
        for report in reports
        for kind in {scan.source.format for scan in report.scans}
    )
    rows = []
    for name, reader in readers():
        for known in reader.formats:
            real, patterns = proof[known.name, False], proof[known.name, True]
            told = [_counted(real, "real file"), _counted(patterns, "test pattern")]
            extensions = " ".join(f"`{extension}`" for extension in known.extensions)
            extra = f"`{reader.extra}`" if reader.extra else ""
            tested = ", ".join(filter(None, told)) or "own files"
            rows.append((known.title, extensions, f"`{known.name}`", f"`{name}`", extra, tested))
    rows.sort(key=lambda row: row[0].lower())
    return [KNOWN, *_table(("format", "extensions", "name", "reader", "extra", "tested on"), rows)]


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count > 1)}" if count else ""


class _Notes:
    """The explained differences, numbered as they come up."""

    def __init__(self) -> None:
        self._whys: dict[str, list[tuple[Report, Check]]] = {}

    def number(self, report: Report, check: Check) -> int:
        assert check.difference is not None
        self._whys.setdefault(check.difference.why, []).append((report, check))
        return list(self._whys).index(check.difference.why) + 1

    def section(self) -> list[str]:
        lines = ["### Explained differences", ""]
        rows = []
        for number, (why, found) in enumerate(self._whys.items(), 1):
            by = sorted({check.claim.by.rsplit(" ", 1)[0] for _, check in found})
            fields = sorted({check.claim.field.removeprefix("first frame ") for _, check in found})
            shown = ", ".join(fields) if len(fields) < 4 else "values"
            files = sorted({_short(report.item["open"]) for report, _ in found})
            told = ", ".join(files) if len(files) < 3 else f"{len(files)} files"
            rows.append((str(number), why, ", ".join(by), shown, told))
        return [*lines, *_table(("", "why", "reader", "fields", "files"), rows)]


def _row(report: Report, notes: _Notes) -> tuple[str, ...]:
    groups: dict[str, list[Check]] = {name: [] for name in (*_COLUMNS, "other")}
    for check in report.checks:
        groups[_column(check.claim.field)].append(check)
    marks = {name: _mark(report, checks, notes) for name, checks in groups.items()}
    cells = [_short(report.item["open"])]
    for name in _COLUMNS:
        shown = _shown(name, report.scans)
        cells.append(_cell(shown, marks[name]))
    count = sum(check.outcome != "wrong" for check in groups["other"])
    cells.append(f"{count} {marks['other']}" if groups["other"] else "–")
    return tuple(cells)


def _column(field: str) -> str:
    last = field.removeprefix("first frame ")
    for name, fields in _COLUMNS.items():
        if last in fields or (name == "pixel size" and last.startswith(fields)):
            return name
    return "other"


def _mark(report: Report, checks: list[Check], notes: _Notes) -> str:
    if not checks:
        return ""
    if any(check.outcome == "wrong" for check in checks):
        return "✗"
    numbers = sorted({notes.number(report, check) for check in checks if check.outcome == "explained"})
    return "✓" + ",".join(map(str, numbers)).translate(_SUPERSCRIPT)


def _cell(shown: str, mark: str) -> str:
    if not shown:
        return f"– {mark}".strip()
    return f"{shown} {mark or '+'}"


def _shown(column: str, scans: list[Scan]) -> str:
    if column == "images":
        shapes = Counter(_shape(scan) for scan in scans)
        return "; ".join(f"{count} × {shape}" if len(scans) > 1 else shape for shape, count in shapes.items())
    if column == "dtype":
        return ", ".join(dict.fromkeys(scan.pixels.dtype for scan in scans))
    if column == "values":
        return f"{len(scans)}/{len(scans)}" if len(scans) > 1 else "1"
    if column == "pixel size":
        return "; ".join(dict.fromkeys(filter(None, (_size(scan) for scan in scans))))
    if column == "date":
        found = next((scan.acquired for scan in scans if scan.acquired), "")
        return found.replace("T", " ")[:16] + "Z" * found.endswith("Z")
    name = "accelerating_voltage" if column == "kV" else "magnification"
    found = next((scan.settings[name].value for scan in scans if name in scan.settings), None)
    return "" if found is None else f"{found / 1000:g}" if column == "kV" else f"{found:.6g}"


def _shape(scan: Scan) -> str:
    sizes = [str(axis.size) for axis in scan.axes]
    if scan.colour:
        return "×".join(sizes[:-1]) + (" RGBA" if sizes[-1] == "4" else " RGB")
    return "×".join(sizes)


def _size(scan: Scan) -> str:
    """Return the pixel size in a handy unit: once where x and y are alike."""
    shown = []
    for name in ("x", "y"):
        axis = scan.axis(name)
        if axis.step is None or axis.unit is None:
            return ""
        shown.append(_length(abs(axis.step), axis.unit))
    return shown[0] if shown[0] == shown[1] else f"{shown[0]}, {shown[1]}"


def _length(number: float, unit: str) -> str:
    if units.compatible(unit, "m"):
        metres = units.convert(number, unit, "m")
        wanted = next((name for name, size in _LENGTHS if metres >= size), "pm")
        return f"{units.convert(number, unit, wanted):.4g} {wanted}"
    if units.compatible(unit, "1/m"):
        return f"{units.convert(number, unit, '1/nm'):.4g} 1/nm"
    return f"{number:.4g} {unit}"


def _short(path: str) -> str:
    folder, name = path.split("/", 1)
    if len(name) > _NAME_LIMIT:
        name = f"{name[: _NAME_LIMIT - 9]}…{name[-8:]}"
    return f"{folder}/{name}"


def _refused(reports: list[Report]) -> Iterator[str]:
    yield from (
        "## Refused",
        "",
        "No image, or a damaged one: micdb says what it found, and takes nothing in.",
        "",
    )
    rows = [
        (_short(report.item["open"]), _reason(report)) for report in reports if report.refusal is not None
    ]
    yield from _table(("file", "reason"), rows)


def _reason(report: Report) -> str:
    path = str(conformance.FOLDER / report.item["open"])
    return str(report.refusal).replace(path, "").lstrip(": ").replace("`", "'")


def _by_hand() -> Iterator[str]:
    yield from (
        "## Read by micdb alone",
        "",
        "What the files say and none of the readers gives; each value was looked up in the file by hand.",
        "",
    )
    rows = [(_short(item), ", ".join(found).replace("_", " ")) for item, found in BY_HAND.items()]
    yield from _table(("file", "fields"), rows)


def main(path: Path) -> None:
    """Write the page, where the real files and the extras are there to write it from."""
    if not conformance.ITEMS:
        sys.stderr.write(f"{path} is kept: the real files (../shared/data) are not beside this checkout\n")
    elif conformance.missing_extras():
        sys.stderr.write(f"{path} is kept: it needs every extra, pip install 'micdb[em,movies,nd2]'\n")
    else:
        path.write_text(page())


if __name__ == "__main__":
    main(Path(sys.argv[1]))

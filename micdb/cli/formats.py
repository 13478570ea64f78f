"""``micdb formats``: what can be read, and the command that adds what cannot."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from micdb.cli import output
from micdb.ingest.known_formats import KnownFormat, known_formats


def show(*, as_json: bool) -> None:
    """Print every known format; readers that are broken, and extras that are missing, stand below."""
    known = known_formats()
    if as_json:
        output.print_json([row._asdict() for row in known])
        return
    say = output.console().print
    say(_table([row for row in known if row.trouble is None]))
    say("✓ compared with an independent reader on a file of an instrument", style="dim", highlight=False)
    for extra in sorted({row.extra for row in known if row.extra and not row.ready}):
        say(f"missing: pip install 'micdb[{extra}]'", style="yellow", markup=False, highlight=False)
    for row in known:
        if row.trouble is not None:
            told = f"reader {row.reader!r} cannot be used: {row.trouble}"
            say(told, style="yellow", markup=False, highlight=False)


def _table(known: list[KnownFormat]) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("title", overflow="fold")
    table.add_column("extensions", overflow="fold", max_width=22 if output.console().is_terminal else None)
    table.add_column("format")
    table.add_column("reader")
    table.add_column("✓")
    for row in known:
        needs = f" ({row.extra})" if row.ready else f" ({row.extra} missing)"
        reader = row.reader + (needs if row.extra else "")
        cells = (row.title or "", row.extensions, row.format or "", reader, "✓" if row.tested else "")
        table.add_row(*map(Text, cells))
    return table

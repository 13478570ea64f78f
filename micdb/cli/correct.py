"""Commands by which people say what is wrong with detected defects, and how good detectors are by that."""

from __future__ import annotations

from typing import Annotated

import typer

from micdb.cli import output
from micdb.cli.options import AsJson, Db, Format, app, chosen
from micdb.corrections.log import Correction
from micdb.errors import UsageError

correct = typer.Typer(
    help="Correct defects: accept, reject, relabel, move, add, carry; undo takes it back.",
    no_args_is_help=False,
    rich_markup_mode=None,
)
app.add_typer(correct, name="correct")

Uids = Annotated[list[str], typer.Argument(help="uids of defects; micdb query prints them.")]
By = Annotated[str | None, typer.Option(help="Who says so; the user of this computer when not given.")]
At = Annotated[str, typer.Option(help="x,y of the centre [pixel], from the centre of the top-left pixel.")]


@correct.command()
def accept(uids: Uids, db: Db = None, by: By = None, as_json: AsJson = False) -> None:
    """Say that defects are what the detector says."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        _say(base.corrections.accept(uids, by=by), as_json)


@correct.command()
def reject(uids: Uids, db: Db = None, by: By = None, as_json: AsJson = False) -> None:
    """Say that there is no defect."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        _say(base.corrections.reject(uids, by=by), as_json)


@correct.command()
def relabel(
    uids: Uids,
    kind: Annotated[str, typer.Option(help="What they are: vacancy, substitution, ...")],
    db: Db = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Say what defects are instead."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        _say(base.corrections.relabel(uids, kind, by=by), as_json)


@correct.command()
def move(
    uid: Annotated[str, typer.Argument(help="uid of a defect.")],
    at: At,
    db: Db = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Say where a defect is."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        _say([base.corrections.move(uid, *_point(at), by=by)], as_json)


@correct.command()
def add(
    image: Annotated[str, typer.Argument(help="uid of the image.")],
    kind: Annotated[str, typer.Option(help="What it is: vacancy, substitution, ...")],
    at: At,
    frame: Annotated[int, typer.Option(help="Of a stack, from 0.")] = 0,
    detector: Annotated[str | None, typer.Option(help="Which missed it, where several have looked.")] = None,
    db: Db = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Say that there is a defect that a detector missed."""
    from micdb import opening

    x, y = _point(at)
    with opening.open(chosen(db)) as base:
        done = base.corrections.add(image, kind, x, y, frame=frame, detector=detector, by=by)
        _say([done], as_json)


@correct.command()
def undo(
    uid: Annotated[str, typer.Argument(help="uid of the correction; history lists them.")],
    db: Db = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Take a correction back."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        _say([base.corrections.undo(uid, by=by)], as_json)


@correct.command()
def carry(
    detector: Annotated[str | None, typer.Argument(help="Its name; all when not given.")] = None,
    db: Db = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Say of a detector's current run what was said of its other runs, by place."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        _say(base.corrections.carry(detector, by=by), as_json)


@correct.command()
def history(
    uid: Annotated[str | None, typer.Argument(help="Only of this defect and what it replaced.")] = None,
    db: Db = None,
    form: Format = "table",
) -> None:
    """List corrections, oldest first."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        output.print_frame(base.corrections.history(uid), form)


@app.command()
def scorecard(
    db: Db = None,
    level: Annotated[float, typer.Option(help="Probability of the intervals.")] = 0.95,
    form: Format = "table",
) -> None:
    """Print how good each detector of defects is, by what people corrected."""
    from micdb import opening

    if not 0 < level < 1:
        raise UsageError(f"--level is {level:g}; expected a probability between 0 and 1")
    with opening.open(chosen(db)) as base:
        table = base.scorecard(level=level)
    if form == "table":
        table = table.drop(columns="run").round(3)
    output.print_frame(table, form)
    if form == "table" and table.empty:
        output.console().print("nobody has corrected anything: micdb correct --help", highlight=False)


def _point(text: str) -> tuple[float, float]:
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--at is {text!r}; write x,y in pixels, for example 101.5,64") from None
    return x, y


def _say(done: list[Correction], as_json: bool) -> None:
    if as_json:
        output.print_json([one.as_json() for one in done])
        return
    for one in done:
        stands = f"; {one.defect} stands" if one.defect not in (None, one.target) else ""
        output.console().print(f"{one.verb} {one.target}{stands}; undo with {one.uid}", highlight=False)

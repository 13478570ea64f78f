"""Commands that train networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from micdb.cli import output
from micdb.cli.options import AsJson, app
from micdb.extras import require


@app.command()
def train(
    name: Annotated[str, typer.Argument(help="Weights, named like their extractor: stem-atoms.")],
    out: Annotated[Path, typer.Option(help="Folder for the weights and their card.")] = Path(),
    steps: Annotated[int | None, typer.Option(help="Batches to learn from, instead of the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed, instead of the recipe's.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that simulate.")] = 1,
    bank: Annotated[
        Path | None, typer.Option(help="Folder for what is simulated once, for weights that learn from it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a network again, from simulated images with known truth."""
    require("torch")
    from micdb.embed.train.recipe import follow, schedule_of

    total = schedule_of(name, steps=steps, seed=seed).steps
    with output.progress(f"train {name}") as advance:

        def watch(step: int, loss: float) -> None:
            if advance:
                advance(f"loss {loss:.4f}", step, total)

        def watch_bank(made: int, wanted: int) -> None:
            if advance:
                advance("simulating the bank", made, wanted)

        made = follow(
            name, folder=out, steps=steps, seed=seed, workers=workers, watch=watch, bank=bank,
            watch_bank=watch_bank,
        )  # fmt: skip
    if as_json:
        output.print_json(made.as_json())
        return
    console = output.console()
    console.print(f"{out / name}.safetensors, {name}.json", highlight=False, markup=False)
    for what, value in made.measured.items():
        console.print(f"  {what}: {value}", highlight=False, markup=False)

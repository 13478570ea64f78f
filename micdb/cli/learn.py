"""Commands that train networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from micdb.cli import output
from micdb.cli.classes import teach
from micdb.cli.options import AsJson, Db, Where, app, chosen, split
from micdb.errors import UsageError
from micdb.extras import require

if TYPE_CHECKING:
    from micdb.embed.nets.weights import Weights


Bank = Annotated[
    Path | None, typer.Option(help="Folder for what is simulated once, for weights that learn from it.")
]
FromAnnotations = Annotated[
    bool, typer.Option("--from-annotations", help="Go on with the shipped weights, from corrected images.")
]
FromImages = Annotated[
    str | None, typer.Option("--from-images", help="denoise, vae: learn from the images of this query.")
]
Label = Annotated[str | None, typer.Option(help="classify: property or column that names an image's class.")]
Embedding = Annotated[str, typer.Option(help="classify: extractors or spaces, joined: texture@px,micro.")]
Groups = Annotated[str, typer.Option(help="classify: columns that a fold must not split.")]
Latent = Annotated[int, typer.Option(help="vae: number of latent variables.")]
Invariant = Annotated[bool, typer.Option("--invariant", help="vae: leave rotation out of them.")]
Condition = Annotated[str, typer.Option(help="vae: columns that are known and need not be learnt.")]
NmPerPixel = Annotated[float | None, typer.Option(help="vae: pixel size to look at [nm].")]


@app.command()
def train(
    name: Annotated[str, typer.Argument(help="Weights, named like their extractor: stem-atoms, classify.")],
    out: Annotated[Path, typer.Option(help="Folder for the weights and their card.")] = Path(),
    steps: Annotated[int | None, typer.Option(help="Batches to learn from, instead of the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed, instead of the recipe's.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that simulate.")] = 1,
    bank: Bank = None,
    from_annotations: FromAnnotations = False,
    from_images: FromImages = None,
    label: Label = None,
    embedding: Embedding = "texture",
    groups: Groups = "sample",
    latent: Latent = 4,
    invariant: Invariant = False,
    condition: Condition = "",
    nm_per_pixel: NmPerPixel = None,
    where: Where = None,
    db: Db = None,
    as_json: AsJson = False,
) -> None:
    """Train again from simulated images, go on training from one's own, or learn classes from labels."""
    if name == "classify":
        teach(
            chosen(db), out, label=label, embedding=embedding, groups=groups, where=where, seed=seed or 0,
            as_json=as_json,
        )  # fmt: skip
        return
    require("torch")
    with output.progress(f"train {name}") as advance:
        if from_images is not None and name == "vae":
            how: dict[str, Any] = {"latent": latent, "invariant": invariant, "nm_per_pixel": nm_per_pixel}
            conditions = split(condition) if condition else []
            made = _learn_windows(
                chosen(db), from_images, out, conditions=conditions, how=how, steps=steps, seed=seed,
                advance=advance,
            )  # fmt: skip
        elif from_images is not None:
            made = _learn_noise(chosen(db), name, from_images, out, steps=steps, seed=seed, advance=advance)
        elif from_annotations:
            made = _fine_tune(chosen(db), name, out, steps=steps, seed=seed, advance=advance)
        else:
            made = _simulate(name, out, bank, steps=steps, seed=seed, workers=workers, advance=advance)
    if as_json:
        output.print_json(made.as_json())
        return
    console = output.console()
    console.print(f"{out / name}.safetensors, {name}.json", highlight=False, markup=False)
    for what, value in made.measured.items():
        console.print(f"  {what}: {value}", highlight=False, markup=False)


def _simulate(
    name: str,
    out: Path,
    bank: Path | None,
    *,
    steps: int | None,
    seed: int | None,
    workers: int,
    advance: output.Advance | None,
) -> Weights:
    from micdb.embed.train.recipe import follow, schedule_of

    def watch_bank(made: int, wanted: int) -> None:
        if advance:
            advance("simulating the bank", made, wanted)

    total = schedule_of(name, steps=steps, seed=seed).steps
    return follow(
        name, folder=out, steps=steps, seed=seed, workers=workers, watch=_watcher(advance, total), bank=bank,
        watch_bank=watch_bank,
    )  # fmt: skip


def _learn_noise(
    db: str, name: str, text: str, out: Path, *, steps: int | None, seed: int | None,
    advance: output.Advance | None,
) -> Weights:  # fmt: skip
    from micdb import opening
    from micdb.analysis.teaching import noisy
    from micdb.embed.train import blind_spot

    if name != blind_spot.NAME:
        raise UsageError(f"{name} learns nothing from images alone; denoise and vae do, with --from-images")
    with opening.open(db) as base:
        shown = noisy(base.images.query(text))
    total = blind_spot.STEPS if steps is None else steps
    return blind_spot.teach(shown, out, steps=total, seed=seed or 0, watch=_watcher(advance, total))


def _learn_windows(
    db: str, text: str, out: Path, *, conditions: list[str], how: dict[str, Any], steps: int | None,
    seed: int | None, advance: output.Advance | None,
) -> Weights:  # fmt: skip
    from micdb import opening
    from micdb.analysis.teaching import shown
    from micdb.embed.train import vae

    with opening.open(db) as base:
        images = shown(base.images.query(text), conditions=conditions, nm_per_pixel=how["nm_per_pixel"])
    total = vae.STEPS if steps is None else steps
    return vae.teach(
        images, out, conditions=conditions, steps=total, seed=seed or 0, watch=_watcher(advance, total), **how
    )


def _fine_tune(
    db: str, name: str, out: Path, *, steps: int | None, seed: int | None, advance: output.Advance | None
) -> Weights:
    from micdb import opening
    from micdb.analysis.teaching import drawn, examples
    from micdb.embed.train import segment
    from micdb.embed.train.annotated import STEPS, fine_tune

    if name == segment.NAME:
        with opening.open(db) as base:
            masks = drawn(base.context)
        total = segment.STEPS if steps is None else steps
        return segment.teach(masks, out, steps=total, seed=seed or 0, watch=_watcher(advance, total))
    with opening.open(db) as base:
        shown = examples(base.context, name)
    total = STEPS if steps is None else steps
    return fine_tune(name, shown, out, steps=total, seed=seed or 0, watch=_watcher(advance, total))


def _watcher(advance: output.Advance | None, total: int) -> Callable[[int, float], None]:
    def watch(step: int, loss: float) -> None:
        if advance:
            advance(f"loss {loss:.4f}", step, total)

    return watch

"""What it takes to train shipped weights again, from simulation to card: ``micdb train stem-atoms``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from micdb.embed.defects.network import DefectNet
from micdb.embed.nets import weights
from micdb.embed.nets.unet import UNet
from micdb.embed.train import atoms, defects
from micdb.embed.train.loop import Make, Schedule, train
from micdb.errors import UsageError, suggestion


@dataclass(frozen=True, slots=True)
class Recipe:
    """How weights are made.

    Parameters
    ----------
    build
        The architecture.
    network
        Its arguments.
    make
        Simulates a batch.
    loss
        Of the network on a batch.
    schedule
        Steps, rate, seed.
    measure
        What the trained network reaches on simulations of seeds it never saw, for its card.
    """

    build: Callable[..., nn.Module]
    network: Mapping[str, int]
    make: Make
    loss: Callable[[nn.Module, tuple[Tensor, ...]], Tensor]
    schedule: Schedule
    measure: Callable[[nn.Module], dict[str, Any]]


RECIPES: dict[str, Recipe] = {
    "stem-atoms": Recipe(
        UNet, {"base": 12, "levels": 4}, atoms.batch, atoms.loss, Schedule(4000), atoms.measure
    ),
    "stem-defects": Recipe(
        DefectNet,
        {"hidden": 48, "layers": 3},
        defects.batch,
        defects.loss,
        Schedule(4000, epochs=20),
        defects.measure,
    ),
}


def schedule_of(name: str, *, steps: int | None = None, seed: int | None = None) -> Schedule:
    """Return how a recipe learns, with other steps or another seed.

    Raises
    ------
    UsageError
        There is no such recipe, or fewer than one step is asked for.
    """
    if name not in RECIPES:
        raise UsageError(f"there is no recipe {name!r}{suggestion(name, list(RECIPES))}")
    if steps is not None and steps < 1:
        raise UsageError(f"steps is {steps}; at least 1 is needed")
    schedule = RECIPES[name].schedule
    return replace(
        schedule,
        steps=schedule.steps if steps is None else steps,
        seed=schedule.seed if seed is None else seed,
    )


def follow(
    name: str,
    *,
    folder: Path | None = None,
    steps: int | None = None,
    seed: int | None = None,
    workers: int = 1,
    watch: Callable[[int, float], None] | None = None,
) -> weights.Weights:
    """Train weights and write them with their card.

    Parameters
    ----------
    name
        Of the weights.
    folder
        Where to; None replaces the shipped ones.
    steps, seed
        Instead of the recipe's.
    workers
        Processes that simulate.
    watch
        Called with the step and the loss, now and then.

    Raises
    ------
    UsageError
        As for `schedule_of`.
    """
    schedule = schedule_of(name, steps=steps, seed=seed)
    recipe = RECIPES[name]
    network, seconds = train(
        lambda: recipe.build(**recipe.network),
        recipe.make,
        recipe.loss,
        schedule,
        workers=workers,
        watch=watch,
    )
    described: dict[str, Any] = {**asdict(schedule), "simulator": recipe.make.__module__}
    measured = {**recipe.measure(network), "training": f"{seconds:.0f} s of processor time"}
    return weights.save(
        network, name, arguments=dict(recipe.network), recipe=described, measured=measured, folder=folder
    )

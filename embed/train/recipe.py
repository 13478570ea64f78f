"""What it takes to train shipped weights again, from simulation to card: ``micdb train stem-atoms``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from micdb.embed.defects.network import DefectNet
from micdb.embed.extractors.texture_features import DIM
from micdb.embed.micro import foil_maps, particle_maps
from micdb.embed.nets import weights
from micdb.embed.nets.projection import Projection
from micdb.embed.nets.unet import UNet
from micdb.embed.nets.whitened import WhitenedNet
from micdb.embed.restore.network import EVIDENCE, FINER
from micdb.embed.stm.kinds import KINDS
from micdb.embed.stm.network import CHANNELS
from micdb.embed.tilts.angles import ANSWERS
from micdb.embed.tilts.bank import COST, build
from micdb.embed.tilts.cells import NUMBERS
from micdb.embed.tilts.view import AXES
from micdb.embed.train import (
    adversary,
    atoms,
    defects,
    foil_defects,
    micro,
    particle_measures,
    particles,
    pattern,
    restore,
    stm,
    tem_heights,
    tilts,
)
from micdb.embed.train.loop import Batch, Schedule, train
from micdb.errors import UsageError, suggestion


@dataclass(frozen=True, slots=True)
class Bank:
    """Simulations that are too dear to be repeated for every batch; a recipe's functions take their folder.

    Parameters
    ----------
    build
        Simulates what a folder lacks, and tells how many of how many there are.
    cost
        Of all of them, in words.
    begin
        Prepares the untrained network, if need be.
    """

    build: Callable[[Path, Callable[[int, int], None] | None], int]
    cost: str
    begin: Callable[..., None] | None = None


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
    bank
        What is simulated once and learnt from again and again; None when every batch is simulated anew.
    """

    build: Callable[..., nn.Module]
    network: Mapping[str, Any]
    make: Callable[..., Batch]
    loss: Callable[[nn.Module, tuple[Tensor, ...]], Tensor]
    schedule: Schedule
    measure: Callable[..., dict[str, Any]]
    bank: Bank | None = None

    def begun(self) -> nn.Module:
        """Return the untrained network."""
        network = self.build(**self.network)
        if self.bank and self.bank.begin:
            self.bank.begin(network)
        return network


RECIPES: dict[str, Recipe] = {
    "stem-atoms": Recipe(
        UNet, {"base": 12, "levels": 4}, atoms.batch, atoms.loss, Schedule(4000), atoms.measure
    ),
    "stem-defects": Recipe(
        DefectNet,
        {"hidden": 48, "layers": 3},
        defects.batch,
        defects.loss,
        Schedule(1950, epochs=15, decay=3e-4),
        defects.measure,
    ),
    "stm-defects": Recipe(
        UNet,
        {"channels_in": CHANNELS, "channels_out": 2 + len(KINDS), "base": 8, "levels": 4},
        stm.batch,
        stm.loss,
        Schedule(2000),
        stm.measure,
    ),
    "micro": Recipe(
        UNet,
        {"channels_in": 1, "channels_out": micro.MAPS, "base": 16, "levels": 4},
        micro.batch,
        micro.loss,
        Schedule(3000),
        micro.measure,
    ),
    "micro-pattern": Recipe(
        Projection,
        {"inputs": DIM},
        pattern.batch,
        pattern.loss,
        Schedule(1600, rate=1e-3, epochs=100, decay=1e-2),
        pattern.measure,
    ),
    "defect-seg": Recipe(
        UNet,
        {
            "channels_in": foil_maps.CHANNELS,
            "channels_out": len(foil_maps.KINDS),
            "base": 8,
            "levels": 5,
        },
        foil_defects.batch,
        foil_defects.loss,
        Schedule(5600, epochs=7),
        foil_defects.measure,
    ),
    "particles": Recipe(
        particles.begun,
        {"channels_in": 1, "channels_out": particle_maps.MAPS, "base": 16, "levels": 4},
        particles.batch,
        particles.loss,
        Schedule(4000, rate=2e-3, epochs=5),
        particle_measures.measure,
    ),
    "tem-heights": Recipe(
        UNet,
        {"channels_in": 2, "channels_out": 3, "base": 16, "levels": 4},
        tem_heights.batch,
        tem_heights.loss,
        Schedule(6000),
        tem_heights.measure,
    ),
    "denoise": Recipe(
        UNet,
        {"channels_in": EVIDENCE, "base": 8, "levels": 4},
        restore.batch,
        restore.loss,
        Schedule(1800, epochs=9),
        restore.measure,
    ),
    "super-resolve": Recipe(
        UNet,
        {"channels_out": FINER**2, "base": 16, "levels": 4},
        restore.fine_batch,
        restore.fine_loss,
        Schedule(2800, epochs=8),
        restore.fine_measure,
    ),
    "super-resolve-adversarial": Recipe(
        adversary.begun,
        {"channels_out": FINER**2, "base": 16, "levels": 4},
        restore.fine_batch,
        adversary.Adversary(),
        Schedule(320, rate=5e-4, epochs=8),
        restore.fine_measure,
    ),
    "abf-tilts": Recipe(
        WhitenedNet,
        {"inputs": NUMBERS, "answers": ANSWERS, "magnitudes": len(AXES), "hidden": (320, 160, 80)},
        tilts.batch,
        tilts.loss,
        Schedule(55000, rate=2e-3),
        tilts.measure,
        Bank(build, COST, tilts.begin),
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


def with_bank(name: str, folder: Path | None, *, watch: Callable[[int, int], None] | None = None) -> Recipe:
    """Return a recipe whose bank is in a folder; what is missing there is simulated first.

    Raises
    ------
    UsageError
        There is no such recipe, or it needs a bank and no folder is given.
    """
    schedule_of(name)
    recipe = RECIPES[name]
    if recipe.bank is None:
        return recipe
    if folder is None:
        raise UsageError(
            f"{name} learns from a bank that is simulated once ({recipe.bank.cost}): name a folder for it, "
            "bank= or --bank; one that is there already is used, one that is not finished goes on"
        )
    recipe.bank.build(folder, watch)
    begin = partial(recipe.bank.begin, folder=folder) if recipe.bank.begin else None
    return replace(
        recipe,
        make=partial(recipe.make, folder=folder),
        measure=partial(recipe.measure, folder=folder),
        bank=replace(recipe.bank, begin=begin),
    )


def follow(
    name: str,
    *,
    folder: Path | None = None,
    steps: int | None = None,
    seed: int | None = None,
    workers: int = 1,
    watch: Callable[[int, float], None] | None = None,
    bank: Path | None = None,
    watch_bank: Callable[[int, int], None] | None = None,
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
    bank, watch_bank
        Folder of the bank, where the recipe has one; called while it is built.

    Raises
    ------
    UsageError
        As for `schedule_of` and `with_bank`.
    """
    schedule = schedule_of(name, steps=steps, seed=seed)
    recipe = with_bank(name, bank, watch=watch_bank)
    network, seconds = train(
        recipe.begun,
        recipe.make,
        recipe.loss,
        schedule,
        workers=workers,
        watch=watch,
    )
    described: dict[str, Any] = {**asdict(schedule), "simulator": RECIPES[name].make.__module__}
    measured = {**recipe.measure(network), "training": f"{seconds:.0f} s of processor time"}
    return weights.save(
        network, name, arguments=dict(recipe.network), recipe=described, measured=measured, folder=folder
    )

"""Images with planted defects whose names are known, for training and for measuring detectors of defects.

The dose is counted in the brightest pixel of the host's strongest column, so that a bright dopant does not
dim the host.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from micdb.embed.simulate import dichalcogenides, graphene, perovskites
from micdb.embed.simulate.oddities import with_oddity
from micdb.embed.simulate.stem import Probe, StemImage, adf_image
from micdb.embed.simulate.structure import CONTRAST_EXPONENT, Structure
from micdb.errors import UsageError

Floats = npt.NDArray[np.float64]

#: Kind of each defect that is planted, by material and name.
MOTIFS: dict[str, dict[str, str]] = {
    "graphene": {
        "vacancy": "vacancy", "divacancy": "divacancy", "vacancy-cluster": "vacancy-cluster",
        **dict.fromkeys(("Si1C3", "Si1C4", "Si2C4", "Si2C5", "Si2C6", "Si3C6"), "substitution"),
        "stone-wales": "ring", "adatom": "adatom", "silicon-adatom": "adatom", "edge": "edge", "pore": "edge",
        "boundary": "boundary",
    },
    "dichalcogenide": {
        "metal-vacancy": "vacancy", "chalcogen-vacancy": "vacancy", "chalcogen-divacancy": "divacancy",
        "metal-dopant": "substitution", "chalcogen-dopant": "substitution", "metal-antisite": "substitution",
        "chalcogen-adatom": "adatom", "metal-adatom": "adatom", "metal-interstitial": "interstitial",
        "twin-boundary": "boundary",
    },
    "perovskite": {
        "A-vacancy": "vacancy", "B-vacancy": "vacancy", "A-substitution": "substitution",
        "B-substitution": "substitution", "A-interstitial": "interstitial",
    },
}  # fmt: skip
_OVERSAMPLED = 0.3  # share of random conditions
_SIDES = (144, 224)  # [pixel]
_SEPARATION, _CROWDED = 0.8, 0.5  # [nm] of the sites of defects; where their number is left to chance


@dataclass(frozen=True, slots=True)
class Imaging:
    """How a structure is imaged.

    Parameters
    ----------
    pixel_size
        [nm].
    side
        [pixel].
    counts
        In the brightest pixel of the host's strongest column.
    background, contamination
        As shares of that.
    probe
        The probe.
    drift
        Over the frame ``(y, x)`` [nm].
    line_jitter
        [nm].
    readout
        [counts].
    exponent
        Of the atomic number in the scattering.
    """

    pixel_size: float = 0.016
    side: int = 192
    counts: float = 20.0
    background: float = 0.1
    contamination: float = 0.2
    probe: Probe = Probe(0.04, 0.15, 0.085)  # noqa: RUF009
    drift: tuple[float, float] = (0.02, 0.01)
    line_jitter: float = 0.001
    readout: float = 0.3
    exponent: float = CONTRAST_EXPONENT


@dataclass(frozen=True, slots=True)
class DefectScene:
    """An image, its pixel size and what is planted.

    Parameters
    ----------
    simulated
        Image and truth; its `defects` are planted ones in the view.
    names
        Of each of those defects: a key of `MOTIFS` under its material.
    material
        As given.
    """

    simulated: StemImage
    names: tuple[str, ...]
    material: str


def planted_scene(
    material: str,
    plan: Mapping[str, int],
    *,
    seed: int,
    imaging: Imaging | None = None,
    oddity: str | None = None,
    **structure: object,
) -> DefectScene:
    """Simulate an image with defects.

    Parameters
    ----------
    material
        ``graphene``, a layer of `dichalcogenides.LAYERS` or one of `perovskites.PEROVSKITES`.
    plan
        How many of each name in `MOTIFS`; no two names of one kind, so that names can be told afterwards.
    seed
        Of structure and noise.
    imaging
        Dose, sampling and flaws.
    oddity
        One of `micdb.embed.simulate.oddities.ODDITIES`, planted as ``unknown``.
    **structure
        Further arguments of the material's builder.

    Raises
    ------
    UsageError
        There is no such material or name, two names are of one kind, or there is no room.
    """
    how = imaging or Imaging()
    known = MOTIFS[family(material)]
    unknown = sorted(set(plan) - set(known))
    if unknown:
        raise UsageError(f"{material} has no defect {unknown[0]!r}; expected one of {', '.join(known)}")
    names = {known[name]: name for name, count in plan.items() if count}
    if len(names) < sum(count > 0 for count in plan.values()):
        raise UsageError(f"{', '.join(plan)}: two are of one kind; plant them in two scenes")
    made = _built(material, plan, how, seed, structure)
    host = host_weight(material, made, exponent=how.exponent)
    if oddity is not None:
        side = how.side * how.pixel_size
        made = with_oddity(made, oddity, (side, side), seed=seed)
        names["unknown"] = "unknown"
    simulated = _imaged(made, host, how, seed)
    return DefectScene(simulated, tuple(names[one.kind] for one in simulated.defects), material)


def family(material: str) -> str:
    """Return the key of `MOTIFS` for a material.

    Raises
    ------
    UsageError
        There is no such material.
    """
    if material == "graphene":
        return material
    if material in dichalcogenides.LAYERS:
        return "dichalcogenide"
    if material in perovskites.PEROVSKITES:
        return "perovskite"
    known = ["graphene", *dichalcogenides.LAYERS, *perovskites.PEROVSKITES]
    raise UsageError(f"no material {material!r}; expected one of {', '.join(known)}")


def _built(
    material: str, plan: Mapping[str, int], how: Imaging, seed: int, structure: Mapping[str, object]
) -> Structure:
    side = how.side * how.pixel_size
    given: dict[str, object] = {"separation": _SEPARATION, **structure}
    if material == "graphene":
        given["grain_count"] = 2 if plan.get("boundary") else 1
        builder = graphene.graphene
        named = {name: n for name, n in plan.items() if name != "boundary"}
        return builder((side, side), seed=seed, defects=named, **given)  # type: ignore[arg-type]
    named = {name: n for name, n in plan.items() if name != "twin-boundary"}
    if family(material) == "dichalcogenide":
        given["boundary"] = bool(plan.get("twin-boundary"))
        return dichalcogenides.dichalcogenide(material, (side, side), seed=seed, defects=named, **given)  # type: ignore[arg-type]
    return perovskites.perovskite(material, (side, side), seed=seed, defects=named, **given)  # type: ignore[arg-type]


def host_weight(material: str, made: Structure, *, exponent: float = CONTRAST_EXPONENT) -> float:
    """Return the typical scattering of the host's strongest columns."""
    columns = made.columns(exponent=exponent)
    if material == "graphene":
        return float(np.median(columns.weight[columns.number == 6]))
    metal = dichalcogenides.LAYERS[material].metal if material in dichalcogenides.LAYERS else None
    strongest = columns.number == (metal or perovskites.PEROVSKITES[material].a)
    return float(np.median(columns.weight[strongest]))


def _imaged(made: Structure, host: float, how: Imaging, seed: int) -> StemImage:
    columns = made.columns(exponent=how.exponent)
    share = host / float(columns.weight.max())
    return adf_image(
        columns, (how.side, how.side), pixel_size=how.pixel_size, seed=seed, counts=how.counts / share,
        background=how.background * share, contamination=how.contamination * share, probe=how.probe,
        drift=how.drift, line_jitter=how.line_jitter, readout=how.readout,
    )  # fmt: skip


def random_imaging(rng: np.random.Generator) -> Imaging:
    """Return conditions over the range of real ones.

    Mostly 4 to 80 counts on pixels of 10 to 20 pm; a share is oversampled, with few counts on pixels of 6 to
    10 pm, as of slow scans at low voltage whose probe is wide and has long tails.
    """
    if rng.random() < _OVERSAMPLED:
        return _oversampled(rng)
    pixel = math.exp(rng.uniform(math.log(0.010), math.log(0.020)))
    length = rng.uniform(2.2, 3.4)  # [nm]
    return Imaging(
        pixel_size=pixel,
        side=int(np.clip(length / pixel, *_SIDES)),
        counts=math.exp(rng.uniform(math.log(4.0), math.log(80.0))),
        background=rng.uniform(0.0, 0.5),
        contamination=rng.uniform(0.0, 0.4) if rng.random() < 0.7 else 0.0,
        probe=Probe(rng.uniform(0.03, 0.055), rng.uniform(0.0, 0.35), rng.uniform(0.07, 0.12)),
        drift=(float(rng.normal(0, 0.03)), float(rng.normal(0, 0.03))),
        line_jitter=rng.uniform(0.0, 0.005) if rng.random() < 0.7 else 0.0,
        readout=rng.uniform(0.0, 1.0),
    )


def _oversampled(rng: np.random.Generator) -> Imaging:
    pixel = rng.uniform(0.006, 0.010)
    return Imaging(
        pixel_size=pixel,
        side=int(rng.uniform(1.9, 2.3) / pixel),
        counts=math.exp(rng.uniform(math.log(1.0), math.log(20.0))),
        background=rng.uniform(0.2, 1.5),
        contamination=rng.uniform(0.0, 0.4) if rng.random() < 0.7 else 0.0,
        probe=Probe(rng.uniform(0.04, 0.065), rng.uniform(0.1, 0.45), rng.uniform(0.1, 0.16)),
        drift=(float(rng.normal(0, 0.04)), float(rng.normal(0, 0.04))),
        line_jitter=rng.uniform(0.0, 0.012),
        readout=rng.uniform(0.0, 1.0),
        exponent=rng.uniform(1.5, 2.1),
    )


def density_scene(
    material: str, name: str, density: float, *, seed: int, imaging: Imaging | None = None
) -> DefectScene:
    """Simulate an image with a random number of one defect, of known expected density.

    Parameters
    ----------
    material, imaging
        As in `planted_scene`.
    name
        Of the defect.
    density
        Expected number per area of the view [1/nm**2]; the number is Poisson's.
    seed
        Of number, structure and noise.

    Raises
    ------
    UsageError
        As `planted_scene`; there is no room when the density is too high.
    """
    how = imaging or Imaging()
    rng = np.random.default_rng((seed, 17))
    number = int(rng.poisson(density * (how.side * how.pixel_size) ** 2))
    rotation = float(rng.uniform(0, 360))
    return planted_scene(
        material, {name: number}, seed=seed, imaging=how, rotation=rotation, separation=_CROWDED
    )

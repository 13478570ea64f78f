"""A link as a paper states it: how it was found, what was found, and the works it rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from micdb.analysis import scores
from micdb.analysis.linking.models import BASELINE, METADATA
from micdb.analysis.linking.validate import FOLDS
from micdb.analysis.linking.verdict import NAMES, by_model, quantity

if TYPE_CHECKING:
    from micdb.analysis.linking.result import Link

WORKS = {
    "ridge": "Hoerl & Kennard, Technometrics 12, 55 (1970): ridge regression",
    "elastic": "Zou & Hastie, J. R. Stat. Soc. B 67, 301 (2005): elastic net",
    "gp": "Rasmussen & Williams, MIT Press (2006): Gaussian process",
    "trees": "Friedman, Ann. Stat. 29, 1189 (2001): gradient boosting",
    "set": "Lee et al., ICML 2019: set transformer",
}
_ALWAYS = (
    "Varma & Simon, BMC Bioinformatics 7, 91 (2006): nested cross-validation",
    "Barber, Candes, Ramdas & Tibshirani, Ann. Stat. 49, 486 (2021): intervals",
    "Lee, Barber & Willett, arXiv:2306.06342 (2023): intervals for whole groups",
    "Pedregosa et al., J. Mach. Learn. Res. 12, 2825 (2011): models",
)
_LEVEL = 0.95  # of the interval of R2


def references(link: Link) -> str:
    """Return the works a link rests on, as cards have them."""
    names = ["ridge" if name == METADATA else name for name in by_model(link.table)]
    return "; ".join((*(WORKS[name] for name in dict.fromkeys(names) if name in WORKS), *_ALWAYS))


def methods(link: Link) -> str:
    """Return how a link was found and what was found, as sentences of a paper."""
    table = by_model(link.table)
    compared = [NAMES[name] for name in table if name not in (BASELINE, METADATA)]
    beside = "the mean and metadata alone" if METADATA in table else "the mean"
    folds = min(FOLDS, link.n_groups)
    said = [
        f"`{link.formula}` was asked over {link.n_rows:,} images in {link.n_groups:,} independent groups. "
        f"Compared with {beside}: {', '.join(compared)}, by nested cross-validation: {folds} folds hold out "
        "whole groups, and inner folds of whole groups choose what a model leaves open.",
        *_found(link, table[link.best]),
        link.verdict,
        *link.leaks,
        f"The seed is {link.seed}.",
    ]
    return " ".join(one if one.endswith(".") else f"{one}." for one in said)


def _found(link: Link, row: dict[str, Any]) -> list[str]:
    """Return the numbers of the best model; none where the mean is as good."""
    if link.best == BASELINE:
        return []
    unit = link.units.get("mae")
    design, rows = link.design, link.predictions[link.predictions["model"] == link.best]
    low, high = scores.r2_interval(
        design.y, rows["predicted"].to_numpy(), design.groups, level=_LEVEL, seed=link.seed
    )
    said = [
        f"On unseen groups the best, {NAMES[link.best]}, has R2 {row['r2_grouped']:.2f} ({low:.2f} to "
        f"{high:.2f}, {100 * _LEVEL:g} % interval, bootstrap over groups) and an absolute error "
        f"{quantity(row['gain_low'], unit)} to {quantity(row['gain_high'], unit)} below that of the mean"
    ]
    if row["coverage"] is not None:
        said.append(
            f"Conformal intervals (CV+ by group) asked to cover {100 * link.level:g} % covered "
            f"{100 * row['coverage']:.0f} % there, with a mean width of {quantity(row['width'], unit)}"
        )
    return said

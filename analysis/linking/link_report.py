"""The page of a link: scores beside baselines, what it rests on, what may mislead, what to measure next."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from micdb.analysis.blocks import Block, Plot, Remarks, Table
from micdb.analysis.linking.link_figures import (
    dependence_figure,
    importance_figure,
    leakage_figure,
    learning_figure,
)
from micdb.analysis.report import Section, link_section, write_report
from micdb.provenance import package_version

if TYPE_CHECKING:
    from micdb.analysis.linking.result import Link

_DRAWN = 4  # features whose dependence is drawn
_NEXT = 5  # samples that are suggested


def report(link: Link, path: str | PathLike[str]) -> Path:
    """Write a page about a link and return its path; a page that exists is replaced."""
    sections = [link_section(link, title="Scores"), _rests_on(link), _more(link)]
    if len(link.held_out):
        by = str(link.held_out.columns[0])
        text = f"Each {by} predicted by a model that was taught with the others alone."
        sections.append(Section(f"Without each {by}", [Table(link.held_out.round(3))], text=text))
    said = link.leaks or (
        "Nothing was found of what is looked for: copies, split samples, labels as features.",
    )
    gap = "What folds by image would have shown: where it is more, images of one sample tell of each other"
    sections.append(Section("What may mislead", [Plot(leakage_figure(link.table), gap), Remarks(said)]))
    footer = f"micdb {package_version()}, seed {link.seed}"
    return write_report(
        path, title="Structure and property", sections=sections, subtitle=link.formula, footer=footer
    )


def _rests_on(link: Link) -> Section:
    table = link.importance()
    blocks: list[Block] = [
        Plot(importance_figure(table), "Error on unseen groups when a feature is that of another group"),
    ]
    columns = [name for name in table["feature"] if name in link.design.features.columns][:_DRAWN]
    for name in columns:
        drawn = dependence_figure(link.partial_dependence(name), name, link.design.formula.target.text)
        blocks.append(Plot(drawn, f"Mean prediction when {name} has one value everywhere", wide=False))
    return Section("What it rests on", blocks, text="What the model uses; a cause it need not be.")


def _more(link: Link) -> Section:
    blocks: list[Block] = [
        Plot(learning_figure(link.learning_curve()), "Error on unseen groups against groups that teach")
    ]
    if len(link.design.waiting.uids):
        caption = "Samples without a measurement whose measurement would teach most, the first first"
        blocks.append(Table(link.suggest(_NEXT).round(3), caption))
    return Section("Would more samples help", blocks)

"""Links between structures and properties among what is cited: folder, sentences, references of each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Protocol

import pandas as pd

from micdb.errors import UnknownColumnError, UsageError
from micdb.query.context import Context
from micdb.query.frame import Frame
from micdb.query.origins import Origins, origins
from micdb.query.search import vectors


class CitableLink(Protocol):
    """What a citation asks of a link; `micdb.analysis.linking.result.Link` is one."""

    @property
    def formula(self) -> str:
        """What was asked."""

    @property
    def table(self) -> pd.DataFrame:
        """Scores, one row per model."""

    @property
    def asked(self) -> tuple[str, ...]:
        """Columns and roll-ups that it reads, as texts of a query."""

    @property
    def space(self) -> tuple[str, ...]:
        """Spaces of the vectors that it reads."""

    @property
    def predictions(self) -> pd.DataFrame:
        """One row per image and model, out of fold; ``uid`` names the image."""

    def methods(self) -> str:
        """Return how it was found and what was found, as sentences of a paper."""

    def references(self) -> str:
        """Return the works it rests on, as a card has them."""

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write it to a folder."""


def links_rest_on(context: Context, links: Sequence[CitableLink]) -> Origins:
    """Return the runs and properties that links were learnt from."""
    runs: set[int] = set()
    properties: dict[str, None] = {}
    for link in links:
        frame = Frame(context, "images")
        for number, text in enumerate(link.asked):
            with suppress(UnknownColumnError):  # a column of a DataFrame that was linked
                frame = frame.assign(**{f"asked_{number}": frame.expression(text)})
        found = origins(frame)
        properties |= dict.fromkeys(found.properties)
        runs |= {*found.runs, *(one.run for name in link.space for one in vectors.spaces(context, name))}
    return Origins(sorted(runs), list(properties))


def check_links(links: Sequence[CitableLink], images: Collection[str]) -> None:
    """Refuse links that rest on other images than those that are cited.

    Parameters
    ----------
    links
        The links.
    images
        Uids of the images behind the cited rows.

    Raises
    ------
    UsageError
        A link was learnt from images that are not among them.
    """
    for link in links:
        foreign = set(link.predictions["uid"]) - set(images)
        if foreign:
            raise UsageError(
                f"{link.formula!r} was learnt from {len(foreign)} images that are not behind the cited rows: "
                "cite the frame that was linked"
            )


def write_links(folder: Path, links: Sequence[CitableLink]) -> None:
    """Write each link as a folder of its number: what ``save`` writes, its scores and its predictions."""
    for number, link in enumerate(links, 1):
        home = link.save(folder / str(number))
        for name, table in (("scores", link.table), ("predictions", link.predictions)):
            units = table.attrs.get("units", {})
            headers = {column: f"{column} [{unit}]" for column, unit in units.items()}
            table.rename(columns=headers).to_csv(home / f"{name}.csv", index=False)

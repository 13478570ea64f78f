"""How the places of a motif are printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from micdb.cli import output

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = ["image", "frame", "x_nm", "y_nm", "rotation", "mirrored", "rmsd_nm"]


def print_places(found: pd.DataFrame, form: str) -> None:
    """Print the places, and how many there are in which images; JSON holds everything that is known.

    Parameters
    ----------
    found
        From `micdb.Frame.find_motif`.
    form
        ``table``, ``csv`` or ``json``.

    Raises
    ------
    UsageError
        No such format.
    """
    told = dict(found.attrs)
    if form == "json":
        output.print_json({**told, "rows": found.to_dict(orient="records")})
        return
    shown = found[_SHOWN] if form == "table" else found.drop(columns="atoms")
    shown.attrs = told
    output.print_frame(shown, form)
    if form != "table":
        return
    text = f"{told['n_places']:,} places in {told['n_images']:,} images"
    missing = {"have no scale": told["n_without_scale"], "have no atoms": told["n_without_atoms"]}
    text += "".join(f"; {count:,} images {what}" for what, count in missing.items() if count)
    output.console().print(text, highlight=False)

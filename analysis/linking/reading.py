"""What a formula names, read from a frame or a table: when a link is learnt, and when it predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from micdb.analysis.gather import Frame, Vectors, read_table, read_vectors
from micdb.analysis.linking.formula import LinkFormula
from micdb.errors import UsageError


def read(
    frame: Frame | pd.DataFrame,
    formula: LinkFormula,
    names: Sequence[str],
    *,
    spaces: Mapping[str, str] | None = None,
) -> tuple[pd.DataFrame, dict[str, Vectors]]:
    """Return the columns of a frame or of a DataFrame, ``uid`` among them, and the vectors of its images.

    Parameters
    ----------
    frame
        Of images, or of anything where it is a DataFrame.
    formula
        Its embeddings and roll-ups are read.
    names
        Columns.
    spaces
        Name in the formula -> space to read; None for the one that most images have.
    """
    if isinstance(frame, pd.DataFrame):
        asked = [*formula.rollups.values(), *(f'embedding("{name}")' for name in formula.embeddings)]
        if asked:
            raise UsageError(
                f"a DataFrame has no images, and {asked[0]} is read from them: link a frame of images"
            )
        return (frame if "uid" in frame else frame.assign(uid=frame.index.to_numpy())), {}
    table = read_table(frame, names, computed={
        name: text for name, text in formula.rollups.items() if name in names
    })  # fmt: skip
    wanted = [(spaces or {}).get(name, name) for name in formula.embeddings]
    found = read_vectors(frame.context, wanted, table["uid"])
    return table, {name: found[one] for name, one in zip(formula.embeddings, wanted, strict=True)}

"""What travels between databases: tables in the order of their references, and when two rows are the same."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Column, Table

from micdb.catalog import results as r
from micdb.catalog import tables as t
from micdb.errors import UsageError, suggestion

LEVELS = ("metadata", "thumbnails", "derived", "full")  # each has what those before it have
FINISHED = ("done", "refused", "failed")  # run items with an answer; what is still to be done stays at home


@dataclass(frozen=True, slots=True)
class Shape:
    """How the rows of one table are told apart in two databases.

    Parameters
    ----------
    table
        The table.
    natural
        Columns that name a row where its uid is not known here: a sample is called the same by its lab.
    required
        Columns of `natural` that must be known: samples without a lab are never the same by name.
    silent
        Columns that are not compared: they say how a row came here, or follow from what names it.
    """

    table: Table
    natural: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    silent: frozenset[str] = frozenset()

    @property
    def content(self) -> tuple[Column[object], ...]:
        """Columns that two laboratories can have differently."""
        skipped = {"pk", "uid", "created_at", "changed_at", "source", *self.silent}
        return tuple(column for column in self.table.columns if column.name not in skipped)


def _all_but(table: Table, *kept: str) -> frozenset[str]:
    return frozenset(column.name for column in table.columns) - set(kept)


LAB = Shape(t.lab, ("name",))
PERSON = Shape(t.person, ("name",))
INSTRUMENT = Shape(t.instrument, ("name", "vendor", "lab_pk"), ("lab_pk",))
MATERIAL = Shape(t.material, ("name",), silent=frozenset({"aliases"}))
SAMPLE = Shape(t.sample, ("name", "lab_pk"), ("lab_pk",))
STEP = Shape(t.processing_step, ("sample_pk", "position", "kind"))
DEFINITION = Shape(t.property_def, ("name",), silent=frozenset({"aliases", "unit", "kind"}))
MODEL = Shape(r.model, ("model_hash",), silent=_all_but(r.model))
RUN = Shape(r.run, ("run_key",), silent=_all_but(r.run))
MOTIF = Shape(r.defect_motif, ("name",))
ACQUISITION = Shape(t.acquisition, ("source_sha256",), ("source_sha256",))
MICROGRAPH = Shape(t.micrograph, silent=frozenset({"object_pk", "deleted_at"}))
SOURCE = Shape(t.source, ("sha256", "position"), ("sha256",), silent=_all_but(t.source))
VALUE = Shape(t.property_value, silent=frozenset({"natural_key", "source_name"}))

# Of an image that both laboratories ingested most columns follow from the file and the version that read it;
# these are what people say, and can be a disagreement.
SAME_IMAGE = ("lab_pk", "sample_pk", "pixel_size_x", "pixel_size_y", "licence", "embargo_until")

# Tables whose rows have no uid: named by these columns, of which the first refers to what they belong to.
KEYED: dict[str, tuple[str, ...]] = {
    "sample_link": ("child_pk", "parent_pk"),
    "frame": ("micrograph_pk", "position"),
    "thumbnail": ("micrograph_pk",),
    "embedding_space": ("run_pk", "name"),
    "current_run": ("analysis",),
}


def check_level(level: str) -> None:
    """Refuse a level that there is not.

    Raises
    ------
    UsageError
        With the levels there are.
    """
    if level not in LEVELS:
        raise UsageError(f"no level {level!r} of a bundle{suggestion(level, LEVELS)}")


def holds(level: str, what: str) -> bool:
    """Return whether a bundle of one level holds what belongs to another."""
    return LEVELS.index(level) >= LEVELS.index(what)


def reference(column: Column[object]) -> Table | None:
    """Return the table a column refers to, or None."""
    for key in column.foreign_keys:
        return key.column.table
    return None


def outer_name(column: Column[object]) -> str:
    """Return what a column is called in a bundle, where rows are named by uid and files by their hash."""
    target = reference(column)
    if target is None:
        return column.name
    return column.name.removesuffix("_pk") + ("_sha256" if target is t.object_ else "_uid")

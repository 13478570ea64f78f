"""Export of a query's result: the one entry for every format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from micdb.bundle import names
from micdb.bundle.coco import Coco
from micdb.bundle.form import Folder, Form, Written
from micdb.bundle.image import StoredImage, load_images
from micdb.bundle.nexus import Nexus
from micdb.bundle.nxem import Nxem
from micdb.bundle.ome_tiff import OmeTiff
from micdb.bundle.png import Png
from micdb.bundle.table import Csv
from micdb.catalog.engine import reading
from micdb.catalog.rows import id_list
from micdb.catalog.tables import micrograph
from micdb.errors import StoreError, UsageError, suggestion
from micdb.query.frame import Frame

Watcher = Callable[[int, int, Path], None]
_TOLD = 20  # lines of what is shown of an export
FORMS = ("ome-tiff", "nexus", "nxem", "png", "csv", "coco")


@dataclass(frozen=True, slots=True)
class Refused:
    """One image that the format cannot hold, or whose file is damaged."""

    uid: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True, repr=False)
class Exported:
    """What one export did.

    Parameters
    ----------
    folder, form
        Where the files are, and which format they have.
    images
        The exported images with their files and notes.
    refused
        Images that were not exported, with the reason.
    tables
        Files about all images together.
    """

    folder: Path
    form: str
    images: tuple[Written, ...]
    refused: tuple[Refused, ...]
    tables: tuple[str, ...]

    def __repr__(self) -> str:
        lines = [f"{len(self.images)} images exported to {self.folder}, {len(self.refused)} refused"]
        lines += [f"refused: {one.name}: {one.reason}" for one in self.refused]
        lines += [f"note: {one.image.name}: {note}" for one in self.images for note in one.notes]
        if len(lines) > _TOLD:
            lines[_TOLD:] = [f"and {len(lines) - _TOLD} more, in images and refused"]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            "folder": str(self.folder),
            "form": self.form,
            "images": [
                {"uid": done.image.uid, "files": list(done.files), "notes": list(done.notes)}
                for done in self.images
            ],
            "refused": [{"uid": one.uid, "name": one.name, "reason": one.reason} for one in self.refused],
            "tables": list(self.tables),
        }


def check_options(name: str, *, sample: Mapping[str, Any] | None, raw: bool, scale_bar: bool) -> None:
    """Refuse options that belong to another format.

    Raises
    ------
    UsageError
        One does.
    """
    options = (("sample", sample, "nxem"), ("raw", raw, "png"), ("scale_bar", scale_bar, "png"))
    for option, given, home in options:
        if given and name != home:
            raise UsageError(f"{option} is for {home}, not for {name}")


def make_form(name: str, *, sample: Mapping[str, Any] | None, raw: bool, scale_bar: bool) -> Form:
    """Return a format by its name.

    Raises
    ------
    UsageError
        There is no such format, or an option belongs to another one.
    """
    if name not in FORMS:
        raise UsageError(f"no format {name!r} to export as{suggestion(name, (*FORMS, 'bundle'))}")
    check_options(name, sample=sample, raw=raw, scale_bar=scale_bar)
    if name == "nxem":
        return Nxem(sample or {})
    if raw and scale_bar:
        raise UsageError("raw keeps every value, and a scale bar is drawn over some: choose one")
    if name == "png":
        return Png(raw=raw, scale_bar=scale_bar)
    plain: dict[str, type[Form]] = {"ome-tiff": OmeTiff, "nexus": Nexus, "csv": Csv, "coco": Coco}
    return plain[name]()


def export(
    frame: Frame, folder: Path, form: Form, *, overwrite: bool = False, watch: Watcher | None = None
) -> Exported:
    """Write the images of a frame to a folder, each once, in the order of the frame.

    Parameters
    ----------
    frame
        A frame of images; for csv any frame.
    folder
        Where to; made when there is none.
    form
        The format, from `make_form`.
    overwrite
        Whether files of the same names may be replaced.
    watch
        Called before each image with its number, the number of images, and the file it becomes.

    Raises
    ------
    UsageError
        There is no image, a file would be overwritten, or every image is refused.
    """
    root = frame.context.root
    if folder.resolve().is_relative_to(root.resolve()):
        raise UsageError(f"{folder} is inside the database {root}; export to a folder beside it")
    plan = _plan(frame, form)
    target = Folder(folder, overwrite=overwrite)
    target.check([*form.tables, *(name for files in plan.values() for name in files)])
    form.prepare(frame)
    written: list[Written] = []
    refused: list[Refused] = []
    for number, image in enumerate(load_images(frame.context.engine, root, list(plan))):
        files = plan[image.pk]
        if watch:
            watch(number, len(plan), folder / (files[0] if files else image.name))
        done = _write(image, files, form=form, folder=target)
        if isinstance(done, Refused):
            refused.append(done)
        else:
            written.append(done)
    if refused and not written:
        raise UsageError(
            f"nothing was exported: none of {len(refused)} images can be written as {form.name}; "
            f"the first, {refused[0].name}: {refused[0].reason}"
        )
    form.finish(frame, written, target)
    return Exported(folder, form.name, tuple(written), tuple(refused), form.tables)


def _plan(frame: Frame, form: Form) -> dict[int, list[str]]:
    """Return the file names of each image by its key, in the order of the frame."""
    if form.name == Csv.name and not frame.of_images:
        return {}
    keys = list(dict.fromkeys(frame.pks().tolist()))
    if not keys and form.name != Csv.name:
        raise UsageError("the query finds no image: there is nothing to export")
    known = _known(frame.context.engine, keys)
    kept = [key for key in keys if key in known]
    stems = names.stems((known[key].uid, known[key].name) for key in kept)
    return {key: form.files(stem, known[key].n_frames) for key, stem in zip(kept, stems, strict=True)}


def _known(engine: Engine, keys: Sequence[int]) -> dict[int, Any]:
    m = micrograph.c
    query = sa.select(m.pk, m.uid, m.name, m.n_frames)
    with reading(engine) as connection:
        wanted = query.where(m.pk.in_(sa.select(id_list(connection, keys).c.id)))
        return {row.pk: row for row in connection.execute(wanted)}


def _write(image: StoredImage, files: list[str], *, form: Form, folder: Folder) -> Written | Refused:
    try:
        # Deferred pixels are told first: what else is wrong shows when they are here.
        reason = form.refusal(image) if not form.needs_pixels or image.place else None
        if reason is None:
            done = form.write(image, files, folder)
            return replace(done, image=replace(image, settings={}))  # small: there may be many
    except StoreError as error:
        reason = str(error)
    return Refused(image.uid, image.name, reason)

"""One row of a samples sheet: cells become names, processing steps, properties and a pixel size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from micdb.ingest.sheet_cells import Line, number, text
from micdb.ingest.sheet_map import Field, SheetMap, StepMap
from micdb.ingest.sheet_property import PropertyEntry, read_composition, read_entry, read_property
from micdb.records import Quantity


@dataclass(frozen=True, slots=True)
class Step:
    """One processing step of a sample.

    Parameters
    ----------
    position
        Place among the steps of the map, from 1.
    kind
        ``anneal``, ``polish``.
    parameters
        What is known of it, at the level of the sample.
    """

    position: int
    kind: str
    parameters: tuple[PropertyEntry, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """What the sheet says of one file. Unknown is None, or absent.

    Parameters
    ----------
    sheet
        Name of the sheet's file.
    number
        Row as a spreadsheet shows it, from 1.
    file
        File name as written, with forward slashes.
    sample, material, lab, instrument
        Names.
    steps
        Processing steps in order; a step none of whose cells is filled did not take place.
    properties
        Measured properties, then labels: texts about the image.
    pixel_size
        Length per pixel, origin ``user``.
    """

    sheet: str
    number: int
    file: str
    sample: str | None = None
    material: str | None = None
    lab: str | None = None
    instrument: str | None = None
    steps: tuple[Step, ...] = ()
    properties: tuple[PropertyEntry, ...] = ()
    pixel_size: Quantity | None = None

    @property
    def where(self) -> str:
        """Sheet and row, to begin a message with."""
        return f"{self.sheet}: row {self.number}"


def read_row(line: Line, sheet_map: SheetMap) -> Row:
    """Return what a line says under a map; what is wrong with its cells is in `Line.faults`."""
    measured = sheet_map.file is None
    file = line.read(_filled, sheet_map.file)
    names = {name: line.read(text, source) for name, source in sheet_map.names.items()}
    if measured:
        line.read(_filled, sheet_map.names["sample"])
    steps = [_step(line, entry, position) for position, entry in enumerate(sheet_map.steps, start=1)]
    properties = [read_property(line, entry, measured=measured) for entry in sheet_map.properties]
    if sheet_map.composition is not None:
        properties += read_composition(line, sheet_map.composition)
    labels = [_label(line, name, source) for name, source in sheet_map.labels.items()]
    return Row(
        sheet=line.table.path.name,
        number=line.number,
        file=PurePosixPath((file or "").replace("\\", "/")).as_posix() if not measured else "",
        sample=names.get("sample"),
        material=names.get("material"),
        lab=names.get("lab"),
        instrument=names.get("instrument"),
        steps=tuple(step for step in steps if step is not None),
        properties=tuple(entry for entry in (*properties, *labels) if entry is not None),
        pixel_size=line.read(_pixel_size, sheet_map.pixel_size),
    )


def _filled(line: Line, source: Field) -> str:
    written = text(line, source)
    if written is None:
        what = "a file name" if source.key == "file" else "a name"
        raise line.error(source, f"is empty; expected {what}, or delete the row")
    return written


def _pixel_size(line: Line, source: Field) -> Quantity | None:
    size = number(line, source)
    if size is None:
        return None
    written = text(line, source)
    if size <= 0:
        raise line.error(
            source, f"{written!r} is no pixel size; expected a number above zero, or an empty cell"
        )
    return Quantity(size, source.unit, "user", f"{source.column or source.key} = {written}")


def _step(line: Line, entry: StepMap, position: int) -> Step | None:
    found = {
        source: read_entry(line, f"{entry.kind}_{name}", source) for name, source in entry.parameters.items()
    }
    from_columns = [value for source, value in found.items() if source.column is not None]
    if from_columns and not any(from_columns):
        return None
    return Step(position, entry.kind, tuple(value for value in found.values() if value is not None))


def _label(line: Line, name: str, source: Field) -> PropertyEntry | None:
    written = text(line, source)
    return PropertyEntry(name, "image", text=written, raw=written) if written is not None else None

"""The map of a samples sheet: which column means what, in TOML.

A complete map::

    file = "file"                  # the column with the file name: relative to the sheet or to the
                                   # ingested folder, or the name alone where it is unique
    sample = "sample_key"          # a plain string names a column
    lab = { value = "Lab A" }      # a constant for all rows
    material = { value = "UHCS" }
    instrument = "microscope"
    sheet = "Series 3"             # XLSX only; the first sheet where absent

    [pixel_size]
    column = "um_per_px"
    unit = "um"

    [[step]]                       # processing steps in order; every parameter becomes a column of the
    kind = "anneal"                # query, named <kind>_<parameter>: anneal_temperature
    temperature = { column = "anneal_temperature_C", unit = "degC" }
    time = { column = "anneal_minutes", unit = "min" }
    cooling = { column = "cool_method" }         # no unit: text

    [composition]                  # a formula, or an alloy: Ni3Al, Mo0.5W0.5S2, Fe-18Cr-3Al wt%
    column = "composition"

    [property.hardness]
    column = "HV"
    unit = "GPa"
    sd = "HV_sd"                   # optional columns: the standard deviation, the ends of an interval,
    low = "HV_low"                 # the number of measurements behind the value
    high = "HV_high"
    n = "indents"
    level = "sample"               # or "image"; "sample" where absent
    method = "nanoindentation"     # optional; { column = "method" } where rows differ
    [property.hardness.conditions] # optional: under what it was measured, numbers or texts
    load = { column = "load_mN", unit = "mN" }
    temperature = { value = 23, unit = "degC" }
    atmosphere = "gas"

    [label.primary_microconstituent]             # text about the image
    column = "primary_microconstituent"

Numbers need a unit; ``unit = ""`` says that they have none. A cell may carry a unit of its own
(``1073 K``); it is converted. Only ``file`` is required; in a sheet of properties, whose rows are
measurements and not files, it is left out and ``sample`` is required.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Literal, cast

from micdb import units
from micdb.errors import NotFoundError, SheetError, UnitError, suggestion

Level = Literal["sample", "image"]

_NAMES = ("sample", "material", "lab", "instrument")
_TOP = ("file", "sheet", *_NAMES, "composition", "pixel_size", "step", "property", "label")
_OF_FILES = ("file", "instrument", "pixel_size", "label")  # what is said of a file and of no sample
_OF_NUMBERS = ("sd", "low", "high", "n")
_PROPERTY = ("column", "value", "unit", *_OF_NUMBERS, "level", "method", "conditions")
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Field:
    """Where one value comes from: a column, or a constant.

    Parameters
    ----------
    key
        Place in the map, for messages: ``step.anneal.temperature``.
    column
        Column of the sheet; None for a constant.
    constant
        The value of every row; None for a column.
    numeric
        Whether the values are numbers, which is said by giving a unit.
    unit
        Unit of the numbers in micdb's spelling; None for plain numbers and for text.
    """

    key: str
    column: str | None = None
    constant: str | float | None = None
    numeric: bool = False
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class StepMap:
    """One processing step: its kind, and where each parameter comes from."""

    kind: str
    parameters: Mapping[str, Field]


@dataclass(frozen=True, slots=True)
class PropertyMap:
    """One property: its value, how sure it is (sd, low, high, n), level, method and conditions."""

    name: str
    value: Field
    sd: Field | None = None
    low: Field | None = None
    high: Field | None = None
    n: Field | None = None
    level: Level = "sample"
    method: Field | None = None
    conditions: Mapping[str, Field] = field(default_factory=dict)

    def fields(self) -> Iterator[Field]:
        """Yield every field of the property."""
        several = (self.value, self.sd, self.low, self.high, self.n, self.method, *self.conditions.values())
        yield from (one for one in several if one is not None)


@dataclass(frozen=True, slots=True)
class SheetMap:
    """A whole map; see the module's text for its TOML form."""

    path: Path
    file: Field | None
    sheet: str | None = None
    names: Mapping[str, Field] = field(default_factory=dict)
    composition: Field | None = None
    pixel_size: Field | None = None
    steps: tuple[StepMap, ...] = ()
    properties: tuple[PropertyMap, ...] = ()
    labels: Mapping[str, Field] = field(default_factory=dict)

    def fields(self) -> Iterator[Field]:
        """Yield every field of the map."""
        for one in (self.file, *self.names.values(), self.composition, self.pixel_size):
            if one is not None:
                yield one
        for step in self.steps:
            yield from step.parameters.values()
        for entry in self.properties:
            yield from entry.fields()
        yield from self.labels.values()

    @property
    def columns(self) -> dict[str, str]:
        """Columns the sheet must have, each with the first map key that names it."""
        named: dict[str, str] = {}
        for one in self.fields():
            if one.column is not None:
                named.setdefault(one.column, one.key)
        return named


def read_map(path: str | PathLike[str], *, files: bool = True) -> SheetMap:
    """Read a map file.

    Parameters
    ----------
    path
        The file.
    files
        Whether the sheet's rows are files; else they are measurements of samples.

    Raises
    ------
    NotFoundError
        There is no such file.
    SheetError
        It is no TOML, or a key, unit or value is wrong; names the key.
    """
    file = Path(path)
    if not file.is_file():
        raise NotFoundError(f"{file}: no such map file; check the spelling and the current folder")
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SheetError(f"{file}: not a TOML file: {error}") from error
    return _Parser(file).parse(tree, files=files)


@dataclass(frozen=True, slots=True)
class _Parser:
    """Turns the TOML tree into a `SheetMap`; every complaint names file and key."""

    path: Path

    def parse(self, tree: dict[str, Any], *, files: bool) -> SheetMap:
        self.check(tree, _TOP, "the map")
        if not files:
            self.refuse_files(tree)
        return SheetMap(
            path=self.path,
            file=self.file(tree) if files else None,
            sheet=self.string(tree, "sheet", "sheet"),
            names={name: self.field(tree[name], name) for name in _NAMES if name in tree},
            composition=self.field(tree["composition"], "composition") if "composition" in tree else None,
            pixel_size=self.pixel_size(tree["pixel_size"]) if "pixel_size" in tree else None,
            steps=tuple(self.step(step, number) for number, step in enumerate(self.steps(tree), start=1)),
            properties=tuple(self.property(name, entry) for name, entry in self.tables(tree, "property")),
            labels={name: self.field(entry, f"label.{name}") for name, entry in self.tables(tree, "label")},
        )

    def file(self, tree: Mapping[str, Any]) -> Field:
        if "file" not in tree:
            raise self.error("file", 'is missing; write file = "<column with the file names>"')
        file = self.field(tree["file"], "file")
        if file.column is None:
            raise self.error("file", "must name a column, not a constant")
        return file

    def refuse_files(self, tree: Mapping[str, Any]) -> None:
        for key in _OF_FILES:
            if key in tree:
                raise self.error(
                    key, "is said of files: bring them in with this sheet (micdb ingest), or remove it"
                )
        for name, entry in self.tables(tree, "property"):
            if isinstance(entry, dict) and entry.get("level") == "image":
                raise self.error(
                    f"property.{name}.level", "is image, and these rows are of samples; remove it"
                )
        if "sample" not in tree:
            raise self.error("sample", 'is missing; write sample = "<column with the samples\' names>"')

    def pixel_size(self, entry: object) -> Field:
        size = self.field(entry, "pixel_size", numbers=True)
        if not (units.compatible(size.unit, "m") or units.compatible(size.unit, "1/m")):
            raise self.error("pixel_size", 'needs a unit of length, for example unit = "um"')
        return size

    def steps(self, tree: Mapping[str, Any]) -> list[Any]:
        steps = tree.get("step", [])
        if not isinstance(steps, list):
            raise self.error("step", "must be written [[step]], with two brackets: steps are a list")
        return steps

    def step(self, entry: object, number: int) -> StepMap:
        if not isinstance(entry, dict) or "kind" not in entry:
            raise self.error(f"step {number}", 'has no kind; write for example kind = "anneal"')
        kind = self.identifier(self.string(entry, "kind", f"step {number}.kind"), f"step {number}.kind")
        parameters = {
            self.identifier(name, f"step.{kind}.{name}"): self.field(
                source, f"step.{kind}.{name}", numbers=True
            )
            for name, source in entry.items()
            if name != "kind"
        }
        return StepMap(kind, parameters)

    def property(self, name: str, entry: object) -> PropertyMap:
        key = f"property.{name}"
        if not isinstance(entry, dict):
            return PropertyMap(name, self.field(entry, key, numbers=True))
        self.check(entry, _PROPERTY, key)
        source = {part: value for part, value in entry.items() if part in ("column", "value", "unit")}
        value = self.field(source, key, numbers=True)
        level = self.string(entry, "level", f"{key}.level") or "sample"
        if level not in ("sample", "image"):
            raise self.error(f"{key}.level", f'is {level!r}, expected "sample" or "image"')
        sure = {part: self.spread(entry, part, key, value) for part in _OF_NUMBERS if part in entry}
        if ("low" in sure) != ("high" in sure):
            raise self.error(key, "has one end of an interval; give both low and high, or neither")
        return PropertyMap(
            name, value, **sure, level=cast("Level", level), method=self.method(entry, key),
            conditions=self.conditions(entry.get("conditions", {}), f"{key}.conditions"),
        )  # fmt: skip

    def spread(self, entry: Mapping[str, Any], part: str, key: str, value: Field) -> Field:
        """Return the column of what is said beside a number: in its unit, but the number of measurements."""
        if not value.numeric:
            raise self.error(f"{key}.{part}", f"needs numbers; give the property a unit, or remove {part}")
        column = self.string(entry, part, f"{key}.{part}")
        return Field(f"{key}.{part}", column, None, True, None if part == "n" else value.unit)

    def method(self, entry: Mapping[str, Any], key: str) -> Field | None:
        """Return the method: a text is the same for all rows, here and nowhere else."""
        said = entry.get("method")
        if isinstance(said, dict):
            return self.field(said, f"{key}.method")
        text = self.string(entry, "method", f"{key}.method")
        return None if text is None else Field(f"{key}.method", constant=text)

    def conditions(self, entry: object, key: str) -> dict[str, Field]:
        if not isinstance(entry, dict):
            raise self.error(key, f'is {entry!r}, expected a table: load = {{ column = "load", unit = "N" }}')
        return {
            self.identifier(name, f"{key}.{name}"): self.field(source, f"{key}.{name}", numbers=True)
            for name, source in entry.items()
        }

    def tables(self, tree: Mapping[str, Any], name: str) -> Iterator[tuple[str, Any]]:
        table = tree.get(name, {})
        if not isinstance(table, dict):
            raise self.error(name, f"must be written [{name}.<name>], one table per {name}")
        for child, entry in table.items():
            yield self.identifier(child, f"{name}.{child}"), entry

    def field(self, entry: object, key: str, *, numbers: bool = False) -> Field:
        """Read ``"column"``, ``{column = ...}`` or ``{value = ...}``; with `numbers` a unit may stand by."""
        if isinstance(entry, str):
            return Field(key, column=entry)
        if not isinstance(entry, dict):
            raise self.error(key, f'is {entry!r}, expected "<column>" or {{ value = "<constant>" }}')
        self.check(entry, ("column", "value", "unit") if numbers else ("column", "value"), key)
        if ("column" in entry) == ("value" in entry):
            raise self.error(key, "needs either a column or a value")
        constant = entry.get("value")
        if constant is not None and (
            isinstance(constant, bool) or not isinstance(constant, str | int | float)
        ):
            raise self.error(key, f"has the value {constant!r}, expected text or a number")
        return Field(key, self.string(entry, "column", key), constant, "unit" in entry, self.unit(entry, key))

    def unit(self, entry: Mapping[str, Any], key: str) -> str | None:
        written = self.string(entry, "unit", f"{key}.unit")
        try:
            return None if written == "1" else units.normalise(written)
        except UnitError as error:
            raise self.error(key, f"{error}") from error

    def string(self, entry: Mapping[str, Any], part: str, key: str) -> str | None:
        value = entry.get(part)
        if value is not None and not isinstance(value, str):
            raise self.error(key, f"is {value!r}, expected text in quotes")
        return value

    def identifier(self, name: str | None, key: str) -> str:
        if not name or not _IDENTIFIER.fullmatch(name):
            raise self.error(key, f"is named {name!r}; it becomes a column: use letters, digits and _ only")
        return name

    def check(self, entry: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
        for name in entry:
            if name not in known:
                raise SheetError(f"{self.path}: unknown key {name!r} in {where}{suggestion(name, known)}")

    def error(self, key: str, reason: str) -> SheetError:
        return SheetError(f"{self.path}: {key} {reason}")

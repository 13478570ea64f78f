"""The two sides of the oracle: a program run by frames, and by pandas on the whole tables.

pandas keeps what a frame keeps hidden in columns that begin with ``__``: the default order ``__k``, the key
``__id`` that samples are drawn by, and the image and sample a row belongs to.
"""

from __future__ import annotations

import hashlib
import math
import struct
from functools import cache
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from micdb.query.context import Context
from micdb.query.frame import Frame

programs = SimpleNamespace(**run_path(str(Path(__file__).with_name("oracle_programs.py"))))
world = programs.world
OPERATIONS = {
    "==": lambda left, right: left == right, "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right, "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right, ">=": lambda left, right: left >= right,
    "+": lambda left, right: left + right, "-": lambda left, right: left - right,
    "*": lambda left, right: left * right, "&": lambda left, right: left & right,
    "|": lambda left, right: left | right,
}  # fmt: skip


class RefusedError(Exception):
    """A promise about keys does not hold."""


# ---------------------------------------------------------------------- frames


def evaluate_ours(tree: Any, frame: Frame) -> Any:  # noqa: C901, PLR0912 - one case per operation
    match tree:
        case ("column", name, unit):
            return frame[name] if unit is None else frame[name] / f"1 {unit}"
        case ("constant", value):
            return value
        case ("/", left, right):
            return evaluate_ours(left, frame) / evaluate_ours(right, frame)
        case ("sqrt" | "abs" | "log" as function, inner):
            return getattr(evaluate_ours(inner, frame), function)()
        case ("neg", inner):
            return -evaluate_ours(inner, frame)
        case ("text", sign, name, word):
            return OPERATIONS[sign](frame[name], word)
        case ("texts", sign, name, other):
            return OPERATIONS[sign](frame[name], frame[other])
        case ("isin", name, values, unit):
            return frame[name].isin(values if unit is None else [f"{value} {unit}" for value in values])
        case ("between", name, low, high, inclusive, unit):
            sides = (low, high) if unit is None else (f"{low} {unit}", f"{high} {unit}")
            return frame[name].between(*sides, inclusive=inclusive)
        case ("contains", name, part):
            return frame[name].str.contains(part, regex=False)
        case ("startswith" | "endswith" as how, name, part):
            return getattr(frame[name].str, how)(part)
        case ("isna", name):
            return frame[name].isna()
        case ("flag", name):
            return frame[name]
        case ("fillna", name, value):
            return frame[name].fillna(value)
        case ("children", sign, inner, count):
            made = evaluate_ours(inner, frame)
            return OPERATIONS[sign](made, f"{count} {made.unit}" if made.unit else count)
        case ("child", column, function, condition):
            found = frame.defects
            if condition:
                name, value = condition
                found = found[found[name] == value if name == "kind" else found[name] > value]
            return getattr(found, function)(*([] if column is None else [column]))
        case ("~", inner):
            return ~evaluate_ours(inner, frame)
        case ("compare", sign, left, right) | (sign, left, right):
            return OPERATIONS[sign](evaluate_ours(left, frame), evaluate_ours(right, frame))
    raise AssertionError(tree)


def start_ours(context: Context, base: str, number: int) -> Frame:
    frame = Frame(context, base)
    if base == "images":
        return frame[frame.name == f"w{number:02d}"][list(programs.IMAGES)]
    return frame[frame.image.str.startswith(f"w{number:02d}")][["image", *programs.DEFECTS]]


def run_ours(context: Context, base: str, number: int, steps: list[Any]) -> Frame:
    frame = start_ours(context, base, number)
    for step in steps:
        frame = step_ours(step, frame)
    return frame


def step_ours(step: Any, frame: Frame) -> Frame:  # noqa: C901, PLR0912 - one case per verb
    match step:
        case ("filter", tree):
            return frame[evaluate_ours(tree, frame)]
        case ("assign", name, tree):
            return frame.assign(**{name: evaluate_ours(tree, frame)})
        case ("select", names):
            return frame[list(names)]
        case ("drop", names):
            return frame.drop(columns=names)
        case ("rename", pairs):
            return frame.rename(columns=dict(pairs))
        case ("sort", by, ascending):
            return frame.sort_values(by, ascending=ascending)
        case ("head", n):
            return frame.head(n)
        case ("slice", start, length):
            return frame[start : None if length is None else start + length]
        case ("sample", n, seed):
            return frame.sample(n, seed=seed)
        case ("drop_duplicates", names):
            return frame.drop_duplicates(names)
        case ("with_property", options, load):
            under = None if load is None else {"load": load}
            return frame.with_property("hardness", conditions=under, **options)
        case ("using", version):
            return frame.using(f"hand@{version}")
        case ("explode", keep):
            names = [f"defect_{name}" if name in keep else name for name in programs.DEFECTS]
            return frame.explode("defects")[[*keep, *names]]
        case ("group", keys, dropna, _, asked):
            made = {name: (column, *aggregate(function)) for name, column, function in asked}
            return frame.groupby(keys, dropna=dropna).agg(**made)
        case ("value_counts", keys, dropna, _):
            return frame.value_counts(keys, dropna=dropna)
        case ("merge", local, rows, pairs, how, validate, suffixes):
            columns = zip(*rows, strict=True) if rows else [()] * len(local)
            right = pd.DataFrame(
                {name: pd.array(values, dtype=DTYPES[kind])
                 for (name, kind), values in zip(local, map(list, columns), strict=True)}
            )  # fmt: skip
            return merged_ours(frame, right, pairs, how=how, validate=validate, suffixes=suffixes)
        case ("join", name, number, pairs, how, validate, suffixes):
            right = other_ours(frame.context, name, number)
            return merged_ours(frame, right, pairs, how=how, validate=validate, suffixes=suffixes)
    raise AssertionError(step)


DTYPES = {"integer": "Int64", "number": "Float64", "text": "string", "bool": "boolean"}


def aggregate(function: str) -> tuple[Any, ...]:
    name, _, share = function.partition(" ")
    return (name, float(share)) if share else (name,)


def merged_ours(frame: Frame, right: Any, pairs: Any, **options: Any) -> Frame:
    left_on, right_on = map(list, zip(*pairs, strict=True))
    keys = {"on": left_on} if left_on == right_on else {"left_on": left_on, "right_on": right_on}
    return frame.merge(right, **keys, **options)


def other_ours(context: Context, name: str, number: int) -> Frame:
    images = start_ours(context, "images", number)
    match name:
        case "samples":
            return Frame(context, "samples")[["name", "material"]]
        case "grouped":
            return images.groupby("width").agg(m=("pixel_size", "mean"), n=("uid", "count"))
        case "others":
            return images.rename(columns={"uid": "u"}).sort_values("u", ascending=False)[
                ["channel", "width", "u"]
            ]
        case "self":
            chosen = images.sort_values(["height", "channel"], ascending=[False, True]).head(6)
            chosen = chosen.rename(columns={"pixel_size": "size"}).assign(last=images.colour)
            return chosen[["uid", "size", "last"]]
    raise AssertionError(name)


# ---------------------------------------------------------------------- pandas


class Side:
    """The whole tables as DataFrames, and the run that defects are of."""

    def __init__(self) -> None:
        self.world = world.tables()
        self.version = "1"
        self.images = cache(self._images)  # no step changes a table it is given
        self.defects = cache(self._defects)
        self.found = cache(self._found)
        all_ = self.world.defects
        self.detected = all_[all_["state"] != "rejected"].sort_values("uid")
        self.looked = self.world.images.set_index("uid")["analysed"]

    # ------------------------------------------------------------------ tables

    def _images(self, number: int) -> pd.DataFrame:
        found = self.world.images[self.world.images["world"] == number].sort_values("uid")
        made = found.assign(material=found["sample"].map(world.MATERIALS))[list(programs.IMAGES)]
        hidden = {"__k": range(len(made)), "__image": made["uid"], "__sample": made["sample"],
                  "__id": "/" + made["uid"]}  # fmt: skip
        return classic(made.assign(**hidden).reset_index(drop=True), programs.IMAGES)

    def _found(self, version: str) -> pd.DataFrame:
        """Return the defects of a run that an expert has not rejected, by uid."""
        return self.detected[self.detected["version"] == version]

    def _defects(self, number: int) -> pd.DataFrame:
        found = self.found("1")
        found = found[found["world"] == number][["image", *programs.DEFECTS]].reset_index(drop=True)
        hidden = {"__k": range(len(found)), "__id": "/" + found["uid"].astype(str)}
        return classic(found.assign(**hidden), {"image": ("text", None), **programs.DEFECTS})

    def run(self, base: str, number: int, steps: list[Any]) -> pd.DataFrame:
        self.version = "1"
        frame = self.images(number) if base == "images" else self.defects(number)
        for step in steps:
            frame = self.step(step, frame)
        return frame[visible(frame)]

    # ------------------------------------------------------------------ expressions

    def evaluate(self, tree: Any, frame: pd.DataFrame) -> Any:  # noqa: C901, PLR0912
        match tree:
            case ("column", name, _):
                return number(frame[name])
            case ("constant", value):
                return value
            case ("/", left, right):
                return divided(self.evaluate(left, frame), self.evaluate(right, frame))
            case ("sqrt", inner):
                values = number(self.evaluate(inner, frame)).astype(float)
                return np.sqrt(values.where(values >= 0))
            case ("log", inner):
                values = number(self.evaluate(inner, frame)).astype(float)
                return np.log(values.where(values > 0))
            case ("abs", inner):
                return self.evaluate(inner, frame).abs()
            case ("neg", inner):
                return -self.evaluate(inner, frame)
            case ("text", sign, name, word):
                return OPERATIONS[sign](frame[name], word)
            case ("texts", sign, name, other):
                return OPERATIONS[sign](frame[name], frame[other])
            case ("isin", name, values, _):
                return frame[name].isin(values) & frame[name].notna()
            case ("between", name, low, high, inclusive, _):
                return number(frame[name]).between(low, high, inclusive=inclusive)
            case ("contains", name, part):
                return frame[name].astype("string").str.contains(part, regex=False).fillna(False).astype(bool)
            case ("startswith" | "endswith" as how, name, part):
                return getattr(frame[name].astype("string").str, how)(part).fillna(False).astype(bool)
            case ("isna", name):
                return frame[name].isna()
            case ("flag", name):
                return frame[name].astype("boolean").fillna(False).astype(bool)
            case ("fillna", name, value):
                return frame[name].where(frame[name].notna(), value)
            case ("children", sign, inner, count):
                return OPERATIONS[sign](self.evaluate(inner, frame), count)
            case ("child", column, function, condition):
                return self.child(frame, column, function, condition)
            case ("~", inner):
                return ~self.evaluate(inner, frame)
            case ("compare", sign, left, right) | (sign, left, right):
                return OPERATIONS[sign](self.evaluate(left, frame), self.evaluate(right, frame))
        raise AssertionError(tree)

    def child(self, frame: pd.DataFrame, column: Any, function: str, condition: Any) -> pd.Series:
        rows = self.found(self.version)
        if condition:
            name, value = condition
            rows = rows[rows[name] == value if name == "kind" else rows[name] > value]
        groups = rows.groupby("image")[column or "uid"]
        made = groups.sum(min_count=1) if function == "sum" else groups.agg(function)
        values = frame["__image"].map(made).astype(float)
        if function in ("count", "nunique"):  # none found where a run has looked is a zero
            seen = (
                frame["__image"].map(self.looked).map(lambda versions: self.version in versions).astype(bool)
            )
            values = values.fillna(0).where(seen)
        return values

    # ------------------------------------------------------------------ verbs

    def step(self, step: Any, frame: pd.DataFrame) -> pd.DataFrame:  # noqa: C901, PLR0912
        hidden = [name for name in frame if name.startswith("__")]
        match step:
            case ("filter", tree):
                return frame[self.evaluate(tree, frame)]
            case ("assign", name, tree):
                made = frame.assign(**{name: self.evaluate(tree, frame)})
                return tidy(made) if isinstance(made[name].dtype, pd.StringDtype) else made
            case ("select", names):
                return frame[[*names, *hidden]]
            case ("drop", names):
                return frame.drop(columns=list(names))
            case ("rename", pairs):
                return frame.rename(columns=dict(pairs))
            case ("sort", by, ascending):
                return frame.sort_values([*by, "__k"], ascending=[*ascending, True])
            case ("head", n):
                return frame.head(n)
            case ("slice", start, length):
                return frame[start : None if length is None else start + length]
            case ("sample", n, seed):
                drawn = [hashlib.md5(f"{seed}{key}".encode()).hexdigest() for key in frame["__id"]]
                order = sorted(range(len(frame)), key=lambda place: drawn[place])
                return frame.iloc[sorted(order[:n])]
            case ("drop_duplicates", names):
                return frame.drop_duplicates(list(names))
            case ("with_property", options, load):
                return self.with_property(frame, load, **options)
            case ("using", version):
                self.version = version
                return frame
            case ("explode", keep):
                return self.explode(frame, keep)
            case ("group", keys, dropna, integers, asked):
                return grouped(frame, keys, dropna, asked, integers)
            case ("value_counts", keys, dropna, integers):
                made = grouped(frame, keys, dropna, (("count", keys[0], "size"),), integers)
                return made.sort_values(["count", "__k"], ascending=[False, True])
            case ("merge", local, rows, pairs, how, validate, suffixes):
                right = pd.DataFrame(list(rows), columns=[name for name, _ in local], dtype=object)
                columns = {name: (kind, None) for name, kind in local}
                right = tidy(right.where(right.notna(), None), columns)
                return merged(frame, right, pairs, how=how, validate=validate, suffixes=suffixes)
            case ("join", name, number_, pairs, how, validate, suffixes):
                right, keyed = self.other(name, number_), bool(validate and validate[-1] == "m")
                options = {"how": how, "validate": validate, "suffixes": suffixes, "keyed": keyed}
                return merged(frame, right, pairs, **options)
        raise AssertionError(step)

    def with_property(
        self, frame: pd.DataFrame, load: Any, *, level: str, agg: str, method: str | None, interval: bool
    ) -> pd.DataFrame:
        values = self.world.values
        values = values[(values["level"] == level) & ~values["retired"]]
        if method is not None:
            values = values[values["method"] == method]
        if load is not None:
            ends = [newton(end) for end in (load if isinstance(load, tuple) else (load, load))]
            values = values[values["load_N"].between(*ends)]
        groups = values.groupby("owner")
        count = groups["value"].count()
        spread = groups["value"].std().where(count > 1, groups["sd"].first())
        owner = frame["__sample" if level == "sample" else "__image"]
        ends = {
            f"hardness_{end}": owner.map(groups[end].first().where(count == 1)).astype(float)
            for end in ("low", "high") if interval
        }  # fmt: skip
        return frame.assign(
            hardness=owner.map(groups["value"].agg(agg)).astype(float),
            hardness_sd=owner.map(spread).astype(float),
            hardness_n=owner.map(count).fillna(0).astype(np.int64),
            **ends,
        )

    def explode(self, frame: pd.DataFrame, keep: tuple[str, ...]) -> pd.DataFrame:
        names = {name: f"defect_{name}" if name in keep else name for name in programs.DEFECTS}
        rows = self.found(self.version)[["image", *programs.DEFECTS]].rename(
            columns={"image": "__image", **names}
        )
        rows["__uid"] = rows[names["uid"]]
        hidden = [name for name in frame if name.startswith("__")]
        made = frame.assign(__place=range(len(frame))).merge(rows, on="__image", how="inner")
        made["__id"] = [f"{key}/{uid}" for key, uid in zip(made["__id"], made["__uid"], strict=True)]
        return tidy(placed(made, "__uid")[[*keep, *names.values(), *hidden]])

    def other(self, name: str, number_: int) -> pd.DataFrame:
        images = self.images(number_)
        match name:
            case "samples":
                return pd.DataFrame(world.MATERIALS.items(), columns=["name", "material"], dtype=object)
            case "grouped":
                return grouped(images, ("width",), True, (("m", "pixel_size", "mean"), ("n", "uid", "count")))
            case "others":
                made = images.rename(columns={"uid": "u"}).sort_values("u", ascending=False)
                return made[["channel", "width", "u"]]
            case "self":
                made = images.sort_values(["height", "channel", "__k"], ascending=[False, True, True]).head(6)
                return made.rename(columns={"pixel_size": "size"}).assign(last=made["colour"])[
                    ["uid", "size", "last"]
                ]
        raise AssertionError(name)


def newton(load: str) -> float:
    number, unit = load.split()
    return float(number) / (1000 if unit == "mN" else 1)


def placed(made: pd.DataFrame, *more: str) -> pd.DataFrame:
    """Return rows in the order of their place and then of what was added; and number them by key anew."""
    made = made.sort_values(["__k", *more], kind="stable")
    made["__k"] = range(len(made))
    return made.sort_values(["__place", "__k"]).reset_index(drop=True)


def grouped(
    frame: pd.DataFrame, keys: Any, dropna: bool, asked: Any, integers: tuple[str, ...] = ()
) -> pd.DataFrame:
    made = {name: aggregated(frame, keys, dropna, column, function) for name, column, function in asked}
    table = pd.DataFrame(made).reset_index() if len(frame) else pd.DataFrame(columns=[*keys, *made])
    # Texts that are all missing come back as floats: keys, and the least and greatest of a column.
    columns = {key: key for key in keys} | {
        name: column for name, column, how in asked if how in ("min", "max")
    }
    texts = {
        name: table[name].astype(object)
        for name, column in columns.items()
        if len(frame) and frame[column].dtype == object
    }
    table = tidy(table[[*keys, *made]].assign(**texts))
    parts = [[f"/{key_text(value, whole=key in integers)}" for value in table[key]] for key in keys]
    identity = ["".join(row) for row in zip(*parts, strict=True)]
    return table.assign(__k=range(len(table)), __id=identity)


def aggregated(frame: pd.DataFrame, keys: Any, dropna: bool, column: str, function: str) -> pd.Series:
    groups = frame.groupby(list(keys), dropna=dropna, sort=True)
    if function == "size":
        return groups.size()
    values = groups[column]
    if function in ("count", "nunique", "first", "last"):
        return getattr(values, function)()
    if frame[column].dtype in (bool, object) and function not in ("min", "max"):
        by = [frame[name] for name in keys]
        values = frame[column].astype(float).groupby(by, dropna=dropna, sort=True)
    name, _, share = function.partition(" ")
    if name == "quantile":
        return values.quantile(float(share))
    made = values.sum(min_count=1) if name == "sum" else getattr(values, name)()
    truths = all(isinstance(value, bool | np.bool_) for value in made.dropna())
    return made.astype(float) if truths else made  # the least of truth values is a number, as their sum is


def key_text(value: Any, *, whole: bool) -> str:
    """Return what stands for a key in a sample's lot; pandas turns whole numbers with gaps to floats."""
    if value is None or value != value:  # noqa: PLR0124
        return ""
    if whole or isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, float):
        return struct.pack(">d", value + 0.0).hex()
    return str(value)


def merged(
    frame: pd.DataFrame, right: pd.DataFrame, pairs: Any, *,
    how: str, validate: Any, suffixes: Any, keyed: bool = True,
) -> pd.DataFrame:  # fmt: skip
    """Return what pandas' merge gives, where missing keys match nothing."""
    promise = validate or "m:1"
    left_keys, right_keys = map(list, zip(*pairs, strict=True))
    for table, names, side in ((frame, left_keys, promise[0]), (right, right_keys, promise[2])):
        if side == "1" and table[names].dropna().duplicated().any():
            raise RefusedError
    right = right[[name for name in right if not name.startswith("__")]]
    temporary = [f"__l{index}" for index in range(len(pairs))]
    lefts = frame.assign(__place=range(len(frame)), **keys_of(frame, left_keys, temporary))
    rights = right.assign(__row=range(len(right)), **keys_of(right, right_keys, temporary))
    common = [there for here, there in pairs if here == there]
    rights = rights.dropna(subset=temporary).drop(columns=common)
    made = lefts.merge(rights, on=temporary, how=how, suffixes=suffixes or ("_x", "_y"))
    if keyed:
        rows = ["" if pd.isna(row) else str(int(row)) for row in made["__row"]]
        made["__id"] = [f"{key}/{row}" for key, row in zip(made["__id"], rows, strict=True)]
    made = placed(made, "__row")
    return tidy(made.drop(columns=[*temporary, "__place", "__row"]))


def keys_of(table: pd.DataFrame, names: list[str], temporary: list[str]) -> dict[str, pd.Series]:
    """Return keys that compare alike on both sides whatever their dtype."""

    def plain(value: Any) -> Any:
        return value if isinstance(value, str) else float(value)

    return {
        new: table[name].map(plain, na_action="ignore").astype(object)
        for name, new in zip(names, temporary, strict=True)
    }


def divided(left: Any, right: Any) -> Any:
    if isinstance(right, float):
        return left / (right or math.nan)
    return left / right.astype(float).replace(0.0, math.nan)


def number(values: pd.Series) -> pd.Series:
    """Return whole numbers with gaps as floats, as pandas keeps them."""
    return values.astype(float) if values.dtype == object else values


def visible(frame: pd.DataFrame) -> list[str]:
    return [name for name in frame if not name.startswith("__")]


def classic(frame: pd.DataFrame, columns: Any) -> pd.DataFrame:
    """Return the DataFrame with NaN and None for missing values: pandas' oldest and best-known rules."""
    made = {}
    for name in frame.columns:
        kind = columns[name][0] if name in columns else None
        if (kind in ("integer", "number") and frame[name].isna().any()) or kind == "number":
            made[name] = frame[name].astype(float)
        elif kind == "integer":
            made[name] = frame[name].astype(np.int64)
        elif kind == "bool":
            made[name] = frame[name].astype(bool)
        else:
            made[name] = frame[name]
    return tidy(pd.DataFrame(made, columns=frame.columns))


def tidy(frame: pd.DataFrame, columns: Any = None) -> pd.DataFrame:
    """Return text and gappy booleans as objects with None, numbers with gaps as floats."""
    made = {}
    for name in frame.columns:
        values = frame[name]
        kind = columns.get(name, (None,))[0] if columns else None
        if kind in ("integer", "number"):
            made[name] = values.astype(float)
        elif values.dtype == object or values.dtype.kind not in "biuf":
            plain = values.tolist()
            if values.dtype != object or any(value != value for value in plain):  # noqa: PLR0124
                plain = [None if pd.isna(value) else value for value in plain]
                made[name] = pd.Series(plain, index=frame.index, dtype=object)
    return frame.assign(**made) if made else frame

"""Random chains of every verb. A program is plain data: a list of steps, each a tuple, that both sides run.

What a step may speak of follows from the columns the steps before it leave: name to kind and unit.

=========== =======================================================================================
``integer`` whole numbers
``number``  quarters, and what is exact of them
``real``    what arithmetic made: the same bits row by row, but sums of it depend on their order
``blurred`` sums of reals, variances, logarithms: compared approximately, and never decided by
=========== =======================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

from hypothesis import strategies as st

world = SimpleNamespace(**run_path(str(Path(__file__).with_name("oracle_world.py"))))
Draw = Callable[[Any], Any]
Column = tuple[str, str | None]  # kind and unit

IMAGES: dict[str, Column] = {
    "uid": ("text", None), "channel": ("text", None), "detector": ("text", None),
    "height": ("integer", None), "width": ("integer", None), "magnification": ("number", None),
    "intensity_min": ("number", None), "pixel_size": ("number", "nm"), "colour": ("bool", None),
    "sample": ("text", None), "material": ("text", None), "acquired": ("time", None),
}  # fmt: skip
DEFECTS: dict[str, Column] = {
    "uid": ("text", None), "kind": ("text", None), "score": ("number", None), "x_nm": ("number", "nm"),
    "frame": ("integer", None),
}  # fmt: skip
NEW = ("x", "y", "Höhe", "X", "count", "a b")
PARTS = ("HA", "a", "_", "%", 'x"', "é", "F")
SIGNS = ("==", "!=", "<", "<=", ">", ">=")
EXACT = ("count", "size", "nunique", "min", "max", "first", "last")
SUMS = ("sum", "mean", "median")
BLURRED = ("std", "var", "quantile")


@dataclass
class State:
    """What the rows are at some point of a program."""

    columns: dict[str, Column]
    images: bool  # whether rows belong to images
    exploded: bool = False
    steps: list[tuple[Any, ...]] = field(default_factory=list)

    def of(self, *kinds: str, unit: Any = ...) -> list[str]:
        return [
            name
            for name, (kind, own) in self.columns.items()
            if kind in kinds and (unit is ... or own == unit)
        ]


quarters = st.integers(-20, 20).map(lambda number: number / 4)
kinds = st.sampled_from(world.KINDS)
flags = st.booleans()


def pick(draw: Draw, among: Any) -> Any:
    return draw(st.sampled_from(tuple(among)))


# ---------------------------------------------------------------------- expressions


def number(draw: Draw, state: State, depth: int = 2) -> tuple[Any, str]:
    """Return an expression of a plain number that is no constant, and its kind."""
    columns = state.of("integer", "number", "real")
    choice = draw(st.integers(0, 5 if depth else 0))
    if choice == 5:
        function = pick(draw, ("sqrt", "abs", "neg"))
        inner, kind = number(draw, state, depth - 1)
        return (function, inner), "real" if function == "sqrt" else kind
    if choice >= 2:
        sign = pick(draw, "+-*/")
        left, one = number(draw, state, depth - 1)
        right, two = (
            (("constant", draw(quarters)), "number") if choice == 2 else number(draw, state, depth - 1)
        )
        exact = sign != "/" and one == two == "integer"
        pair = (left, right) if draw(flags) else (right, left)
        return (sign, *pair), "integer" if exact else "real"
    name = pick(draw, columns)
    kind, unit = state.columns[name]
    return ("column", name, unit), kind if unit is None else "real"


def mask(draw: Draw, state: State, depth: int = 2) -> Any:  # noqa: C901 - one case per kind
    """Return a condition."""
    texts, numbers = state.of("text"), state.of("integer", "number", "real")
    options = ["isna"]
    options += ["compare", "compare", "isin", "between"] * bool(numbers)
    options += ["text", "text", "texts", "words", "search", "search"] * bool(texts)
    options += ["children"] * 4 * state.images
    options += ["flag"] * bool(state.of("bool")) + ["date"] * bool(state.of("time"))
    options += ["~", "&", "|"] * bool(depth)
    match pick(draw, options):
        case "~":
            return ("~", mask(draw, state, depth - 1))
        case "&" | "|" as sign:
            return (sign, mask(draw, state, depth - 1), mask(draw, state, depth - 1))
        case "flag":
            return ("flag", pick(draw, state.of("bool")))
        case "date":
            return ("text", pick(draw, SIGNS), pick(draw, state.of("time")), pick(draw, world.DATES))
        case "children":
            return ("children", pick(draw, SIGNS), child(draw)[0], draw(st.integers(0, 3)))
        case "search":
            return (pick(draw, ("contains", "startswith", "endswith")), pick(draw, texts), pick(draw, PARTS))
        case "words":
            words = draw(st.lists(st.sampled_from(world.WORDS), max_size=3))
            return ("isin", pick(draw, texts), tuple(words), None)
        case "texts":
            return ("texts", pick(draw, SIGNS), pick(draw, texts), pick(draw, texts))
        case "text":
            return ("text", pick(draw, SIGNS), pick(draw, texts), pick(draw, (*world.WORDS, *world.KINDS)))
        case "isin":
            name = pick(draw, numbers)
            values = draw(st.lists(quarters, max_size=3))
            return ("isin", name, tuple(values), state.columns[name][1])
        case "between":
            name = pick(draw, numbers)
            low, high = sorted((draw(quarters), draw(quarters)))
            return ("between", name, low, high, pick(draw, SIDES), state.columns[name][1])
        case "compare":
            left, _ = number(draw, state)
            right = ("constant", draw(quarters)) if draw(flags) else number(draw, state)[0]
            return ("compare", pick(draw, SIGNS), left, right)
    return ("isna", pick(draw, state.columns))


COUNTS = (5, 7, 3, 9, 12, 2, 1, 0)
SIDES = ("both", "left", "right", "neither")


def child(draw: Draw) -> tuple[Any, str]:
    """Return an aggregate of defects, and its kind."""
    condition = pick(draw, ((), (), ("kind",), ("score",)))
    if condition == ("kind",):
        condition = ("kind", draw(kinds))
    elif condition:
        condition = ("score", draw(quarters))
    column, function = pick(
        draw,
        (
            (None, "count"), ("score", "count"), ("kind", "nunique"), ("score", "sum"), ("score", "mean"),
            ("score", "min"), ("frame", "max"), ("score", "median"), ("frame", "sum"), ("score", "std"),
            ("score", "var"),
        ),
    )  # fmt: skip
    kind = "integer" if function in ("count", "nunique") or column == "frame" else "number"
    return ("child", column, function, condition), "blurred" if function in BLURRED else kind


# ---------------------------------------------------------------------- steps


def filter_(draw: Draw, state: State) -> Any:
    made = mask(draw, state)
    match pick(draw, ("most", "not", "some", "more")):  # most conditions leave few rows for what follows
        case "not":
            made = ("~", made)
        case "more":
            made = ("|", ("~", made), mask(draw, state, 1))
        case "most" if state.of("integer", "number"):
            name = pick(draw, state.of("integer", "number"))
            made = ("|", made, ("between", name, -1.0, 4.0, "both", state.columns[name][1]))
    return ("filter", made)


def assign(draw: Draw, state: State) -> Any:
    name = pick(draw, (*NEW, *state.columns))
    tree, kind = assigned(draw, state)
    state.columns[name] = (kind, None)
    return ("assign", name, tree)


def assigned(draw: Draw, state: State) -> tuple[Any, str]:
    numbers, plain = state.of("integer", "number", "real"), state.of("number", "integer", unit=None)
    options = ["constant", "mask"]
    options += ["child"] * 4 * state.images
    options += ["number", "number", "number", "log"] * bool(numbers)
    options += ["fill"] * bool(plain) + ["fill text"] * bool(state.of("text"))
    match pick(draw, options):
        case "child":
            return child(draw)
        case "mask":
            return mask(draw, state), "bool"
        case "number":
            return number(draw, state)
        case "log":
            return ("log", number(draw, state)[0]), "blurred"
        case "fill":
            return ("fillna", pick(draw, plain), draw(quarters)), "number"
        case "fill text":
            return ("fillna", pick(draw, state.of("text")), "none"), "text"
    value, kind = pick(draw, ((2, "integer"), ("été", "text"), (True, "bool"), (0.25, "number")))
    return ("constant", value), kind


def select(draw: Draw, state: State) -> Any:
    names = draw(st.lists(st.sampled_from(tuple(state.columns)), min_size=1, unique=True))
    state.columns = {name: state.columns[name] for name in names}
    return ("select", tuple(names))


def drop(draw: Draw, state: State) -> Any:
    names = draw(st.lists(st.sampled_from(tuple(state.columns)), max_size=2, unique=True))
    if len(names) >= len(state.columns):
        return None
    state.columns = {name: column for name, column in state.columns.items() if name not in names}
    return ("drop", tuple(names))


def rename(draw: Draw, state: State) -> Any:
    old = draw(st.lists(st.sampled_from(tuple(state.columns)), min_size=1, max_size=2, unique=True))
    free = [name for name in (*NEW, *old) if name in old or name not in state.columns]
    new = draw(st.lists(st.sampled_from(free), min_size=len(old), max_size=len(old), unique=True))
    names = dict(zip(old, new, strict=True))
    state.columns = {names.get(name, name): column for name, column in state.columns.items()}
    return ("rename", tuple(names.items()))


def sort(draw: Draw, state: State) -> Any:
    among = state.of("integer", "number", "real", "text", "bool", "time")
    if not among:
        return None
    by = draw(st.lists(st.sampled_from(among), min_size=1, max_size=2, unique=True))
    return ("sort", tuple(by), tuple(draw(flags) for _ in by))


def head(draw: Draw, state: State) -> Any:
    if draw(flags):
        return ("head", pick(draw, COUNTS))
    return ("slice", draw(st.integers(0, 2)), draw(st.none() | st.sampled_from(COUNTS)))


def sample(draw: Draw, state: State) -> Any:
    return ("sample", pick(draw, COUNTS), draw(st.integers(-2, 3)))


def drop_duplicates(draw: Draw, state: State) -> Any:
    among = state.of("integer", "number", "real", "text", "bool", "time")
    if not among:
        return None
    return (
        "drop_duplicates",
        tuple(draw(st.lists(st.sampled_from(among), min_size=1, max_size=2, unique=True))),
    )


def with_property(draw: Draw, state: State) -> Any:
    if not state.images:
        return None
    state.columns["hardness"] = ("number", "GPa")
    state.columns["hardness_sd"] = ("blurred", None)
    state.columns["hardness_n"] = ("integer", None)
    method = pick(draw, (None, None, *world.METHODS))
    loads = pick(draw, (None, None, "2 N", "500 mN", ("0.5 N", "2000 mN"), ("3 N", "4 N")))
    options = {
        "level": pick(draw, ("sample", "image")), "agg": pick(draw, ("mean", "median", "min", "max")),
        "method": method, "interval": pick(draw, (False, False, True)),
    }  # fmt: skip
    if options["interval"]:
        state.columns |= dict.fromkeys(("hardness_low", "hardness_high"), ("number", "GPa"))
    return ("with_property", options, loads)


def using(draw: Draw, state: State) -> Any:
    return ("using", pick(draw, "12")) if state.images else None


def explode(draw: Draw, state: State) -> Any:
    if not state.images or state.exploded:
        return None
    state.exploded = True
    keep = tuple(state.columns)
    for name, column in DEFECTS.items():
        state.columns[f"defect_{name}" if name in keep else name] = column
    return ("explode", keep)


def group(draw: Draw, state: State) -> Any:
    among = state.of("integer", "number", "text", "bool")
    if not among:
        return None
    keys = draw(st.lists(st.sampled_from(among), min_size=1, max_size=2, unique=True))
    dropna = draw(flags)
    integers = tuple(key for key in keys if state.columns[key][0] == "integer")
    if draw(st.integers(0, 4)) == 0 and "count" not in keys:
        state.columns = {**{key: state.columns[key] for key in keys}, "count": ("integer", None)}
        state.images = False
        return ("value_counts", tuple(keys), dropna, integers)
    asked, made = [], {}
    for index in range(draw(st.integers(1, 3))):
        column = pick(draw, state.columns)
        function, result = aggregate(draw, state.columns[column])
        name = pick(draw, [name for name in (f"a{index}", f"A{index}", f"b{index}") if name not in keys])
        asked.append((name, column, function))
        made[name] = result
    state.columns = {**{key: state.columns[key] for key in keys}, **made}
    state.images = False
    return ("group", tuple(keys), dropna, integers, tuple(asked))


def aggregate(draw: Draw, column: Column) -> tuple[str, Column]:
    kind, unit = column
    if kind == "bool":
        function = pick(draw, ("count", "size", "nunique", "sum", "min", "max", "first", "last"))
        return function, ("bool" if function in ("first", "last") else "integer", None)
    if kind == "blurred":
        return pick(draw, ("count", "size")), ("integer", None)
    numeric = kind in ("integer", "number", "real")
    function = pick(draw, (*EXACT, *SUMS, *BLURRED) if numeric else EXACT)
    if function in ("count", "size", "nunique"):
        return function, ("integer", None)
    if function in EXACT:
        return function, column
    if function == "quantile":
        function = f"quantile {pick(draw, (0.0, 0.1, 0.25, 0.9, 1.0))}"
    if function == "sum" and kind == "integer":
        return function, ("integer", None)
    return function, ("number" if kind != "real" and function in SUMS else "blurred", unit)


VALUES = {
    "text": st.sampled_from((*world.WORDS, *world.SAMPLES)), "integer": st.integers(0, 4), "number": quarters,
    "bool": flags,
}  # fmt: skip


def merge(draw: Draw, state: State) -> Any:
    """Join a local table: keys of one kind on both sides, keys that repeat or are missing."""
    among = state.of("integer", "number", "text", "bool", unit=None)
    if not among:
        return None
    left = draw(st.lists(st.sampled_from(among), min_size=1, max_size=2, unique=True))
    right = list(left) if draw(flags) else [f"k{index}" for index in range(len(left))]
    if set(right) & set(state.columns) - set(left):
        return None
    kinds_ = [state.columns[name][0] for name in left]
    extra = pick(draw, ("p", "q", "height", "x"))
    kind = pick(draw, ("integer", "number", "text", "bool"))
    if extra in right:
        return None
    one = st.tuples(*(st.none() | VALUES[kind] for kind in (*kinds_, kind)))
    rows = tuple(draw(st.lists(one, max_size=5)))
    local = tuple(zip((*right, extra), (*kinds_, kind), strict=True))
    columns = {name: (kind, None) for name, kind in local}
    return joined(draw, state, ("merge", local, rows), list(zip(left, right, strict=True)), columns)


def join(draw: Draw, state: State) -> Any:
    """Join a frame of the same database."""
    name, key, columns = pick(draw, OTHERS)
    among = state.of(columns[key][0], unit=None)
    if not among:
        return None
    left = pick(draw, among)
    world_ = draw(st.integers(0, world.WORLDS - 1))
    if key in state.columns and key != left:
        return None
    return joined(draw, state, ("join", name, world_), [(left, key)], columns)


OTHERS: tuple[tuple[str, str, dict[str, Column]], ...] = (
    ("samples", "name", {"name": ("text", None), "material": ("text", None)}),
    ("grouped", "width", {"width": ("integer", None), "m": ("number", "nm"), "n": ("integer", None)}),
    ("others", "channel", {"channel": ("text", None), "width": ("integer", None), "u": ("text", None)}),
    ("self", "uid", {"uid": ("text", None), "size": ("number", "nm"), "last": ("bool", None)}),
)


def joined(
    draw: Draw, state: State, what: Any, pairs: list[tuple[str, str]], other: dict[str, Column]
) -> Any:
    """Return a join of any kind, and the columns it leaves: suffixes tell those of one name apart."""
    how, validate = (
        pick(draw, ("left", "left", "inner")),
        pick(draw, (None, "m:1", "1:1", "1:m", "m:m", "m:m")),
    )
    common = {there for here, there in pairs if here == there}
    mine = dict(state.columns)
    theirs = {name: column for name, column in other.items() if name not in common}
    both = set(mine) & set(theirs)
    suffixes = ("_x", "_y") if both else None
    names = [f"{name}_x" if name in both else name for name in mine]
    names += [f"{name}_y" if name in both else name for name in theirs]
    if len(set(names)) < len(names):
        return None
    state.columns = dict(zip(names, [*mine.values(), *theirs.values()], strict=True))
    return (*what, tuple(pairs), how, validate, suffixes)


STEPS = (
    filter_, filter_, assign, assign, select, drop, rename, sort, sort, head, sample, drop_duplicates,
    with_property, using, explode, group, merge, join,
)  # fmt: skip


@st.composite
def programs(draw: Draw) -> tuple[str, int, list[tuple[Any, ...]], dict[str, Column]]:
    """Return a base table, a world, the steps, and the columns they leave."""
    base = pick(draw, ("images", "images", "images", "defects"))
    number_ = draw(st.integers(0, world.WORLDS - 1))
    columns = IMAGES if base == "images" else {"image": ("text", None), **DEFECTS}
    state = State(dict(columns), base == "images")
    steps = []
    for make in draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=7)):
        step = make(draw, state)
        if step is not None:
            steps.append(step)
    return base, number_, steps, state.columns

"""What questions and files cost as a catalog grows.

::

    python benchmarks/growth.py DATABASE ... [--rounds 5] [--files 50] [--plot docs/growth.png]

Each DATABASE is a folder that ``benchmarks/million.py`` made, the smaller ones first. Round after round
every question is asked of each in turn. For the cost of a file, copies of the databases take in batches of
tiny TIFF files, a batch each round. Answers of a fixed size should cost the same at any size of the catalog;
what looks at a fixed share of it has to grow with it.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from catalog import ours, seconds, versions
from catalog_sql import KNOWN_UID, QUESTIONS, Question, everywhere
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import micdb
from micdb.database import Database

FIXED = (  # answers whose size does not depend on that of the catalog
    "first 50 images",
    "newest 50 images",
    "one image by uid",
    "images of one sample",
    "a material of 500 images: defects by lab",
    "second page, newest first",
    "roll-up above a limit, best 100",
)
NEWEST = everywhere("newest 50 images", lambda db: db.images.sort_values("uid", ascending=False).head(50), "")
Times = dict[str, list[float]]
COLOURS = (
    "#1b6ca8", "#c8501e", "#2a8a3c", "#8a3ea8", "#a8801b", "#c2267a", "#1a8f96", "#6b4a35", "#4a55c8",
    "#5f7a1d", "#b0303a",
)  # fmt: skip
LEFT = {"relpos": (0, 0.5)}  # where a leader meets its text
GREY = "#808080"  # of what was not measured


def ask(databases: list[Database], rounds: int) -> Times:
    """Return the median time [s] of each question in each database."""
    found: Times = {}
    for question in (NEWEST, *QUESTIONS):
        times: list[list[float]] = [[] for _ in databases]
        for number in range(rounds + 1):
            for place, db in enumerate(databases):
                taken = seconds(lambda db=db, question=question: _asked(db, question))
                if number:  # the first one reads the file and compiles the statement
                    times[place].append(taken)
        found[question.name] = [statistics.median(one) for one in times]
    return found


def _asked(db: Database, question: Question) -> Any:
    KNOWN_UID[0] = UIDS[str(db.root)]
    return ours(db, question)


UIDS: dict[str, str] = {}  # of one image of each database


def bring(databases: list[Database], rounds: int, files: int) -> list[float]:
    """Return the median time [s] of a file in each database; their folders are copied first."""
    with tempfile.TemporaryDirectory(dir=databases[0].root.parent) as name:
        home = Path(name)
        copies = []
        for place, db in enumerate(databases):
            shutil.copytree(db.root, home / f"{place}.micdb")
            copies.append(micdb.open(home / f"{place}.micdb"))
        times: list[list[float]] = [[] for _ in copies]
        for number in range(rounds + 1):
            for place, db in enumerate(copies):
                folder = _write(home / f"{number}-{place}", files, seed=number * len(copies) + place)
                taken = seconds(lambda db=db, folder=folder: db.ingest(folder))
                if number:
                    times[place].append(taken / files)
        for db in copies:
            db.close()
    return [statistics.median(one) for one in times]


def _write(folder: Path, files: int, *, seed: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for number in range(files):
        tifffile.imwrite(folder / f"{number:04d}.tif", rng.integers(0, 60_000, (32, 32), dtype=np.uint16))
    return folder


def draw(sizes: list[int], questions: Times, files: list[float] | None, path: Path) -> None:
    """Draw what should cost the same at any size beside what looks at a share of the catalog."""
    flat = {name: questions[name] for name in FIXED}
    if files is not None:
        flat["bring in one file of 32 x 32 pixels"] = files
    share = {name: times for name, times in questions.items() if name not in FIXED}
    figure = Figure(figsize=(12.6, 5.6), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    panels = (("answers of a fixed size", flat), ("answers that look at a share of the catalog", share))
    for axis, (title, lines) in zip(axes, panels, strict=True):
        axis.set(xscale="log", yscale="log", xlabel="images in the catalog")
        axis.set_title(title, loc="left", fontsize=11)
        axis.set_xlim(sizes[0] / 1.3, sizes[-1] * 1.3)
        for index, times in enumerate(lines.values()):
            axis.plot(sizes, np.array(times) * 1e3, marker="o", markersize=4, color=COLOURS[index])
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    begin, end = min(times[0] for times in share.values()), max(times[-1] for times in share.values())
    proportional = begin * np.array(sizes) / sizes[0]
    axes[1].plot(sizes, proportional * 1e3, "--", color=GREY, zorder=0)
    share["proportional to the catalog"] = proportional.tolist()
    axes[0].set_ylabel("median time [ms]")
    axes[0].set_ylim(begin * 1e3 / 1.5, end * 1e3 * 1.8)
    axes[0].yaxis.set_major_formatter("{x:,.0f}")
    for axis, (_, lines) in zip(axes, panels, strict=True):
        _name(axis, lines)
    figure.savefig(path, dpi=110)


def _name(axis: Axes, lines: Times) -> None:
    """Write the name of each line at its right end, moved so that no two overlap."""
    low, high = np.log(axis.get_ylim())
    gap = (high - low) * 0.043
    names = sorted(lines, key=lambda name: lines[name][-1])
    ends = np.log([lines[name][-1] * 1e3 for name in names])
    places = ends.copy()
    for _ in range(200):  # pushes neighbours apart, each by half of what is missing
        missing = np.clip(gap - np.diff(places), 0, None) / 2
        places[:-1] -= missing
        places[1:] += missing
    for name, end, place in zip(names, ends, places, strict=True):
        index = list(lines).index(name)
        colour = COLOURS[index] if index < len(COLOURS) else GREY
        axis.annotate(
            name, (1, (end - low) / (high - low)), xycoords="axes fraction", fontsize=9, color=colour,
            xytext=(1.07, (place - low) / (high - low)), textcoords="axes fraction", va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.7, "shrinkA": 1, "shrinkB": 0} | LEFT,
        )  # fmt: skip


def main() -> None:
    """Print the table and draw the plot."""
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    parser.add_argument("database", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=50, help="in a batch; 0 brings none in")
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    databases = [micdb.open(path) for path in arguments.database]
    sizes = []
    for db in databases:
        sizes.append(db.images.count())
        middle = sizes[-1] // 2
        UIDS[str(db.root)] = db.images[middle : middle + 1].to_pandas()["uid"][0]
    print(f"{versions(databases[0])}; medians of {arguments.rounds} rounds in turn [ms]")
    print(f"{'images':<46}" + "".join(f"{size:>12,}" for size in sizes) + f"{'growth':>9}")
    questions = ask(databases, arguments.rounds)
    files = bring(databases, arguments.rounds, arguments.files) if arguments.files else None
    for name, times in (*questions.items(), *([] if files is None else [("one file brought in", files)])):
        shown = "".join(f"{time * 1e3:>12.1f}" for time in times)
        print(f"{name:<46}{shown}{times[-1] / times[0]:>9.1f}")
    if arguments.plot is not None:
        draw(sizes, questions, files, arguments.plot)


if __name__ == "__main__":
    main()

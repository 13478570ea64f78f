"""The process under test: writes a mutant, reads it to the last pixel, and says what became of it.

It limits itself: its processor time by the kernel (SIGXCPU ends it, `faulthandler` says where it was), its
address space by the kernel too, so that what asks for too much memory gets `MemoryError` and not the machine.
"""

from __future__ import annotations

import faulthandler
import json
import math
import os
import pickle
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import micdb
from micdb import units
from micdb.errors import ContractError, DamagedFileError, MicdbError, NotAnImageError, ReadError, UsageError
from micdb.ingest import archive
from micdb.ingest.metadata import TEXT_SETTINGS
from micdb.ingest.sniff import candidates, open_scans
from micdb.provenance import canonical_json, uuid7
from micdb.records import SETTINGS, Scan
from tests.fuzz.mutations import mutant
from tests.fuzz.seeds import Seed, load

SECONDS = 10  # [s] of processor time for one file
MEMORY = 2 << 30  # [byte] that reading one file may add
_SPACE = 3 << 30  # [byte] of addresses beyond those in use: libraries map more than they touch
_PIXELS = 1 << 28  # [byte] read of one file; what follows is more of the same
_MEMBERS = 8  # files read of one archive
_LOST = ("no sign of life", "ended the process", "not this file's fault")


class Wrong(Exception):
    """Something that no file, however damaged, may cause."""


def serve(folder: Path, work: Path) -> None:
    """Answer questions on standard input, one JSON a line, until it closes."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is not an answer
    faulthandler.enable()
    faulthandler.register(signal.SIGXCPU, chain=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    seeds = {seed.name: seed for seed in load(folder)}
    for line in sys.stdin:
        job = json.loads(line)
        wanted = [(seeds[name], number) for name, number in job["mutants"]]
        check = _ingested if job["ingest"] else _measured
        answers.write(json.dumps(check(wanted, list(seeds.values()), work)) + "\n")


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


# ------------------------------------------------------------------ one file


def _measured(wanted: Sequence[tuple[Seed, int]], others: Sequence[Seed], work: Path) -> dict[str, Any]:
    ((seed, number),) = wanted
    path = mutant(seed, number, others, _fresh(work / "current"))
    before = _memory("VmRSS")
    _limit(time.process_time() + SECONDS)
    start = time.process_time()
    try:
        answer = _read(path, work)
    except Wrong as error:
        answer = {"outcome": "failure", "reason": str(error)}
    except Exception:
        answer = {"outcome": "failure", "reason": traceback.format_exc(limit=-8)}
    answer["seconds"] = time.process_time() - start
    answer["bytes"] = max(0, _memory("VmHWM") - before)
    if answer["bytes"] > MEMORY:
        answer |= {"outcome": "failure", "reason": f"reading it took {answer['bytes'] >> 20} MiB of memory"}
    return answer


def _limit(seconds: float | None) -> None:
    """Set the processor time at which the kernel ends this process, and the memory it gets."""
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds) if seconds else hard, hard))
    space = _memory("VmSize")
    if space:
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (space + _SPACE, hard))
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew


def _memory(name: str) -> int:
    """Return a line of /proc/self/status [byte]; 0 where there is none, and memory goes unmeasured."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


def _read(path: Path, work: Path) -> dict[str, Any]:
    """Return what became of a file; raise `Wrong` where it is no answer a file may get."""
    if archive.is_archive(path) and not any(found.score >= 2 for found in candidates(path)):
        return _unpacked(path, _fresh(work / "unpacked"))
    try:
        scans = open_scans(path)
        budget = _PIXELS
        for scan in scans:
            _check_scan(scan)
            for frame in scan.pixels.frames(colour=scan.colour):
                budget -= frame.nbytes
                if budget < 0:
                    break
    except MicdbError as error:
        _check_refusal(path, error)
        at = getattr(error, "offset", None) is not None
        reader = getattr(error, "reader", None)
        return {"outcome": "refused", "format": reader, "reader": None, "offset": at, "reason": str(error)}
    source = scans[0].source
    return {"outcome": "scans", "format": source.format, "reader": source.reader}


def _check_refusal(path: Path, error: MicdbError) -> None:
    said = str(error)
    if isinstance(error, ContractError):
        raise Wrong(f"a reader broke its contract: {said}")
    if isinstance(error.__cause__, MemoryError):
        raise Wrong(f"asked for more than {_SPACE >> 30} GiB at once: {said}\n{_trace(error)}")
    if not any(str(file) in said for file in path.parent.iterdir()):
        raise Wrong(f"the error does not name the file: {type(error).__name__}: {said}\n{_trace(error)}")
    if "\n" in said:
        raise Wrong(f"the message is longer than a line: {said!r}")
    if isinstance(error, DamagedFileError | NotAnImageError) and error.reader is None:
        found = candidates(path) if path.stat().st_size else []
        if found and found[0].score >= 2:
            raise Wrong(f"the error does not name the reader ({found[0].name}): {said}\n{_trace(error)}")
    if isinstance(error, ReadError) and error.offset is not None and error.offset < 0:
        raise Wrong(f"an offset of {error.offset}: {said}")


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-3000:]


def _check_scan(scan: Scan) -> None:
    """Hold a scan against what every scan promises, whatever bytes it comes from."""
    canonical_json(scan.original).encode()
    pickle.dumps(scan)
    if len({axis.name for axis in scan.axes}) != len(scan.axes):
        raise Wrong(f"axes of one name: {scan.axes}")
    for axis in scan.axes:
        if axis.step is not None and not (math.isfinite(axis.step) and axis.step != 0):
            raise Wrong(f"a step of {axis.step}: {axis}")
        if not math.isfinite(axis.offset):
            raise Wrong(f"an offset of {axis.offset}: {axis}")
        if axis.unit is not None and units.normalise(axis.unit) != axis.unit:
            raise Wrong(f"a unit that is not ours: {axis}")
    for name, quantity in scan.settings.items():
        known = name in SETTINGS and quantity.unit == SETTINGS[name]
        if not known or isinstance(quantity.value, str) != (name in TEXT_SETTINGS):
            raise Wrong(f"a setting that is not ours: {name} = {quantity}")
        if not isinstance(quantity.value, str) and not math.isfinite(quantity.value):
            raise Wrong(f"a setting that is no number: {name} = {quantity}")


def _unpacked(path: Path, folder: Path) -> dict[str, Any]:
    """Unpack an archive, look where its members went, and read some of them."""
    try:
        places = archive.unpack(path, folder)
    except MicdbError as error:
        _check_refusal(path, error)
        return {
            "outcome": "refused",
            "format": "archive",
            "reader": None,
            "offset": False,
            "reason": str(error),
        }
    for file in folder.rglob("*"):
        inside = file.resolve().is_relative_to(folder.resolve())
        if file.is_symlink() or not inside or not (file.is_dir() or file in places.values()):
            raise Wrong(f"the archive put {file} there")
    for place in list(places.values())[:_MEMBERS]:
        _read(place, folder / "within") if not archive.is_archive(place) else archive.members(place)
    shutil.rmtree(folder)
    return {"outcome": "scans", "format": "archive", "reader": None}


# ------------------------------------------------------------------ a whole ingest


def _ingested(wanted: Sequence[tuple[Seed, int]], others: Sequence[Seed], work: Path) -> dict[str, Any]:
    """Bring some mutants into a database by two workers: nothing may be left over, and all of it is sound."""
    folder = _fresh(work / "current")
    for number, (seed, which) in enumerate(wanted):
        mutant(seed, which, others, _fresh(folder / f"{number:02d}"))
    root = work / f"{uuid7()}.micdb"  # a new name: this process remembers its staging folders
    _limit(None)
    start = time.monotonic()
    problems: list[str] = []
    with micdb.init(root) as database:
        try:
            found = database.ingest(folder, workers=2)
            problems += [
                f"{one.path}: {one.reason}"
                for one in found.files
                if any(word in (one.reason or "") for word in _LOST)
            ]
        except UsageError as error:
            if "holds no image" not in str(error):
                problems.append(traceback.format_exc(limit=-8))
        except Exception:
            problems.append(traceback.format_exc(limit=-8))
        report = database.fsck(deep=True)
        problems += [] if report.clean else [str(report)]
        images = database.images.count()
    problems += [f"left in staging: {file}" for file in (root / "staging").rglob("*")]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << (10 if sys.platform == "linux" else 0)
    if peak > MEMORY + (1 << 29):  # with the libraries
        problems.append(f"a worker took {peak >> 20} MiB of memory")
    shutil.rmtree(root)
    outcome = "failure" if problems else "ingested"
    seconds = time.monotonic() - start
    return {"outcome": outcome, "reason": "\n".join(problems), "seconds": seconds, "images": images}


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Path(sys.argv[2]))

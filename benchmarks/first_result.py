"""How soon a new process sees something of a catalog: imports, ``micdb.open``, the first rows, the count.

::

    python benchmarks/first_result.py DATABASE [--rounds 5]

Each round is a fresh process on a file that is in the page cache. Times are medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

CHILD = """
import json, sys, time
marks, names = [time.perf_counter()], []
def mark(name):
    marks.append(time.perf_counter())
    names.append(name)
import numpy, pandas, pyarrow, scipy, sqlalchemy, h5py
mark("import of numpy, pandas, pyarrow, scipy, SQLAlchemy, h5py")
import micdb
import micdb.opening
mark("import of micdb")
db = micdb.open(sys.argv[1])
mark("open")
repr(db)
mark("print(db)")
db.images.head(5).to_pandas()
mark("first five images")
repr(db.images)
mark("print(db.images)")
len(db.images)
mark("exact count")
print(json.dumps(dict(zip(names, [b - a for a, b in zip(marks, marks[1:])]))))
"""


def main() -> None:
    """Print the median of each step [ms]."""
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    parser.add_argument("database")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    command = [sys.executable, "-c", CHILD, arguments.database]
    rounds = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(arguments.rounds)
    ]
    medians = {name: statistics.median(one[name] for one in rounds) * 1e3 for name in rounds[0]}
    for name, median in medians.items():
        print(f"{name:<60}{median:>8.0f} ms")
    shown = ("open", "print(db)", "first five images")
    print(f"{'open and both first results, after imports':<60}{sum(medians[one] for one in shown):>8.0f} ms")


if __name__ == "__main__":
    main()

"""Recompute the constants that balance `texture`: python benchmarks/texture_reference.py > reference module.

The committed `micdb.embed.extractors.texture_reference` is the output of this script. Only simulated
textures go in; changing the recipe or the features means a new version of the extractor.
"""

from __future__ import annotations

import sys
from textwrap import fill

import numpy as np

from micdb.embed.extractors.texture_features import features
from micdb.embed.simulate.textures import reference_textures

COUNT = 420
SEED = 1

_HEADER = '''"""Mean and spread of every texture feature over {count} simulated textures (seed {seed}).

Written by benchmarks/texture_reference.py; do not edit by hand.
"""

from __future__ import annotations

import numpy as np

'''


def main() -> None:
    """Write the module to standard output."""
    raw = np.array([features(image) for image in reference_textures(COUNT, seed=SEED)])
    sys.stdout.write(_HEADER.format(count=COUNT, seed=SEED))
    for name, values in (("MEAN", raw.mean(axis=0)), ("SPREAD", raw.std(axis=0))):
        numbers = fill(", ".join(f"{value:.5g}" for value in values), 104)
        lines = "\n".join(f"    {line.rstrip()}" for line in numbers.splitlines())
        sys.stdout.write(f"{name} = np.array([\n{lines},\n])  # fmt: skip\n")


if __name__ == "__main__":
    main()

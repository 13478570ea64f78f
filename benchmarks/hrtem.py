"""Compare high-resolution images with abTEM's: ``python benchmarks/hrtem.py`` (needs ``pip install abtem``).

Particles of gold and copper, at rest, by both multislices with the same slices and sampling, then through the
same lens. Printed is what is left of the standard deviation of the image, and by how much the planes that
focus is counted from differ.
"""

from __future__ import annotations

import abtem
import numpy as np
import numpy.typing as npt

from micdb.embed.simulate import hrtem
from micdb.embed.simulate.metals import nanoparticle
from micdb.embed.simulate.probe import Optics

PIXEL, SIDE = 0.02, 160  # [nm], [pixel]


def main() -> None:
    """Print the table."""
    hrtem._MOTION = 0.0  # abTEM's atoms are at rest here
    for metal, axis in (("Au", (0, 0, 1)), ("Au", (1, 1, 0)), ("Cu", (1, 1, 0))):
        made = nanoparticle(metal, (SIDE * PIXEL,) * 2, seed=1, diameter=2.0, axis=axis, rotation=20.0)
        ours = hrtem.exit_wave(made.xyz, made.number, (SIDE, SIDE), pixel_size=PIXEL, voltage=300.0)
        atoms = made.to_ase()
        low, high = made.xyz[:, 2].min(), made.xyz[:, 2].max()
        atoms.positions[:, 2] -= 10 * low - 1e-3
        # from (x, y), x the first index there
        atoms.set_cell([SIDE * PIXEL * 10, SIDE * PIXEL * 10, 10 * (high - low) + 2])
        potential = abtem.Potential(atoms, gpts=SIDE, slice_thickness=2.0, parametrization="peng")
        wave = abtem.PlaneWave(energy=300e3).multislice(potential).compute().array.T
        theirs = np.asarray(wave)
        for defocus in (2.0, 5.0, 10.0):
            other = seen(theirs, defocus)
            shifts = np.arange(-1.5, 1.6, 0.1)
            left = [(seen(ours, defocus + shift) - other).std() / other.std() for shift in shifts]
            best = int(np.argmin(left))
            print(
                f"{metal} {axis} underfocus {defocus:4.1f} nm: {left[best]:.3f} of the standard deviation, "
                f"focus {shifts[best]:+.1f} nm"
            )


def seen(wave: npt.NDArray[np.complex128], defocus: float) -> npt.NDArray[np.float64]:
    """Return the image of a wave."""
    lens = Optics(300.0, 25.0, defocus=defocus, c3=-10.0, source=0.02, focal_spread=3.0)
    return hrtem.intensity(wave, PIXEL, lens)


if __name__ == "__main__":
    main()

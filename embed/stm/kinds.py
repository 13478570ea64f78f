"""Names of point defects as they look: their size, contrast and sign.

After Smalley et al., arXiv 2312.05160 (2023), who class the defects of WSe2 so: what an image of one bias
shows of a defect is the local density of states around it, not its atoms, so its look is what can be named.
"""

from __future__ import annotations

#: size-contrast-sign; ``peak`` is higher than the terrace at the bias of the image, ``trough`` is lower.
KINDS = tuple(
    f"{size}-{contrast}-{sign}"
    for size in ("small", "large")
    for contrast in ("bright", "dim")
    for sign in ("peak", "trough")
)

#: Diameter that parts small from large [nm]: a vacancy's or an isovalent atom's states reach 1 to 4 nm, the
#: bent bands around a charged one 5 nm and more (Edelberg et al., Nano Lett. 19, 4371 (2019)).
SMALL = 5.0

#: Height over the noise that parts bright from dim: seen at a glance, or beside the empty terrace only.
BRIGHT = 6.0

#: Diameter of a defect that was marked by a point only [nm].
TYPICAL = {"small": 3.0, "large": 14.0}


def typical_diameter(kind: str) -> float:
    """Return the diameter [nm] to assume for a kind whose extent is not known."""
    return TYPICAL.get(kind.partition("-")[0], TYPICAL["small"])


def kind_of(diameter: float, height: float, noise: float) -> str:
    """Return the kind of a defect by what was measured of it.

    Parameters
    ----------
    diameter
        [nm].
    height
        Signed, above the terrace.
    noise
        Standard deviation of the height, in the same unit.
    """
    size = "small" if diameter < SMALL else "large"
    contrast = "bright" if abs(height) >= BRIGHT * noise else "dim"
    return f"{size}-{contrast}-{'peak' if height > 0 else 'trough'}"

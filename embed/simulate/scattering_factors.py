"""Electron scattering factors of atoms, elastic and by thermal diffuse scattering.

Elastic: five Gaussians fitted to relativistic Hartree-Fock, to 6 per angstrom, by Peng, Ren, Dudarev and
Whelan (Acta Crystallogr. A 52, 257, 1996). What thermal motion scatters diffusely is lost to the elastic
wave; the Einstein model gives it as an imaginary part (Hall and Hirsch, Proc. R. Soc. A 286, 158, 1965),
which Gaussians integrate in closed form.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from micdb.embed.simulate.probe import wavelength
from micdb.errors import UsageError

Floats = npt.NDArray[np.float64]

_REST = 510.99895  # [keV] of an electron
_ANGSTROM = 0.1  # [nm]

# Peng et al. 1996, table 3: amplitudes [angstrom] and widths [angstrom**2] of exp(-b s**2), s = q / 2.
_GAUSSIANS: dict[int, tuple[tuple[float, ...], tuple[float, ...]]] = {
    6: ((0.0489, 0.2091, 0.7537, 1.142, 0.3555), (0.114, 1.0825, 5.4281, 17.8811, 51.1341)),
    8: ((0.0365, 0.1729, 0.5805, 0.8814, 0.3121), (0.0652, 0.6184, 2.9449, 9.6298, 28.2194)),
    13: ((0.1165, 0.5504, 1.0179, 2.6295, 1.5711), (0.1295, 1.2619, 6.8242, 28.4577, 88.475)),
    14: ((0.0567, 0.3365, 0.8104, 2.496, 2.1186), (0.0582, 0.6155, 3.2522, 16.7929, 57.6767)),
    19: ((0.2149, 0.8703, 2.4999, 2.3591, 3.0318), (0.166, 1.6906, 8.7447, 46.7825, 165.6923)),
    20: ((0.2355, 0.9916, 2.3959, 3.7252, 2.5647), (0.1742, 1.8329, 8.8407, 47.4583, 134.9613)),
    21: ((0.4636, 2.0802, 2.9003, 1.4193, 2.4323), (0.3682, 4.0312, 22.6493, 71.82, 103.3691)),
    22: ((0.2123, 0.896, 2.1765, 3.0436, 2.4439), (0.1399, 1.4568, 6.7534, 33.1168, 101.8238)),
    24: ((0.197, 0.8228, 2.02, 2.1717, 1.7516), (0.1197, 1.1985, 5.4097, 25.2361, 94.429)),
    25: ((0.1943, 0.819, 1.9296, 2.4968, 2.0625), (0.1135, 1.1313, 5.0341, 24.1798, 80.5598)),
    26: ((0.1929, 0.8239, 1.8689, 2.3694, 1.906), (0.1087, 1.0806, 4.7637, 22.85, 76.7309)),
    27: ((0.2186, 0.9861, 1.854, 2.3258, 1.4685), (0.1182, 1.23, 5.4177, 25.7602, 80.8542)),
    28: ((0.2313, 1.0657, 1.8229, 2.2609, 1.1883), (0.121, 1.2691, 5.687, 27.0917, 83.0285)),
    29: ((0.3501, 1.6558, 1.9582, 0.2134, 1.4109), (0.1867, 1.9917, 11.3396, 53.2619, 63.252)),
    31: ((0.2135, 0.9768, 1.6669, 2.5662, 1.679), (0.102, 1.0219, 4.6275, 22.8742, 80.1535)),
    38: ((0.3723, 1.4598, 3.5124, 4.4612, 3.3031), (0.148, 1.4643, 9.232, 49.8807, 148.0937)),
    39: ((0.3234, 1.2737, 3.2115, 4.0563, 3.7962), (0.1244, 1.1948, 7.2756, 34.143, 111.2079)),
    40: ((0.2997, 1.1879, 3.1075, 3.974, 3.5769), (0.1121, 1.0638, 6.3891, 28.7081, 97.4289)),
    41: ((0.168, 0.937, 2.73, 3.815, 3.0053), (0.0597, 0.6524, 4.4317, 19.554, 85.5011)),
    44: ((0.2604, 1.0442, 3.0761, 3.2175, 1.9448), (0.0887, 0.824, 4.8278, 19.8977, 80.4566)),
    47: ((0.2739, 1.0503, 3.1564, 2.7543, 1.4328), (0.0881, 0.8028, 4.4451, 18.7011, 79.2633)),
    50: ((0.2966, 1.1157, 3.0973, 3.8156, 2.5281), (0.0896, 0.8268, 4.2242, 20.69, 71.3399)),
    56: ((0.5229, 2.2874, 4.7243, 5.0807, 5.6389), (0.1434, 1.6019, 9.4511, 42.7685, 148.4969)),
    57: ((0.5461, 2.3856, 5.0653, 5.7601, 4.0463), (0.1479, 1.6552, 10.0059, 47.3245, 145.8464)),
    59: ((0.5237, 2.2913, 4.6161, 4.7233, 4.8173), (0.136, 1.5068, 8.8213, 41.9536, 141.2424)),
    60: ((0.5368, 2.3301, 4.6058, 4.6621, 4.4622), (0.1378, 1.514, 8.8719, 43.5967, 141.8065)),
    62: ((0.5162, 2.2302, 4.3449, 4.3598, 4.4292), (0.1279, 1.3811, 7.9629, 39.1213, 132.7846)),
    64: ((0.9664, 3.4052, 5.0803, 1.4991, 4.2528), (0.2641, 2.6586, 16.2213, 80.206, 92.5359)),
    66: ((0.4974, 2.1097, 3.8906, 3.81, 4.3084), (0.1157, 1.2108, 6.7377, 32.415, 116.9225)),
    73: ((0.3835, 1.6747, 3.2986, 4.0462, 3.4303), (0.081, 0.802, 4.3545, 19.9644, 73.6337)),
    78: ((0.3083, 1.4158, 2.9662, 3.9349, 2.1709), (0.0609, 0.5993, 3.1921, 12.5285, 49.7675)),
    79: ((0.3055, 1.3945, 2.9617, 3.899, 2.0026), (0.0596, 0.5827, 3.1035, 11.9693, 47.9106)),
    82: ((0.354, 1.5453, 3.5975, 4.3152, 2.7743), (0.0668, 0.6465, 3.6968, 16.2056, 61.4909)),
    83: ((0.353, 1.5258, 3.5815, 4.5532, 3.0714), (0.0661, 0.6324, 3.5906, 15.9962, 57.576)),
}


def elastic(number: int, q: Floats) -> Floats:
    """Return the scattering factor of an atom at rest [nm], for electrons at rest mass.

    Parameters
    ----------
    number
        Atomic number.
    q
        Spatial frequencies of any shape [1/nm].

    Raises
    ------
    UsageError
        There are no coefficients of this element.
    """
    amplitude, width = _coefficients(number)
    square = np.square(np.asarray(q) * _ANGSTROM / 2)
    return np.asarray(_ANGSTROM * np.exp(-square[..., None] * width) @ amplitude)


def diffuse(number: int, q: Floats, *, thermal: float, voltage: float) -> Floats:
    """Return the imaginary part of the scattering factor by thermal diffuse scattering [nm].

    The elastic wave of a vibrating atom sees ``(elastic + 1j * diffuse)`` times its Debye-Waller factor.

    Parameters
    ----------
    number, q
        As in `elastic`.
    thermal
        Standard deviation of the atom's vibration along one axis [nm].
    voltage
        [kV].
    """
    amplitude, width = _coefficients(number)
    square = np.square(np.asarray(q) * _ANGSTROM / 2)[..., None, None]
    motion = 8 * math.pi**2 * (thermal / _ANGSTROM) ** 2  # [angstrom**2] B of the Debye-Waller factor
    first, second = width[:, None], width[None, :]
    together, apart = first + second, first - second
    still = math.pi / together * np.exp(-first * second / together * square)
    moved = together + 2 * motion
    shift = (apart**2 / moved - together) / 4 + motion / 2
    moving = math.pi / moved * np.exp(shift * square)
    integral = np.einsum("a,b,...ab->...", amplitude, amplitude, still - moving)
    heavy = wavelength(voltage) / _ANGSTROM * mass_ratio(voltage)
    return np.asarray(_ANGSTROM * 2 * heavy * integral)


def mass_ratio(voltage: float) -> float:
    """Return the mass of an electron at a voltage [kV] over that at rest: 1.39 at 200 kV."""
    return 1 + voltage / _REST


def _coefficients(number: int) -> tuple[Floats, Floats]:
    if number not in _GAUSSIANS:
        known = ", ".join(map(str, _GAUSSIANS))
        raise UsageError(f"no electron scattering factor for atomic number {number}; expected one of {known}")
    amplitude, width = _GAUSSIANS[number]
    return np.array(amplitude), np.array(width)

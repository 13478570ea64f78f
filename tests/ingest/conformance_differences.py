"""Where another reader and micdb rightly differ: what the exact difference is, and why.

A row is used only for a claim that is not equal, and then the difference must be exactly the one described:
anything else is a failure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np
from conformance_claims import Claim, six_digits


class Difference(NamedTuple):
    """An explained difference; the first row that covers a claim is used.

    Parameters
    ----------
    item, by, field
        Patterns (`fnmatch`) of the manifest's ``open``, of reader and version, and of ``image/field``.
    why
        One sentence for the page.
    holds
        Whether their value and ours differ in exactly this way.
    pixels
        For statistics, instead of `holds`: what the other reader makes of our pixels; the statistic of that
        must be theirs.
    """

    item: str
    by: str
    field: str
    why: str
    holds: Callable[[Any, Any], bool] | None = None
    pixels: Callable[[np.ndarray], np.ndarray] | None = None

    def covers(self, item: str, claim: Claim) -> bool:
        """Return whether this row is about a claim."""
        named = ((item, self.item), (claim.by, self.by), (f"{claim.image}/{claim.field}", self.field))
        return all(fnmatchcase(name, pattern) for name, pattern in named)


def _zone(hours: float) -> Callable[[Any, Any], bool]:
    """Return whether theirs is the local time of a zone `hours` east of UTC, and ours the same moment."""

    def holds(theirs: str, ours: str) -> bool:
        moment = datetime.fromisoformat(ours)
        local = moment.replace(tzinfo=None) + timedelta(hours=hours)
        return moment.utcoffset() == timedelta(0) and local == datetime.fromisoformat(theirs)

    return holds


def _pair(theirs: Any, ours: Any) -> Callable[[Any, Any], bool]:
    return lambda one, other: one == theirs and other == ours


def _left_out(*values: Any) -> Callable[[Any, Any], bool]:
    return lambda theirs, ours: ours is None and theirs in values


def _rounded(digits: int) -> Callable[[Any, Any], bool]:
    return lambda theirs, ours: theirs == round(ours, digits)


def _named(**names: str) -> Callable[[Any, Any], bool]:
    """Return whether ours is theirs with a word of another language in it."""
    return lambda theirs, ours: any(
        word in theirs.split() and ours.endswith(meant) for word, meant in names.items()
    )


# DAC unit of Createc's 20 bit over 20 V; its header: GainZ 10, Gainpreamp 10^9, ZPiezoconst as below.
_VOLT = 20 / 2**20
_PIEZO = {"A250320.191933": 20.00e-10, "A260211.102135": 19.20e-10}  # [m/V]


def _createc(name: str) -> tuple[Difference, ...]:
    item, piezo = f"createc_dat/{name}.dat", _PIEZO[name]
    metres, ampere = _VOLT * 10 * piezo, _VOLT / 1e9
    by_hand = "createc gives DAC units; ours are metres and ampere by the gains of the header"
    return (
        Difference(
            item, "createc *", "*/date", "createc calls the clock of the computer UTC; no zone is recorded",
            lambda theirs, ours: theirs == f"{ours}+00:00",
        ),
        Difference(
            item, "createc *", "[02]/*ptp", by_hand,
            lambda theirs, ours: six_digits(theirs, ours / metres)
            or abs(theirs * metres - ours) < 1.5e-14,  # float32 rounds 85 nm twice
        ),
        Difference(item, "createc *", "[02]/*", by_hand, pixels=lambda array: array / metres),
        Difference(item, "createc *", "[13]/*", by_hand, pixels=lambda array: array / ampere),
        Difference(
            item, "Gwyddion *", "*/step [xy]",
            "Gwyddion takes 20 V / 2^20 for a DAC unit; the header's own length, and createc, 10 V / 524272",
            lambda theirs, ours: six_digits(theirs, ours * 2 * 524272 / 2**20),
        ),
        Difference(
            item, "Gwyddion *", "[13]/*",
            "Gwyddion multiplies currents by the constant of the z piezo; ours average to the set-point",
            pixels=lambda array: array * (piezo / 1e-10),
        ),
    )  # fmt: skip


_UTC = "The file says UTC; the other reader drops the zone"
_OS_CLOCK = (
    "The local clock is theirs; ours is the same moment in UTC, as the file has it in `Acquisition Time (OS)`"
)
_ROUNDS = "rosettasciio rounds"
_TVIPS_STAGE = (
    0.0, -9.200000050668677e-05, 7.000000135093387e-06, -0.007000000216066837, -0.054999999701976776,
)  # fmt: skip
_GREY = "Gwyddion scales grey values to 0..1"
_PLUGIN = "Theirs is the name of the remote-control plug-in; ours is the microscope of the session"
_SESSIONS = ("FEI Titan", "Example Microscope")
_ZERO = "A zero that stands for not recorded"
_WRITTEN = "TIFF's DateTime says when the file was written; it is kept in the original metadata"
_NO_UNIT = "The file does not say in which unit; kept in the original metadata"
_COLOUR = "rosettasciio calls red, green, blue (and alpha) one value"
_OWN_NAMES = "Gwyddion names the channel itself"
_GENERIC = ("Intensity", "Secondary electron count", "Gray", "Value (max)")
_FFT = (
    "A packed Fourier transform has one column less in rosettasciio; which half is stored is not documented, "
    "and rosettasciio takes the other one: phases are mirrored in x, magnitudes are equal"
)

DIFFERENCES: tuple[Difference, ...] = (
    *_createc("A250320.191933"),
    *_createc("A260211.102135"),
    Difference("createc_dat/A260211.*", "Gwyddion *", "2/ptp", "Rounding of float32: 7e-15 m at 85 nm",
               lambda theirs, ours: abs(theirs - ours) < 7e-15),
    # DigitalMicrograph
    Difference("dm3/multi_signal.dm3", "*", "0/date", _OS_CLOCK, _zone(-5)),
    Difference("dm3/*", "*", "0/date", _OS_CLOCK, _zone(1)),
    Difference("dm3/*", "*", "0/instrument", _PLUGIN,
               lambda theirs, ours: theirs == "FEI Tecnai Remote" and ours in _SESSIONS),
    Difference("dm3/*", "*", "0/beam_current", _ZERO, _left_out(0.0)),
    Difference("dm3/test-8.dm3", "*", "0/shape", "The fourth byte of a colour is padding, no alpha",
               _pair((2, 2, 4), (2, 2, 3))),
    Difference("dm4/test_fft_*", "*", "0/shape", _FFT, _pair((5, 4), (5, 5))),
    Difference("dm4/test_fft_*", "*", "0/*", _FFT, pixels=lambda plane: plane[:, :4]),
    # EMD
    Difference("emd_ncem/Si100_*", "*", "*/step of axis 0",
               "Computed by rosettasciio from the simulation's parameters; not stored", _left_out(2.715)),
    Difference("emd_velox/*", "*", "0/date", _UTC, _zone(0)),
    Difference("emd_velox/*", "*", "0/camera_length", "Left over: the projector was imaging, not diffracting",
               _left_out(378.0, 478.0)),
    Difference("emd_velox/*", "*", "0/magnification",
               "rosettasciio maps the STEM magnification of a TEM image; ours is the nominal one",
               lambda theirs, ours: theirs == 0.0 and any(six_digits(n, ours) for n in (26996.3, 1394970.0))),
    Difference("emd_velox/*", "*", "0/stage_[xyz]", _ROUNDS, _rounded(6)),
    Difference("emd_velox/*", "*", "0/stage_tilt*", _ROUNDS, _rounded(3)),
    Difference("emd_velox/fei_example_*", "*", "0/channel", "Theirs is the kind of image, ours its title",
               _pair("Half FFT", "FFT#1(Ceta)")),
    # scanning probes
    Difference("jpk/*", "AFMReader *", "2/channel", "Spelled differently",
               _pair("measuredHeight_trace", "Height (measured) trace")),
    Difference("jpk/*", "AFMReader *", "1/channel", "Spelled differently",
               _pair("vDeflection_trace", "Vertical Deflection trace")),
    Difference("jpk/*", "AFMReader *", "[24]/*", "AFMReader gives nm; ours are metres, as in the file",
               pixels=lambda array: array * 1e9),
    Difference("omicron_mtrx/*", "Gwyddion *", "*/channel", "Trace is forward, retrace is backward",
               _named(TraceUp="forward/up", RetraceUp="backward/up", TraceDown="forward/down",
                      RetraceDown="backward/down")),
    Difference("rhk_sm4/*", "Gwyddion *", "*/channel", "Left is backward, right is forward, as in spym",
               _named(**{"[Left]": "backward", "[Right]": "forward"})),
    Difference("wsxm/*", "Gwyddion *", "0/step [xy]", "Gwyddion 2.62 reads um as nm; AFMReader does not",
               lambda theirs, ours: six_digits(theirs * 1000, ours)),
    # TIFF
    Difference("sem_tif_fei/*", "*", "0/extent x", "Rounded in the file: HFW and PixelWidth have six digits",
               lambda theirs, ours: math.isclose(theirs, ours, rel_tol=4e-6)),
    Difference("sem_tif_tescan/*", "*", "0/stage_[rt]*", _NO_UNIT, _left_out(0.0)),
    Difference("sem_tif_zeiss/*", "rosettasciio *", "0/step *",
               "AP_IMAGE_PIXEL_SIZE has four digits; rosettasciio takes a number without name and unit",
               lambda theirs, ours: round(theirs * 1e9, 1) == ours * 1e9),
    Difference("tem_tif/TVIPS_*", "rosettasciio *", "0/stage_*", _NO_UNIT, _left_out(*_TVIPS_STAGE)),
    Difference("tem_tif/TVIPS_*", "Gwyddion *", "0/step [xy]", "Gwyddion knows no scale: 1 / width",
               lambda theirs, ours: six_digits(theirs, 1 / 1024)),
    Difference("tem_tif/olympus_*", "rosettasciio *", "1/step [xy]", _ROUNDS,
               lambda theirs, ours: six_digits(theirs, round(ours, 15))),
    Difference("*_tif*/*", "Gwyddion *", "0/channel", _OWN_NAMES, lambda theirs, ours: theirs in _GENERIC),
    Difference("tem_tif/olympus_*", "Gwyddion *", "0/scans", "Gwyddion opens the first page", _pair(1, 2)),
    Difference("tem_tif/olympus_*", "Gwyddion *", "0/shape", "Gwyddion gives the brightest colour",
               _pair((101, 112), (101, 112, 3))),
    Difference("tem_tif/olympus_*", "Gwyddion *", "0/*", "Gwyddion gives the brightest colour",
               pixels=lambda array: array.max(axis=-1) / 255),
    Difference("sem_tif_tescan/*", "Gwyddion *", "0/*", _GREY, pixels=lambda array: array / 65535),
    Difference("*_tif*/*", "Gwyddion *", "0/*", _GREY, pixels=lambda array: array / 255),
    Difference("*tif*/*", "rosettasciio *", "0/shape", _COLOUR, lambda theirs, ours: theirs == ours[:-1]),
    Difference("tem_tif/olympus_*", "rosettasciio *", "0/date", _WRITTEN, _left_out("2018-11-15")),
    Difference("tif_plain/*", "rosettasciio *", "0/date", _WRITTEN, _left_out("2016-06-13")),
    Difference("tif_ome/*", "*", "0/channel", "Theirs is the identifier of the channel, ours its detector",
               _pair("Channel:0:0", "Andor Newton DU940P_BU (s/n: 20083)")),
    # others
    Difference("merlin_mib/*", "*", "0/date", _UTC, _zone(0)),
    Difference("phenom_elid/*", "*", "0/date", _UTC, _zone(0)),
    Difference("phenom_elid/*", "*", "1/*", "The other reader leaves alpha out of the statistics",
               pixels=lambda array: array[..., :3]),
    Difference("movie/*", "*", "0/shape", "Theirs is one frame", _pair((424, 640, 3), (480, 424, 640, 3))),
    Difference("tia/*", "*", "0/instrument", "Without the label of the field",
               lambda theirs, ours: theirs == f"Microscope {ours}"),
    Difference("tvips/*", "*", "0/step of axis 0", _ZERO, _left_out(0.0)),
    Difference("tvips/*", "*", "0/magnification", "In diffraction TVIPS writes the camera length here",
               _left_out(80.0)),
    Difference("tvips/*", "*", "0/date", _UTC, _zone(0)),
)  # fmt: skip

# Images of the manifest -> ours, where they do not stand in the same order.
PAIRS: dict[str, dict[int, int]] = {
    "jpk/sample_0.jpk-qi-image": {0: 2, 1: 1, 2: 3, 3: 4, 4: 5},  # AFMReader keeps one of two equal names
    "emd_ncem/Si100_2D_3D_DPC_potential_2slices.emd": {0: 7, 1: 8, 2: 4, 3: 9},
}
# Scans of ours that the manifest's reader returns as one: they are counted on from the last of ours.
JOINED: dict[str, tuple[tuple[int, ...], ...]] = {
    "emd_ncem/Si100_2D_3D_DPC_potential_2slices.emd": ((0, 1), (2, 3), (5, 6)),
}

# Items that are refused -> kind of error and what the reason must say.
REFUSED: dict[str, tuple[str, str]] = {
    "bruker_nanoscope/bruker_data_header.000": ("DamagedFileError", "numbers of .* are missing"),
    "bruker_nanoscope/bruker_data_header.002": ("DamagedFileError", "numbers of .* are missing"),
    "createc_vert/createc_vert_didz_image_state.VERT": ("NotAnImageError", "spectrum"),
    "dm4/EELS_SI.dm4": ("NotAnImageError", "spectrum image"),
    "dm5/ref_F_2_1.dm5": ("NotAnImageError", "spectrum image"),
    "hspy/example1_v1.2.hdf5": ("NotAnImageError", "spectrum"),
    "igor_ibw/win-textWave.ibw": ("NotAnImageError", "text wave of 5 entries"),
    "igor_ibw/win-version5.ibw": ("NotAnImageError", "wave of 5 numbers"),
    "jpk_force/fmt-jpk-fd_2020.02.07-16.29.05.036.jpk-qi-data": ("NotAnImageError", "force curves"),
    "nanonis_3ds/grid_30x30.3ds": ("NotAnImageError", "grid of spectra"),
    "nanonis_dat/Bias-Spectroscopy002.dat": ("NotAnImageError", "bias spectroscopy"),
    "nanonis_dat/LongTerm.dat": ("NotAnImageError", "time trace"),
    "nanonis_dat/duplicate_headers.dat": ("NotAnImageError", "spectrum"),
    "rhk_sm4/dI-dV_incomplete_Stripes-9K-HOPG-SPI2-3_2021_09_06_16_15_26_118.sm4": (
        "NotAnImageError", "spectra or curves",
    ),
    "sem_tif_fei/quad1image_001_no_beam_scan_or_system_meta.tif": ("DamagedFileError", "pixels are cut off"),
    "sem_tif_jeol/image000.txt": ("NotAnImageError", "JEOL SEM parameter text"),
    "tia/16x16-spectrum_image-5x5x1024.emi": ("NotAnImageError", "25 spectra"),
}  # fmt: skip

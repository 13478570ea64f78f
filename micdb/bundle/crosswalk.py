"""Our names of instrument settings beside those of NeXus NXem and of HyperSpy: one table for both ways out.

`to_hyperspy` and the export as NXem read it, and docs/metadata.md prints it.

References
----------
NXem and its base classes, NeXus definitions as in pynxtools 0.16.0; HyperSpy user guide 2.x,
"Metadata structure".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from micdb.errors import UnitError
from micdb.records import SETTINGS, Quantity

_STATIC = "measurement/instrument"  # what does not change during a session
_EVENT = "measurement/event1/instrument"  # what was set when the image was taken
_SOURCE = f"{_EVENT}/ebeam_column/electron_source"
_OPTICS = f"{_EVENT}/optics"
_STAGE = f"{_EVENT}/stage1"


class Crossing(NamedTuple):
    """One setting in three vocabularies.

    Parameters
    ----------
    setting
        Our name, one of `micdb.records.SETTINGS`, which gives the unit.
    nexus
        Path below the NXentry; None where NXem has no place for it. A number in brackets at its end is
        the place in a vector.
    hyperspy
        Path in HyperSpy's tree; one that starts with a dot stands below ``Acquisition_instrument.SEM`` or
        ``.TEM``. None where the tree has no place for it.
    hyperspy_unit
        Unit HyperSpy keeps it in, where that is not ours.
    """

    setting: str
    nexus: str | None = None
    hyperspy: str | None = None
    hyperspy_unit: str | None = None

    @property
    def unit(self) -> str | None:
        """Our unit, which is also what is written to NeXus."""
        return SETTINGS[self.setting]


CROSSWALK = (
    # HyperSpy's beam energy in keV is the voltage in kV, as a number.
    Crossing("accelerating_voltage", f"{_SOURCE}/voltage", ".beam_energy", "kV"),
    Crossing("magnification", f"{_OPTICS}/magnification", ".magnification"),
    Crossing("working_distance", f"{_OPTICS}/working_distance", ".working_distance"),
    Crossing("dwell_time", f"{_EVENT}/ebeam_column/scan_controller/dwell_time", ".dwell_time"),
    Crossing("exposure_time", f"{_EVENT}/detector1/count_time", ".Detector.Camera.exposure"),
    Crossing("beam_current", f"{_OPTICS}/probe_current", ".beam_current", "nA"),
    Crossing("emission_current", f"{_SOURCE}/emission_current"),
    Crossing("spot_size"),
    Crossing("camera_length", f"{_OPTICS}/camera_length", ".camera_length"),
    Crossing("defocus", f"{_OPTICS}/defocus"),
    Crossing("convergence_angle", f"{_OPTICS}/semi_convergence_angle", ".convergence_angle"),
    Crossing("bias"),
    Crossing("setpoint_current"),
    Crossing("scan_speed"),
    Crossing("scan_angle"),
    Crossing("stage_x", f"{_STAGE}/position[0]", ".Stage.x"),
    Crossing("stage_y", f"{_STAGE}/position[1]", ".Stage.y"),
    Crossing("stage_z", f"{_STAGE}/position[2]", ".Stage.z"),
    Crossing("stage_rotation", f"{_STAGE}/rotation", ".Stage.rotation"),
    Crossing("stage_tilt", f"{_STAGE}/tilt1", ".Stage.tilt_alpha"),
    Crossing("stage_tilt_beta", f"{_STAGE}/tilt2", ".Stage.tilt_beta"),
    Crossing("offset_x"),
    Crossing("offset_y"),
    Crossing("temperature"),
    Crossing("detector", f"{_STATIC}/detector1/name", ".Detector.detector_type"),
    Crossing("instrument", f"{_STATIC}/fabrication/model", ".microscope"),
    Crossing("vendor", f"{_STATIC}/fabrication/vendor"),
    Crossing("operator", "user1/name", "General.authors"),
    Crossing("sample", "sample1/name", "Sample.name"),
    Crossing("comment", None, "General.notes"),
    Crossing("signal", f"{_EVENT}/detector1/operation_mode"),
)


def crossed(settings: Mapping[str, Quantity]) -> Iterator[tuple[Crossing, float | str]]:
    """Yield each setting that is known with its value in our unit; one of another dimension is left out."""
    for row in CROSSWALK:
        quantity = settings.get(row.setting)
        if quantity is None:
            continue
        if isinstance(quantity.value, str):
            yield row, quantity.value
            continue
        try:
            yield row, quantity.to(row.unit)
        except UnitError:  # the catalog keeps it as found, and says so in `problems`
            continue

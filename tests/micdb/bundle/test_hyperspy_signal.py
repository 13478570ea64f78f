"""HyperSpy: the signal, its axes and its tree, before and after a .hspy file."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from micdb.bundle.crosswalk import CROSSWALK
from micdb.errors import MissingExtraError
from micdb.ingest.readers.hyperspy_tree import KEYS
from micdb.records import SETTINGS, Axis, Quantity

hs = pytest.importorskip("hyperspy.api")

SEM = {
    "accelerating_voltage": Quantity(5000.0, "V"),
    "magnification": Quantity(10030.0),
    "working_distance": Quantity(5.1, "mm"),
    "beam_current": Quantity(2e-10, "A"),
    "stage_x": Quantity(1.5, "mm"),
    "stage_tilt": Quantity(52.0, "deg"),
    "detector": Quantity("InLens"),
    "instrument": Quantity("Merlin"),
    "operator": Quantity("J. Doe"),
    "bias": Quantity(-0.5, "V"),
}


def described(signal):
    return [
        (axis.name, axis.size, axis.scale, axis.offset, str(axis.units), axis.navigate)
        for axis in signal.axes_manager._axes
    ]


def reloaded(signal, folder):
    signal.save(folder / "a.hspy")
    return hs.load(folder / "a.hspy")


def test_a_stack_keeps_values_axes_and_settings(lab, ramp, nm, tmp_path):
    pixels = ramp((3, 4, 5))
    axes = (Axis("time", 3, 0.5, 1.0, "s"), *nm(4, 5))
    image = lab.image(
        pixels, axes=axes, settings=SEM, modality="SEM", acquired="2023-04-11T10:00:05",
        original={"AP_MAG": "10.03 K X", "x/y": 1, "b": {"c.d": [1, {"e": None}], "": "empty", "_sig_x": 1}},
    )  # fmt: skip
    for signal in (image.to_hyperspy(), reloaded(image.to_hyperspy(), tmp_path)):
        assert isinstance(signal, hs.signals.Signal2D)
        assert np.array_equal(signal.data, pixels)
        assert signal.data.dtype == np.uint16
        assert described(signal) == [
            ("time", 3, 0.5, 1.0, "s", True),
            ("y", 4, 0.5, 0.0, "nm", False),
            ("x", 5, 0.25, 0.0, "nm", False),
        ]
        assert str(signal.axes_manager.signal_axes[0].name) == "x"
        general = signal.metadata.General
        assert (general.title, general.date, general.time) == ("grain boundary", "2023-04-11", "10:00:05")
        assert "time_zone" not in general
        assert (general.authors, general.original_filename) == ("J. Doe", "scan1.described")
        sem = signal.metadata.Acquisition_instrument.SEM
        assert (sem.beam_energy, sem.magnification, sem.working_distance) == (5.0, 10030.0, 5.1)
        assert sem.beam_current == pytest.approx(0.2)  # nA
        assert (sem.Stage.x, sem.Stage.tilt_alpha) == (1.5, 52.0)
        assert (sem.Detector.detector_type, sem.microscope) == ("InLens", "Merlin")
        assert signal.original_metadata.AP_MAG == "10.03 K X"
        vendor = signal.original_metadata.b.as_dictionary()
        assert vendor == {"c.d": [1, {"e": None}], "unnamed": "empty", "sig_x": 1}
        kept = signal.original_metadata.micdb.settings.bias
        assert (kept.value, kept.unit) == (-0.5, "V")


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2023-04-11T10:00:00Z", {"date": "2023-04-11", "time": "10:00:00", "time_zone": "UTC"}),
        ("2023-04-11T10:00:00+02:00", {"date": "2023-04-11", "time": "10:00:00", "time_zone": "+02:00"}),
        ("2023-04-11", {"date": "2023-04-11"}),
        (None, {}),
    ],
)
def test_dates_say_no_more_than_is_known(lab, ramp, moment, expected):
    general = lab.image(ramp((4, 5)), acquired=moment).to_hyperspy().metadata.General.as_dictionary()
    assert {name: general[name] for name in ("date", "time", "time_zone") if name in general} == expected


def test_uncalibrated_axes_have_no_unit(lab, ramp, tmp_path):
    image = lab.image(ramp((4, 5)))
    for signal in (image.to_hyperspy(), reloaded(image.to_hyperspy(), tmp_path)):
        assert described(signal) == [
            ("y", 4, 1.0, 0.0, "<undefined>", False),
            ("x", 5, 1.0, 0.0, "<undefined>", False),
        ]


def test_complex_diffraction(lab, ramp, nm, tmp_path):
    pixels = ramp((4, 5), "complex64")
    image = lab.image(pixels, axes=nm(4, 5, unit="1/nm"), modality="diffraction", settings=SEM)
    for signal in (image.to_hyperspy(), reloaded(image.to_hyperspy(), tmp_path)):
        assert isinstance(signal, hs.signals.ComplexSignal2D)
        assert np.array_equal(signal.data, pixels)
        assert signal.axes_manager["x"].units == "1/nm"
        assert signal.metadata.Acquisition_instrument.TEM.beam_energy == 5.0


@pytest.mark.parametrize(("samples", "dtype"), [(3, "uint8"), (4, "uint8"), (3, "uint16")])
def test_colour_becomes_packed_pixels(lab, ramp, tmp_path, samples, dtype):
    pixels = ramp((2, 4, 5, samples), dtype)
    steps = Axis("y", 4, 0.5, 0.0, "nm"), Axis("x", 5, 0.25, 0.0, "nm")
    axes = (Axis("frame", 2), *steps, Axis("colour", samples))
    signal = reloaded(lab.image(pixels, axes=axes).to_hyperspy(), tmp_path)
    assert isinstance(signal, hs.signals.Signal2D)
    names = ["R", "G", "B", "A"][:samples]
    assert list(signal.data.dtype.names) == names
    assert np.array_equal(np.stack([signal.data[name] for name in names], axis=-1), pixels)
    assert described(signal)[1:] == [("y", 4, 0.5, 0.0, "nm", False), ("x", 5, 0.25, 0.0, "nm", False)]


def test_colours_hyperspy_cannot_pack_are_a_navigation_axis(lab, ramp):
    pixels = ramp((4, 5, 3), "float32")
    signal = lab.image(pixels, colour=True).to_hyperspy()
    assert described(signal)[0] == ("colour", 3, 1.0, 0.0, "<undefined>", True)
    assert np.array_equal(signal.data, np.moveaxis(pixels, -1, 0))


def test_a_scanning_probe_has_no_electron_column(lab, ramp, nm):
    settings = {"bias": Quantity(-0.5, "V"), "instrument": Quantity("LT-STM"), "comment": Quantity("tip ok")}
    signal = lab.image(
        ramp((4, 5), "float32"), axes=nm(4, 5), settings=settings, modality="STM", channel="Z",
        intensity_unit="m",
    ).to_hyperspy()  # fmt: skip
    assert "Acquisition_instrument" not in signal.metadata
    assert signal.metadata.General.notes == "tip ok"
    assert signal.metadata.Signal.quantity == "Z (m)"


def test_the_table_agrees_with_what_the_reader_takes_from_hyperspys_tree():
    """One way out, one way in: the same path, in the same unit, for every setting both know."""
    inwards = {(key.vendor, key.setting): key.unit for key in KEYS}
    ours = {}
    for row in CROSSWALK:
        if row.hyperspy is not None:
            ours[row.hyperspy.removeprefix("."), row.setting] = row.hyperspy_unit or SETTINGS[row.setting]
    both = set(inwards) & set(ours)
    assert len(both) > 10
    assert {pair: inwards[pair] for pair in both} == {pair: ours[pair] for pair in both}


def test_without_hyperspy_the_message_is_the_install_line(lab, ramp, monkeypatch):
    image = lab.image(ramp((4, 5)))
    monkeypatch.setitem(sys.modules, "hyperspy.api", None)
    with pytest.raises(MissingExtraError, match="pip install hyperspy"):
        image.to_hyperspy()

"""Registry, provenance, errors, configuration, optional packages and records."""

from __future__ import annotations

import inspect
import pickle
import time
from importlib import metadata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from micdb import config, errors, extras, provenance
from micdb.errors import ContractError, MicdbError, MissingExtraError, ReadError, RegistryError, UsageError
from micdb.populate.extractor import Extractor
from micdb.records import Axis, Pixels, Quantity, Scan, Source
from micdb.registry import Registry


class Plugin:
    """A contract."""


class Good(Plugin):
    """A plug-in."""


class Better(Plugin):
    """Another."""


def test_a_registered_plugin_is_found():
    registry = Registry("micdb.nothing", Plugin)
    registry.register(Good, name="good")
    assert registry.get("good") is Good
    assert registry.names() == ["good"]
    registry.register(Good, name="good")


def test_a_taken_name_says_who_holds_it():
    registry = Registry("micdb.nothing", Plugin)
    registry.register(Good, name="good")
    with pytest.raises(RegistryError, match=r"'good' is already held by .*Good.*; choose another"):
        registry.register(Better, name="good")


def test_an_unknown_name_offers_the_nearest():
    registry = Registry("micdb.extractors", Extractor)
    with pytest.raises(RegistryError, match="no micdb.extractors plug-in 'textur'; did you mean texture"):
        registry.get("textur")


def test_a_plugin_of_the_wrong_kind_is_refused():
    with pytest.raises(ContractError, match="not a subclass of Plugin"):
        Registry("micdb.nothing", Plugin).register(int, name="int")


def test_the_tree_in_the_docstring_is_the_code():
    for name, kind in vars(errors).items():
        if inspect.isclass(kind) and issubclass(kind, MicdbError):
            assert name in errors.__doc__, name
            assert inspect.getdoc(kind), name


def test_read_errors_name_file_reader_and_byte_and_survive_a_process():
    error = errors.DamagedFileError("a.dm3", "the tag ends here", reader="dm", offset=17)
    assert str(error) == "a.dm3 [dm] at byte 17: the tag ends here"
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.offset, again.reader) == (str(error), 17, "dm")
    assert isinstance(again, ReadError)


def test_an_unknown_column_is_what_python_expects():
    error = errors.UnknownColumnError("nam", ["name", "lab"], "images")
    assert str(error) == "no column 'nam' in images; did you mean name?"
    assert isinstance(error, KeyError)
    assert isinstance(error, AttributeError)


@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.int16, np.float32, np.complex64]), arrays.array_shapes(max_dims=3)
    )
)
def test_pixel_hash_ignores_byte_order_and_layout(array):
    swapped = array.astype(array.dtype.newbyteorder(">"))
    assert provenance.pixel_hash(swapped) == provenance.pixel_hash(array)
    assert provenance.pixel_hash(np.asfortranarray(array)) == provenance.pixel_hash(array)


def test_pixel_hash_sees_values_shape_and_dtype():
    base = np.arange(6, dtype=np.uint8).reshape(2, 3)
    others = [base + 1, base.reshape(3, 2), base.astype(np.uint16)]
    assert len({provenance.pixel_hash(array) for array in [base, *others]}) == 4


def test_uids_are_ordered_by_time_and_unique():
    made = []
    for _ in range(200):
        made.append(provenance.uuid7())
        time.sleep(1e-6)
    assert made == sorted(made)
    assert len(set(made)) == 200
    assert {uid[14] for uid in made} == {"7"}
    assert {uid[19] for uid in made} <= set("89ab")


def test_run_key_is_the_same_for_the_same_parameters():
    one = provenance.run_key("m", {"a": 1, "b": 2.5})
    assert one == provenance.run_key("m", {"b": 2.5, "a": 1})
    assert one != provenance.run_key("m", {"a": 1, "b": 2.6})


def test_the_environment():
    loaded = config.load({"MICDB_DB": "x", "MICDB_FOLDER": "y", "MICDB_WORKERS": "3", "MICDB_ACTOR": "ada"})
    assert loaded == config.Config("x", "y", 3, "ada")
    with pytest.raises(UsageError, match="MICDB_WORKERS is 'many'; it must be a whole number"):
        config.load({"MICDB_WORKERS": "many"})


def test_a_missing_extra_is_the_install_line(monkeypatch):
    monkeypatch.setitem(extras.EXTRAS, "no_such_package", "embed")
    with pytest.raises(MissingExtraError, match=r"pip install 'micdb\[embed\]'"):
        extras.require("no_such_package")
    assert extras.require("json").dumps(1) == "1"


def test_quantities_and_axes_convert_or_refuse():
    assert Quantity(5, "kV").to("V") == 5000
    with pytest.raises(errors.UnitError, match="'SE' is text"):
        Quantity("SE").to("V")
    assert Axis("x", 10, -0.5, unit="um").step_in("nm") == 500
    assert Axis("x", 10, 0.5, unit="1/nm").step_in("nm") is None
    assert Axis("x", 10).step_in("nm") is None


def test_a_scan_knows_its_frames():
    def scan(*axes):
        pixels = Pixels(tuple(axis.size for axis in axes), "uint8", lambda: None)
        return Scan(pixels, axes, "a", Source("a", "f", "r", "1"))

    y, x = Axis("y", 3), Axis("x", 4)
    assert scan(y, x).n_frames == 1
    assert scan(Axis("time", 5), y, x).n_frames == 5
    colour = scan(Axis("scan_y", 2), Axis("scan_x", 3), y, x, Axis("colour", 3))
    assert colour.colour
    assert colour.n_frames == 6
    assert [axis.name for axis in colour.frame_axes] == ["scan_y", "scan_x"]


def test_two_packages_that_claim_one_name_stop_nobody_else(monkeypatch):
    claims = [
        metadata.EntryPoint(name, value, "micdb.readers")
        for name, value in (("mine", "a:A"), ("ours", "micdb.ingest.readers.mrc:Mrc"), ("mine", "b:B"))
    ]

    def listed(group, name=None):
        return [claim for claim in claims if name in (None, claim.name)]

    monkeypatch.setattr("micdb.registry.entry_points", listed)
    known = Registry("micdb.readers", object)
    assert known.names() == ["mine", "ours"]
    assert known.get("ours").__name__ == "Mrc"
    with pytest.raises(RegistryError, match="'mine' is claimed by a:A and by b:B; uninstall one of the two"):
        known.get("mine")

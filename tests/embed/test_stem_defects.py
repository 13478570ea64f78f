"""`stem-defects`: planted defects are found and named, nothing is where nothing was planted."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from micdb.embed.extractors.stem_atoms import StemAtoms
from micdb.embed.extractors.stem_defects import StemDefects
from micdb.embed.simulate.defect_scenes import Imaging, planted_scene
from micdb.errors import UsageError
from micdb.populate.extractor import Extraction
from micdb.records import Picture, Refusal
from micdb.testing.extractors import ExtractorContract

HOW = Imaging(counts=40.0, side=144, contamination=0.0)


def scene(material="graphene", seed=4, how=HOW, **plan):
    return planted_scene(material, {k.replace("_", "-"): n for k, n in plan.items()}, seed=seed, imaging=how)


def picture(one, size="own", modality="STEM", frames=1):
    pitch = (one.simulated.pixel_size,) * 2 if size == "own" else size
    return Picture(1, np.stack([one.simulated.image] * frames), pitch, modality, None, "simulated")


def answer(asked, **parameters):
    (given,) = StemDefects(**parameters).extract([asked])
    return given


class TestContract(ExtractorContract):
    extractor = StemDefects

    @pytest.fixture
    def picture(self):
        return picture(scene(vacancy=1, how=Imaging(counts=40.0, side=96)))


@pytest.mark.parametrize(
    ("material", "species", "plan"),
    [
        ("graphene", "C Si", {"vacancy": 1, "Si1C3": 1, "stone_wales": 1}),
        ("graphene", "C Si", {"divacancy": 1, "Si1C4": 1}),
        ("MoS2", "Mo S2 S", {"metal_vacancy": 1, "chalcogen_divacancy": 1}),
        ("SrTiO3", "", {"B_substitution": 1, "A_vacancy": 1}),
    ],
)
def test_planted_defects_are_named_where_they_are(material, species, plan):
    one = scene(material, **plan)
    rows = answer(picture(one), species=species).tables["defects"].to_pylist()
    assert Counter(row["kind"] for row in rows) == Counter(other.kind for other in one.simulated.defects)
    for other, name in zip(one.simulated.defects, one.names, strict=True):
        (row,) = [row for row in rows if row["kind"] == other.kind]
        assert np.hypot(row["x_nm"] - other.xy[0], row["y_nm"] - other.xy[1]) < 0.1
        assert row["score"] > 0.5
        if name.startswith("Si"):
            assert row["formula"] == name
            assert row["key"].startswith(name)


def test_atoms_have_the_numbers_of_stem_atoms():
    one = scene(Si1C3=1)
    (row,) = answer(picture(one), species="C Si").tables["defects"].to_pylist()
    (atoms,) = StemAtoms(species="C Si").extract([picture(one)])
    found = atoms.tables["atoms"].to_pandas().loc[row["atoms"]]
    assert found["species"].tolist() == ["Si"]
    assert found["x_px"].to_numpy() == pytest.approx([row["x_px"]], abs=0.01)
    left, top, width, height = row["box"]
    assert left < row["x_px"] < left + width
    assert top < row["y_px"] < top + height
    (centre,) = [site for site in row["structure"] if np.hypot(site["x_nm"], site["y_nm"]) < 0.02]
    assert centre["species"] == "Si"


def test_a_perfect_sheet_has_no_defects_and_all_of_it_was_looked_at():
    one = scene()
    given = answer(picture(one))
    assert given.tables["defects"].num_rows == 0
    assert given.rollups["n_defects"] == (0.0, None)
    area, unit = given.rollups["analysed_area"]
    assert unit == "nm**2"
    assert area == pytest.approx((144 * 0.016) ** 2, rel=0.1)


def test_a_pore_is_not_analysed_and_frames_add_up():
    one = scene(pore=1, seed=6)
    single, double = answer(picture(one)), answer(picture(one, frames=2))
    assert "edge" in single.tables["defects"]["kind"].to_pylist()
    assert single.rollups["analysed_area"][0] < 0.9 * (144 * 0.016) ** 2
    assert double.rollups["analysed_area"][0] == pytest.approx(2 * single.rollups["analysed_area"][0])
    assert (
        double.tables["defects"]["frame"].to_pylist()
        == sorted(
            2 * single.tables["defects"]["frame"].to_pylist() + [1] * single.tables["defects"].num_rows
        )[-2 * single.tables["defects"].num_rows :]
    )


def test_without_a_pixel_size_positions_stay_in_pixels():
    given = answer(picture(scene(vacancy=1), size=None))
    assert isinstance(given, Extraction)
    (row,) = [row for row in given.tables["defects"].to_pylist() if row["kind"] == "vacancy"]
    assert row["x_nm"] is None
    assert row["structure"] is None
    assert given.rollups["analysed_area"][0] is None


def test_dark_columns_show_the_same_defects():
    one = scene(vacancy=1)
    upside_down = Picture(1, -one.simulated.image[None], (0.016, 0.016), "STEM", None, "")
    kinds = answer(upside_down, contrast="dark").tables["defects"]["kind"].to_pylist()
    assert kinds == answer(picture(one)).tables["defects"]["kind"].to_pylist()


@pytest.mark.parametrize(
    ("image", "size", "modality", "said"),
    [
        (np.ones((96, 96)), 0.016, "STEM", "blank"),
        (
            np.random.default_rng(0).poisson(5.0, (128, 128)),
            0.016,
            "STEM",
            "no atom columns|no lattice|needed to see a lattice|nm apart",
        ),
        (None, 0.016, "diffraction", "diffraction"),
        (None, 0.016, "SEM", "SEM"),
        (None, 0.2, "STEM", "0.2"),
        (None, 0.003, "STEM", "pixel size"),
    ],
)
def test_what_shows_no_lattice_is_refused(image, size, modality, said):
    pixels = scene().simulated.image if image is None else image
    asked = Picture(1, np.asarray(pixels, np.float32)[None], (size, size), modality, None, "")
    given = answer(asked, spacing_nm=0.142)
    assert isinstance(given, Refusal)
    assert any(word in given.reason for word in said.split("|"))


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"contrast": "grey"}, "expected 'bright' or 'dark'"),
        ({"least_score": 1.0}, "least_score is 1.0; expected one between 0 and 1"),
        ({"spacing_nm": -1.0}, "expected a length in nm"),
        ({"species": "Xx"}, "no element"),
    ],
)
def test_parameters_are_checked(parameters, said):
    with pytest.raises(UsageError, match=said):
        StemDefects(**parameters)

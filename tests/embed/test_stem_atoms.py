"""`stem-atoms`: planted columns come back, at any pixel size, and nothing else does."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from micdb.embed.extractors.stem_atoms import StemAtoms
from micdb.embed.graph import neighbours
from micdb.embed.simulate.graphene import graphene
from micdb.embed.simulate.lattices import crystal
from micdb.embed.simulate.scoring import score
from micdb.embed.simulate.silicon import dumbbells
from micdb.embed.simulate.stem import Probe, adf_image
from micdb.errors import UsageError
from micdb.populate.extractor import Extraction
from micdb.records import Picture, Refusal
from micdb.testing.extractors import ExtractorContract

PROBE = Probe(0.04, 0.15, 0.085)


def simulate(material, *, pixel=0.016, side=160, counts=20.0, seed=3, vacancies=0):
    columns = crystal(
        material, (side * pixel, side * pixel), seed=seed, rotation=21.0, jitter=0.003, vacancies=vacancies
    )
    return adf_image(
        columns, (side, side), pixel_size=pixel, seed=seed, counts=counts, probe=PROBE, contamination=0.2
    )


def picture(simulated, pixel_size="own", modality="STEM"):
    size = (simulated.pixel_size,) * 2 if pixel_size == "own" else pixel_size
    return Picture(1, simulated.image[None], size, modality, None, "simulated")


def answer(asked, **parameters):
    (given,) = StemAtoms(**parameters).extract([asked])
    return given


def positions(extraction, unit="nm"):
    return extraction.tables["atoms"].select([f"x_{unit}", f"y_{unit}"]).to_pandas().to_numpy(float)


class TestContract(ExtractorContract):
    extractor = StemAtoms

    @pytest.fixture
    def picture(self):
        return picture(simulate("graphene", side=96))


@pytest.mark.parametrize("material", ["graphene", "MoS2", "SrTiO3[001]", "Au[001]", "Ag[111]"])
@pytest.mark.parametrize(("counts", "least", "largest"), [(5.0, 0.97, 0.011), (50.0, 0.98, 0.004)])
def test_columns_are_found_where_they_were_planted(material, counts, least, largest):
    simulated = simulate(material, counts=counts)
    result = score(positions(answer(picture(simulated))), simulated)
    assert result.f1 >= least
    assert result.rms < largest


@pytest.mark.parametrize("pixel", [0.006, 0.012, 0.03, 0.045])
def test_the_pixel_size_does_not_matter(pixel):
    simulated = simulate("graphene", pixel=pixel, side=int(3.2 / pixel), counts=200 * (pixel / 0.03) ** 2)
    result = score(positions(answer(picture(simulated))), simulated)
    assert result.f1 > 0.97
    assert result.rms < 0.006


@pytest.mark.parametrize("material", ["graphene", "MoS2", "Au[001]"])
@pytest.mark.parametrize("pixel", [0.008, 0.025])
def test_without_a_pixel_size_the_same_columns_are_found(material, pixel):
    simulated = simulate(material, pixel=pixel, side=int(4 / pixel), counts=30)
    given = answer(picture(simulated, None))
    assert score(positions(given, "px") * pixel, simulated).f1 > 0.97
    atoms = given.tables["atoms"]
    assert atoms["x_nm"].null_count == atoms["sd_nm"].null_count == atoms.num_rows
    assert given.rollups["median_neighbour_distance"] == (None, "nm")
    assert given.rollups["median_neighbour_distance_px"][0] > 2


def test_the_two_columns_of_a_dumbbell_are_told_apart():
    structure = dumbbells("Si", (2.0, 2.0), seed=1, rotation=20.0)
    simulated = adf_image(structure, (200, 200), pixel_size=0.01, seed=1, counts=20.0, probe=PROBE)
    xy = positions(answer(picture(simulated)))
    assert score(xy, simulated).f1 > 0.98
    i, j, apart = neighbours(simulated.xy, 0.15)  # [nm]
    off, nearest = cKDTree(xy).query(simulated.xy)
    seen = (off[i] < 0.03) & (off[j] < 0.03)
    found = np.hypot(*(xy[nearest[i]] - xy[nearest[j]])[seen].T)
    assert abs(np.mean(found - apart[seen])) < 0.003


def test_errors_are_as_large_as_it_says():
    errors, said = [], []
    for seed in range(3):
        simulated = simulate("Au[001]", counts=10, seed=seed)
        given = answer(picture(simulated))
        xy, sd = positions(given), given.tables["atoms"]["sd_nm"].to_numpy()
        distance = np.hypot(*(xy[:, None] - simulated.xy[None]).transpose(2, 0, 1))
        nearest = distance.argmin(axis=1)
        good = distance.min(axis=1) < 0.05
        errors.append((xy - simulated.xy[nearest])[good])
        said.append(sd[good])
    ratio = np.sqrt(np.mean(np.square(np.concatenate(errors))) / np.mean(np.square(np.concatenate(said))))
    assert 0.7 < ratio < 1.4


def test_silicon_in_graphene_is_named():
    structure = graphene((3.0, 3.0), seed=4, defects={"Si1C3": 3})
    simulated = adf_image(structure, (200, 200), pixel_size=0.015, seed=4, counts=40, probe=PROBE)
    atoms = answer(picture(simulated), species="C Si").tables["atoms"].to_pandas()
    silicon = atoms[atoms.species == "Si"]
    truth = simulated.xy[simulated.number == 14]
    assert len(truth) >= 2
    assert len(silicon) == len(truth)
    distance = np.hypot(*(silicon[["x_nm", "y_nm"]].to_numpy()[:, None] - truth[None]).transpose(2, 0, 1))
    assert distance.min(axis=1).max() < 0.03
    assert (silicon.species_probability > 0.9).all()
    assert (atoms.species == "C").sum() == len(atoms) - len(silicon)


def test_species_are_open_unless_candidates_are_named():
    atoms = answer(picture(simulate("graphene", side=96))).tables["atoms"]
    assert atoms["species"].null_count == atoms["species_probability"].null_count == atoms.num_rows


def test_dark_columns_are_found_when_asked_for():
    simulated = simulate("graphene")
    dark = replace(simulated, image=200 - simulated.image)
    assert score(positions(answer(picture(dark), contrast="dark")), simulated).f1 > 0.98
    bright = answer(picture(dark))
    assert isinstance(bright, Refusal) or score(positions(bright), simulated).f1 < 0.5


def test_bonds_and_coordination_of_graphene():
    given = answer(picture(simulate("graphene")))
    inner = given.tables["atoms"].to_pandas().query("not edge")
    assert (inner.coordination == 3).mean() > 0.97
    assert given.tables["bonds"]["length_nm"].to_pandas().median() == pytest.approx(0.142, abs=0.002)
    nearest, unit = given.rollups["median_neighbour_distance"]  # of three: a little shorter than the bond
    assert (nearest, unit) == (pytest.approx(0.139, abs=0.004), "nm")


def test_bonds_are_cut_off_species_by_species():
    """Silicon in two sites of graphene has four bonds of 0.19 nm; carbon's end at 0.19 nm."""
    sheet = graphene((4.0, 4.0), seed=2, rotation=20.0, defects={"Si1C4": 4})
    simulated = adf_image(sheet, (250, 250), pixel_size=0.016, seed=2, counts=30.0, probe=PROBE)
    silicon = simulated.xy[simulated.number == 14]

    def around(**parameters):
        rows = answer(picture(simulated), **parameters).tables["atoms"].to_pandas()
        _, nearest = cKDTree(rows[["x_nm", "y_nm"]]).query(silicon)
        return rows.loc[nearest, "coordination"].tolist()

    assert around(species="C Si") == [4, 4, 4, 4]
    assert min(around()) < 4  # by one cut-off for all
    assert min(around(species="C Si", cutoff_nm=0.16)) < 4  # as told


def test_a_frame_that_cannot_be_measured_is_left_out():
    good = simulate("graphene", side=96)
    stack = np.stack([np.zeros_like(good.image), good.image])
    given = answer(Picture(1, stack, (0.016, 0.016), "STEM", None, "stack"))
    assert set(given.tables["atoms"]["frame"].to_pylist()) == {1}


def test_noise_holds_hardly_any_atoms():
    rng = np.random.default_rng(0)
    found, area = 0, 0.0
    for counts in (1, 20, 300):
        noise = rng.poisson(counts, (1, 512, 512)).astype(np.float32)
        given = answer(Picture(1, noise, (0.02, 0.02), "STEM", None, "noise"))
        found += given.tables["atoms"].num_rows if isinstance(given, Extraction) else 0
        area += (512 * 0.02) ** 2
    assert found / area < 0.05  # [1/nm**2] graphene has 38


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pixel_size": (0.16, 0.16)}, "pixel size 0.16 nm; atom columns need 0.1 nm or finer"),
        (
            {"pixel_size": (0.0016, 0.0016)},
            r"by the pixel size of 0.0016 nm its lattice planes are 0.02\d* nm apart; "
            "those of crystals are 0.06 to 0.9 nm: the pixel size is wrong",
        ),
        ({"modality": "SEM"}, "modality SEM does not resolve atom columns"),
        ({"modality": "diffraction"}, "a diffraction pattern shows no atom columns"),
        ({"pixel_size": (0.016, 0.032)}, "square ones are needed"),
        ({"pixels": np.full((1, 96, 96), 7.0, np.float32)}, "the image is blank"),
        ({"pixels": np.zeros((1, 20, 96), np.float32)}, "96 x 20 pixels; at least 32 are needed each way"),
    ],
)  # fmt: skip
def test_what_shows_no_columns_is_refused_with_the_numbers(change, said):
    given = answer(replace(picture(simulate("graphene", side=96)), **change))
    assert isinstance(given, Refusal)
    assert re.search(said, given.reason), given.reason


def test_another_spacing_than_the_material_s_is_refused_with_both_numbers():
    good = picture(simulate("graphene"))
    assert isinstance(answer(good, spacing_nm=0.142), Extraction)
    wrong = answer(replace(good, pixel_size=(0.02, 0.02)), spacing_nm=0.142)
    assert isinstance(wrong, Refusal)
    assert "by the pixel size of 0.02 nm its columns are 0.17" in wrong.reason
    assert "spacing_nm says 0.142 nm: correct the pixel size" in wrong.reason


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"contrast": "grey"}, "contrast is 'grey'; expected 'bright' or 'dark'"),
        ({"least_probability": 1.5}, "least_probability is 1.5; expected one between 0 and 1"),
        ({"spacing_nm": -1.0}, "parameter spacing_nm is -1.0; expected a length in nm, for example 0.142"),
        ({"species": "C Xy"}, "'Xy' of 'C Xy' is no element"),
    ],
)
def test_wrong_parameters_are_refused(parameters, said):
    with pytest.raises(UsageError, match=said):
        StemAtoms(**parameters)

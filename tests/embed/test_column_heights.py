"""`column-heights` against particles whose columns are known, and what it must refuse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from micdb.embed.extractors.column_heights import ColumnHeights
from micdb.embed.simulate.hrtem import hrtem_image
from micdb.embed.simulate.metals import nanoparticle
from micdb.embed.simulate.stem import Probe, adf_image
from micdb.errors import UsageError
from micdb.records import Picture, Refusal
from micdb.testing.extractors import ExtractorContract

PIXEL = 0.016  # [nm]


def simulate(seed=0, *, metal="Pt", diameter=2.4, side=224, counts=60.0):
    made = nanoparticle(metal, (side * PIXEL,) * 2, seed=seed, diameter=diameter, axis=(0, 0, 1), rotation=25)
    return adf_image(
        made, (side, side), pixel_size=PIXEL, seed=seed, counts=counts, probe=Probe(0.04, 0.15, 0.085)
    )


def picture(simulated):
    return Picture(1, simulated.image[None], (PIXEL, PIXEL), "STEM", None, "particle")


def answer(asked, **parameters):
    (given,) = ColumnHeights(**parameters).extract([asked])
    return given


class TestContract(ExtractorContract):
    extractor = ColumnHeights

    @pytest.fixture
    def picture(self):
        return picture(simulate(diameter=1.8, side=160))


@pytest.mark.parametrize("seed", [0, 1])
def test_the_atoms_of_a_particle_are_counted(seed):
    simulated = simulate(seed)
    given = answer(picture(simulated))
    rows = given.tables["heights"].to_pandas()
    distance, nearest = cKDTree(simulated.xy).query(rows[["x_nm", "y_nm"]].to_numpy())
    rows, truth = rows[distance < 0.05], simulated.atoms[nearest[distance < 0.05]]
    assert len(rows) > 0.9 * len(simulated.xy)
    off = rows.atoms.to_numpy() - truth
    assert (off == 0).mean() > 0.85
    assert (np.abs(off) <= 1).mean() > 0.98
    assert rows.probability.mean() == pytest.approx((off == 0).mean(), abs=0.12)
    total, unit = given.rollups["n_counted_atoms"]
    assert (total, unit) == (pytest.approx(simulated.atoms.sum(), rel=0.05), None)
    assert given.rollups["n_heights"][0] == given.tables["heights"].num_rows


def test_a_calibration_is_taken_as_it_is():
    asked = picture(simulate())
    step, _ = answer(asked).rollups["scattering_of_one_atom"]
    doubled = answer(asked, one_atom=2 * step)
    assert doubled.rollups["scattering_of_one_atom"] == (2 * step, None)
    assert doubled.rollups["n_counted_atoms"][0] < 0.7 * answer(asked).rollups["n_counted_atoms"][0]


def test_too_few_columns_are_refused_with_their_number():
    small = simulate(diameter=0.45, side=96)
    given = answer(picture(small))
    assert isinstance(given, Refusal)
    assert "columns; at least 12 are needed to see steps between them" in given.reason


def test_what_shows_no_columns_is_refused():
    assert "modality SEM" in answer(replace(picture(simulate()), modality="SEM")).reason


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"one_atom": 0.0}, "parameter one_atom is 0.0; expected a positive intensity"),
        ({"least_probability": 0.0}, "least_probability is 0.0; expected one between 0 and 1"),
        ({"element": "Fe"}, "element is 'Fe'; in TEM it can count Al, Ni, Cu, Ag, Pt, Au"),
        ({"voltage_kv": -1.0}, "parameter voltage_kv is -1.0; expected a voltage in kV"),
    ],
)
def test_wrong_parameters_are_refused(parameters, said):
    with pytest.raises(UsageError, match=said):
        ColumnHeights(**parameters)


def tem_picture(*, seed=3, metal="Au", side=160, counts=60.0):
    pixel = 0.02
    made = nanoparticle(metal, (side * pixel,) * 2, seed=seed, diameter=1.8, axis=(0, 0, 1), rotation=20)
    image = hrtem_image(made, (side, side), pixel_size=pixel, seed=seed, counts=counts)
    return image, Picture(1, image.image[None], (pixel, pixel), "TEM", None, "particle")


def test_the_atoms_of_a_tem_image_are_counted():
    simulated, asked = tem_picture()
    given = answer(asked, element="Au")
    rows = given.tables["heights"].to_pandas()
    distance, nearest = cKDTree(simulated.xy).query(rows[["x_nm", "y_nm"]].to_numpy())
    assert (distance < 0.03).mean() > 0.95
    off = rows.atoms.to_numpy() - simulated.atoms[nearest]
    assert (off[distance < 0.03] == 0).mean() > 0.9
    assert (np.abs(off[distance < 0.03]) <= 1).all()
    assert rows.probability.mean() > 0.7
    assert rows.scattering.isna().all()
    assert given.rollups["scattering_of_one_atom"] == (None, None)


@pytest.mark.parametrize(
    ("changed", "parameters", "said"),
    [
        ({}, {}, "a TEM image: its element is needed to count atoms, element='Au'"),
        ({"pixel_size": None}, {"element": "Au"}, "without a pixel size: the network needs it"),
        ({"offset": -1e3}, {"element": "Au"}, "counts above zero are needed, without offset"),
    ],
)
def test_tem_images_that_cannot_be_counted(changed, parameters, said):
    _, asked = tem_picture(side=96)
    pixels = asked.pixels + changed.pop("offset", 0.0)
    given = answer(replace(asked, pixels=pixels, **changed), **parameters)
    assert isinstance(given, Refusal)
    assert said in given.reason

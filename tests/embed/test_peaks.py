"""`peaks` against planted columns, and what it must refuse."""

from __future__ import annotations

import numpy as np
import pytest

from micdb.embed.extractors.peaks import Peaks
from micdb.embed.simulate.lattices import crystal
from micdb.embed.simulate.microstructures.scenes import SCENES
from micdb.embed.simulate.microstructures.sem import Detector, scan
from micdb.embed.simulate.microstructures.view import View
from micdb.embed.simulate.scoring import score
from micdb.embed.simulate.stem import adf_image
from micdb.errors import UsageError
from micdb.records import Picture, Refusal
from micdb.testing import ExtractorContract

PIXEL = 0.016  # [nm]


def image(material="graphene", *, counts=50.0, side=256, pixel_size=PIXEL, vacancies=0, seed=3):
    field = (side * pixel_size, side * pixel_size)
    columns = crystal(material, field, seed=seed, rotation=11, jitter=0.002, vacancies=vacancies)
    return adf_image(
        columns, (side, side), pixel_size=pixel_size, seed=seed, counts=counts, contamination=0.2
    )


def picture(pixels, pixel_size=PIXEL, *, modality="STEM", image=9):
    size = None if pixel_size is None else tuple(np.broadcast_to(pixel_size, 2).astype(float))
    pixels = np.asarray(pixels, np.float32)
    return Picture(image, pixels.reshape(-1, *pixels.shape[-2:]), size, modality, None, "p")


def extract(pixels, pixel_size=PIXEL, *, modality="STEM", **parameters):
    (answer,) = Peaks(**parameters).extract([picture(pixels, pixel_size, modality=modality)])
    return answer


def atoms(answer):
    assert not isinstance(answer, Refusal), answer.reason
    return answer.tables["atoms"].to_pandas()


def refusal(*arguments, **keywords):
    answer = extract(*arguments, **keywords)
    assert isinstance(answer, Refusal)
    return answer.reason


class TestPeaksContract(ExtractorContract):
    extractor = Peaks

    @pytest.fixture
    def picture(self):
        return picture(image(side=128).image)


class TestAgainstTruth:
    @pytest.mark.parametrize("material", ["graphene", "MoS2", "Au[001]", "Ag[111]"])
    @pytest.mark.parametrize(("counts", "f1", "rms"), [(50, 0.98, 0.25), (10, 0.95, 0.45)])
    def test_positions(self, material, counts, f1, rms):
        simulated = image(material, counts=counts)
        found = atoms(extract(simulated.image))[["x_nm", "y_nm"]].to_numpy(float)
        result = score(found, simulated)
        assert result.f1 >= f1
        assert result.rms / PIXEL <= rms

    def test_standard_deviations_are_true(self):
        simulated = image("Au[001]", counts=30)
        table = atoms(extract(simulated.image))
        actual = score(table[["x_nm", "y_nm"]].to_numpy(float), simulated).rms / PIXEL
        assert 0.5 <= table.sd_px.median() / actual <= 1.5

    @pytest.mark.parametrize(
        ("material", "coordination", "distance", "density"),
        [("graphene", 3, 0.142, 38.2), ("Au[001]", 4, 0.2884, 12.02), ("Ag[111]", 6, 0.2889, 13.83)],
    )
    def test_rollups(self, material, coordination, distance, density):
        answer = extract(image(material).image)
        value = {name: number for name, (number, _) in answer.rollups.items()}
        assert value["mean_coordination"] == pytest.approx(coordination, abs=0.1)
        assert value["median_neighbour_distance"] == pytest.approx(distance, rel=0.03)
        assert value["median_neighbour_distance_px"] == pytest.approx(distance / PIXEL, rel=0.03)
        assert value["atom_density"] == pytest.approx(density, rel=0.05)
        assert value["n_atoms"] == len(atoms(answer))
        assert answer.rollups["median_neighbour_distance"][1] == "nm"

    def test_vacancies_lower_the_coordination(self):
        simulated = image("graphene", vacancies=3)
        table = atoms(extract(simulated.image))
        inner = table[~table.edge]
        hit = simulated.vacancies
        for x, y in hit:
            near = np.hypot(inner.x_nm - x, inner.y_nm - y)
            assert near.min() > 0.1  # [nm] nothing was found in the vacancy
        assert (inner.coordination == 2).sum() >= 6

    def test_bonds_and_edges(self):
        answer = extract(image("graphene").image)
        table, bonds = atoms(answer), answer.tables["bonds"].to_pandas()
        assert (bonds.i < bonds.j).all()
        assert table.idx.tolist() == list(range(len(table)))
        assert table.coordination[table.edge].isna().all()
        assert table.coordination[~table.edge].notna().all()
        both = np.concatenate((bonds.i, bonds.j))
        counted = np.bincount(both, minlength=len(table))
        np.testing.assert_array_equal(counted[~table.edge], table.coordination[~table.edge])
        dx = table.x_nm.to_numpy()[bonds.i] - table.x_nm.to_numpy()[bonds.j]
        dy = table.y_nm.to_numpy()[bonds.i] - table.y_nm.to_numpy()[bonds.j]
        np.testing.assert_allclose(np.hypot(dx, dy), bonds.length_nm, atol=1e-5)

    def test_brightness_scale_and_transposition(self):
        simulated = image("MoS2", side=128).image
        one, other = atoms(extract(simulated)), atoms(extract(1e-12 * simulated.T + 5e-10))
        assert len(one) == len(other)
        np.testing.assert_allclose(np.sort(one.x_px), np.sort(other.y_px), atol=0.05)
        assert other.intensity.max() == pytest.approx(1e-12 * one.intensity.max(), rel=0.02)


class TestScales:
    def test_without_scale_pixels_only(self):
        answer = extract(image("Au[001]").image, None, modality=None)
        assert atoms(answer).x_nm.isna().all()
        assert answer.tables["bonds"]["length_nm"].null_count == answer.tables["bonds"].num_rows
        assert answer.rollups["median_neighbour_distance"] == (None, "nm")
        assert answer.rollups["median_neighbour_distance_px"][0] == pytest.approx(0.2884 / PIXEL, rel=0.03)
        assert answer.rollups["atom_density"] == (None, "1/nm**2")

    def test_cutoff_and_spacing(self):
        pixels = image("Au[001]").image
        assert extract(pixels, cutoff_nm=0.45).rollups["mean_coordination"][0] == pytest.approx(8, abs=0.2)
        assert len(atoms(extract(pixels, spacing_nm=0.29))) == len(atoms(extract(pixels)))

    def test_unscanned_rows_keep_positions(self):
        pixels = image("Au[001]").image
        part = pixels.copy()
        part[:60] = np.nan
        table = atoms(extract(part))
        whole = atoms(extract(pixels))
        assert table.y_px.min() > 59
        lower = whole[whole.y_px > 80]
        for x, y in zip(lower.x_px, lower.y_px, strict=True):
            assert np.hypot(table.x_px - x, table.y_px - y).min() < 0.3

    def test_frames_are_kept_apart(self):
        frames = np.stack([image("Au[001]", side=128, seed=seed).image for seed in (1, 2)])
        frames = np.concatenate((frames, np.ones((1, 128, 128), np.float32)))
        answer = extract(frames)
        table = atoms(answer)
        assert sorted(table.frame.unique()) == [0, 1]
        assert answer.rollups["n_atoms"][0] == pytest.approx(len(table) / 2)


class TestRefusals:
    def test_noise(self):
        noise = np.random.default_rng(1).poisson(5, (256, 256))
        assert "strongest spot of the power spectrum is" in refusal(noise)
        assert "60 times are needed" in refusal(noise)

    @pytest.mark.parametrize("kind", ["spheroidite", "pearlite", "network"])
    def test_microstructures(self, kind):
        pixels = scan(SCENES[kind](View((256, 256), 20.0), 300.0, 1), Detector(), seed=1)
        assert refusal(pixels, 20.0, modality=None) == ("pixel size 20 nm; atom columns need 0.1 nm or finer")
        assert "SEM does not resolve" in refusal(pixels, None, modality="SEM")
        assert refusal(pixels, None, modality=None)

    def test_blank_diffraction_oblong(self):
        assert "blank" in refusal(np.ones((64, 64)))
        assert "diffraction" in refusal(image().image, None, modality="diffraction")
        assert "pixels of 0.02 x 0.01 nm" in refusal(image().image, (0.01, 0.02))
        assert "10 x 10 pixels" in refusal(np.ones((10, 10)))

    def test_parameters(self):
        with pytest.raises(UsageError, match="spacing_nm is -1; expected a length in nm"):
            Peaks(spacing_nm=-1)
        assert "cutoff_nm cannot be used" in refusal(image().image, None, cutoff_nm=0.2)

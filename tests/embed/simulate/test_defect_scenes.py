"""Scenes with planted defects: names, dose of the host, known densities, oddities."""

from __future__ import annotations

import numpy as np
import pytest

from micdb.embed.simulate.defect_scenes import (
    MOTIFS,
    Imaging,
    density_scene,
    family,
    planted_scene,
    random_imaging,
)
from micdb.embed.simulate.oddities import ODDITIES, with_oddity
from micdb.embed.simulate.structure import KINDS
from micdb.errors import UsageError

SMALL = Imaging(side=160)


def test_names_are_those_of_what_is_in_the_view():
    one = planted_scene("graphene", {"vacancy": 2, "Si1C4": 1}, seed=1, imaging=SMALL)
    assert sorted(one.names) == ["Si1C4", "vacancy", "vacancy"]
    assert [MOTIFS["graphene"][name] for name in one.names] == [d.kind for d in one.simulated.defects]


@pytest.mark.parametrize("material", ["graphene", "MoS2", "SrTiO3"])
def test_every_name_can_be_planted_and_is_of_a_known_kind(material):
    for name, kind in MOTIFS[family(material)].items():
        one = planted_scene(material, {name: 1}, seed=2, imaging=SMALL)
        assert kind in KINDS
        assert {d.kind for d in one.simulated.defects} == {kind}


def test_a_bright_dopant_does_not_dim_the_host():
    how = Imaging(side=160, counts=50.0, contamination=0.0, readout=0.0)
    with_silicon = planted_scene("graphene", {"Si3C6": 1}, seed=3, imaging=how).simulated.image
    without = planted_scene("graphene", {}, seed=3, imaging=how).simulated.image
    assert np.median(with_silicon) == pytest.approx(np.median(without), rel=0.1)
    assert with_silicon.max() > 2.5 * without.max()


def test_numbers_of_a_density_are_poissons():
    density, side = 0.2, 160 * 0.016
    numbers = [
        len(density_scene("MoS2", "chalcogen-divacancy", density, seed=k, imaging=SMALL).names)
        for k in range(60)
    ]
    expected = density * side**2
    assert np.mean(numbers) == pytest.approx(expected, abs=4 * np.sqrt(expected / 60))
    assert len(set(numbers)) > 2


@pytest.mark.parametrize("name", ODDITIES)
def test_oddities_are_planted_as_unknown(name):
    one = planted_scene("graphene", {"vacancy": 1}, seed=5, imaging=SMALL, oddity=name)
    odd = [d for d in one.simulated.defects if d.kind == "unknown"]
    assert len(odd) == 1
    assert len(odd[0].atoms) >= 3
    assert "unknown" in one.names


def test_mistakes_are_named():
    with pytest.raises(UsageError, match="graphene has no defect 'A-vacancy'"):
        planted_scene("graphene", {"A-vacancy": 1}, seed=1)
    with pytest.raises(UsageError, match="two are of one kind"):
        planted_scene("graphene", {"Si1C3": 1, "Si1C4": 1}, seed=1)
    with pytest.raises(UsageError, match="no material 'steel'"):
        planted_scene("steel", {}, seed=1)
    sheet = None
    with pytest.raises(UsageError, match="no oddity 'dust'; expected one of debris"):
        with_oddity(sheet, "dust", (3.0, 3.0), seed=1)


def test_random_conditions_stay_in_range():
    drawn = [random_imaging(np.random.default_rng(seed)) for seed in range(40)]
    assert all(0.006 <= how.pixel_size <= 0.020 for how in drawn)
    assert all(1.4 <= how.pixel_size * how.side <= 4.5 for how in drawn)  # nm
    assert any(how.counts < 3 for how in drawn)
    assert any(how.counts > 30 for how in drawn)

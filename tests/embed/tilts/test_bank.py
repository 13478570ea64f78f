"""Crystals of the bank are those of their number, and a build goes on where it stopped."""

from __future__ import annotations

import numpy as np

from micdb.embed.tilts import bank


def test_a_crystal_follows_from_its_set_and_number(crystal):
    again = bank.element("held", 3, draws=6)
    np.testing.assert_array_equal(crystal.images, again.images)
    np.testing.assert_array_equal(crystal.tilts, again.tilts)
    assert crystal.images.shape == (6, *bank.GRID)
    assert ((crystal.images > 0) & (crystal.images < 1)).all()
    assert (np.hypot(*crystal.mistilt.T) <= 3.2).all()
    assert ((crystal.thickness > 4) & (crystal.thickness < 21)).all()


def test_a_file_holds_the_crystal(crystal, tmp_path):
    crystal.save(tmp_path / "held-00003.npz")
    (read,) = bank.load(tmp_path, "held")
    assert read.kind == crystal.kind
    for name in ("tilts", "images", "thickness", "mistilt", "lens"):
        np.testing.assert_array_equal(getattr(read, name), getattr(crystal, name))


def test_only_what_is_missing_is_simulated_and_all_sets_grow_alike(crystal, tmp_path, monkeypatch):
    made = []

    def one(name, number):
        made.append((name, number))
        return crystal

    monkeypatch.setattr(bank, "SETS", {"train": 4, "held": 2})
    monkeypatch.setattr(bank, "element", one)
    seen = []
    crystal.save(tmp_path / "train-00001.npz")
    assert bank.build(tmp_path, lambda done, total: seen.append((done, total))) == 5
    assert made == [("held", 0), ("train", 0), ("held", 1), ("train", 2), ("train", 3)]
    assert seen[0] == (1, 6)
    assert seen[-1] == (5, 6)
    assert bank.build(tmp_path) == 0
    assert not list(tmp_path.glob("*.part"))


def test_unseen_elements_are_in_no_crystal_that_teaches():
    unseen = {one for kind in bank.UNSEEN.values() for one in kind[:2]}
    taught = set(bank.A_SITES) | set(bank.B_SITES) | {one for kind in bank.KNOWN for one in kind[:2]}
    assert unseen - taught == {26, 60, 31}  # lanthanum is known, in other company

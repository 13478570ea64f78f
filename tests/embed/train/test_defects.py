"""The recipe of `stem-defects`: labels are those of what was planted, and scores count right."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from micdb.embed.defects.classes import CLASSES
from micdb.embed.defects.local_graph import batched
from micdb.embed.defects.network import DefectNet
from micdb.embed.extractors.stem_defects import network
from micdb.embed.simulate.defect_scenes import Imaging, planted_scene
from micdb.embed.train import defects
from micdb.embed.train.defect_scores import Scores, calibration_error, score_scenes
from micdb.embed.train.defects import look, loss, medium_scene, random_scene


def scene(**plan):
    how = Imaging(counts=40.0, side=144)
    return planted_scene("graphene", {k.replace("_", "-"): n for k, n in plan.items()}, seed=4, imaging=how)


def test_candidates_have_the_names_of_what_was_planted():
    seen = look(scene(vacancy=2, stone_wales=1))
    names = [CLASSES[k] for k in seen.labels]
    assert names.count("vacancy") == 2
    assert names.count("stone-wales") == 1
    assert all(CLASSES[k] == "regular" for k, one in zip(seen.labels, seen.planted, strict=True) if one < 0)


def test_a_batch_holds_all_candidates_of_its_scenes(monkeypatch):
    one = look(scene(vacancy=2, stone_wales=1))
    monkeypatch.setattr(defects, "random_scene", lambda rng: None)
    monkeypatch.setattr(defects, "look", lambda _: one)
    labels = defects.batch(1)[-1]
    each = int((one.labels > 0).sum())
    assert len(labels) == -(-defects.BATCH // each) * len(one.labels)
    assert (labels == 0).sum() * each == (labels > 0).sum() * (one.labels == 0).sum()


def test_the_loss_falls_when_the_network_learns():
    seen = look(scene(vacancy=2, stone_wales=1))
    arrays = (*batched(seen.graphs), seen.labels)
    tensors = tuple(map(torch.from_numpy, arrays))
    torch.manual_seed(0)
    untrained = DefectNet()
    optimiser = torch.optim.Adam(untrained.parameters(), lr=3e-3)
    first = float(loss(untrained, tensors).detach())
    for _ in range(15):
        optimiser.zero_grad()
        loss(untrained, tensors).backward()
        optimiser.step()
    assert float(loss(untrained, tensors).detach()) < 0.5 * first


def test_scores_count_what_is_found_and_what_is_made_up():
    one = scene(vacancy=2)
    scores = score_scenes(network(), [one])
    assert scores.kinds["vacancy"].planted == scores.kinds["vacancy"].found == 1  # the other is at the edge
    assert scores.kinds["vacancy"].f1 == 1.0
    assert scores.planted()["vacancy"]["area_nm2"] == pytest.approx(scores.area, abs=0.1)
    blank = Scores()
    assert blank.of("ring").f1 == 0.0


def test_calibration_error_is_the_gap_between_score_and_truth():
    said = [(0.95, k < 95) for k in range(100)] + [(0.65, k < 45) for k in range(100)]
    assert calibration_error(said) == pytest.approx(0.1, abs=1e-9)
    assert calibration_error([]) == 0.0


def test_scenes_come_from_their_seed():
    one, other = medium_scene(7), medium_scene(7)
    assert one.names == other.names
    assert np.array_equal(one.simulated.image, other.simulated.image)
    assert random_scene(np.random.default_rng(1)).material

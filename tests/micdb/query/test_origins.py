"""Which runs, properties and images stand behind a frame, on both engines."""

from __future__ import annotations

import pytest

from micdb.query.frame import Frame
from micdb.query.origins import images_behind, origins

QUESTIONS = [
    (lambda im: im, set(), []),
    (lambda im: im[im.material == "WS2"], set(), []),
    (lambda im: im[im.defects.count() > 1], {"run"}, []),
    (lambda im: im[im.n_atoms > 50], {"peaks"}, []),
    (lambda im: im.assign(x=im.n_atoms / 2)[["uid", "x"]], {"peaks"}, []),
    (lambda im: im.explode("defects"), {"run"}, []),
    (lambda im: im.sort_values("n_atoms").head(2), {"peaks"}, []),
    (
        lambda im: im.with_property("hardness")[im.anneal_temperature > "1 degC"],
        set(), ["hardness", "anneal_temperature"],
    ),
    (lambda im: im.groupby("lab").agg(n=("n_atoms", "mean"), h=("hardness", "max")), {"peaks"}, ["hardness"]),
    (lambda im: im.merge(im[["uid", "n_atoms"]], on="uid"), {"peaks"}, []),
    (lambda im: Frame(im.context, "defects"), {"run"}, []),
    (lambda im: Frame(im.context, "samples")[["name", "hardness"]], set(), ["hardness"]),
]  # fmt: skip


@pytest.mark.parametrize(("ask", "runs", "properties"), QUESTIONS)
def test_runs_and_properties(im, planted, ask, runs, properties):
    found = origins(ask(im))
    assert found.runs == sorted(getattr(planted, name) for name in runs)
    assert found.properties == properties


def test_a_pinned_run_stands_behind_instead_of_the_current_one(im, planted):
    (old,) = origins(im.using("peaks@0")[["n_atoms"]]).runs
    assert old != planted.peaks


def test_images(im, planted):
    every = planted.images
    assert set(images_behind(im)) == set(every.values())
    assert set(images_behind(im[im.lab == "Lab B"].groupby("lab").agg(n=("uid", "count")))) == {
        every[name] for name in ("three", "four", "five")
    }
    defects = Frame(im.context, "defects")
    assert set(images_behind(defects[["kind"]])) == {every["one"], every["three"]}
    loops = defects[defects.kind == "loop"][["kind"]]
    assert images_behind(loops).tolist() == [every["one"]]
    assert images_behind(Frame(im.context, "samples")).size == 0

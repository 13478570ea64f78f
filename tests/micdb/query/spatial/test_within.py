"""``within`` in every room a condition can stand in, against the plain definition over all pairs."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from micdb.catalog.engine import writing
from micdb.catalog.results import defect, run_item
from micdb.catalog.rows import add
from micdb.errors import ExpressionError, QuerySyntaxError, UnitError, UsageError
from micdb.query.frame import Frame

make = SimpleNamespace(**run_path(str(Path(__file__).parents[3] / "data" / "planted" / "make.py")))
KINDS = ("vacancy", "substitution")


@pytest.fixture
def home(tmp_path):
    return make.database(tmp_path / "db")


@pytest.fixture
def planted(home):
    """Three images with defects and atoms on a grid of half nanometres, some without a scale."""
    random = np.random.default_rng(4)
    images = make.images(home, 3)
    hand, peaks = make.add_run(home, "hand"), make.add_run(home, "peaks")
    defects, atoms = [], []
    for image in images:
        for _ in range(30):
            x, y = (random.integers(0, 20, 2) / 2).tolist() if random.random() > 0.1 else (None, None)
            row = {
                "run_pk": hand, "micrograph_pk": image, "kind": KINDS[random.integers(2)],
                "frame": int(random.integers(2)), "x_nm": x, "y_nm": y, "score": random.random(),
            }  # fmt: skip
            defects.append(row)
        for idx in range(40):
            x, y = (random.integers(0, 20, 2) / 2).tolist()
            atoms.append((image, idx, x, y, int(random.integers(2))))
    with writing(home.engine) as connection:
        for row in defects:
            add(connection, defect, row)
        for run in (hand, peaks):
            for image in images:
                item = {"run_pk": run, "micrograph_pk": image, "status": "done", "attempt": 1}
                connection.execute(run_item.insert().values(item))
    make.add_part(home, peaks, "atoms", rows=atom_rows(atoms))
    return SimpleNamespace(images=images, defects=defects, atoms=atoms)


def atom_rows(atoms):
    import pyarrow as pa

    from micdb.populate.facts import ATOMS

    rows = [
        {"image": image, "frame": frame, "idx": idx, "x_px": x, "y_px": y, "x_nm": x, "y_nm": y}
        for image, idx, x, y, frame in atoms
    ]
    return pa.Table.from_pylist(rows, schema=ATOMS)


def points(planted, table, condition=lambda one: True):
    """Return (image, frame, x, y, number) of rows, number telling them apart."""
    if table == "defects":
        rows = [(d["micrograph_pk"], d["frame"], d["x_nm"], d["y_nm"], d) for d in planted.defects]
    else:
        rows = [(a[0], a[4], a[2], a[3], {"idx": a[1]}) for a in planted.atoms]
    return [(*row[:4], n) for n, row in enumerate(rows) if condition(row[4])]


def expected(planted, own, others, radius, *, same):
    counts = dict.fromkeys(planted.images, 0)
    for image, frame, x, y, n in own:
        near = any(
            (image, frame) == other[:2]
            and None not in (x, other[2])
            and np.hypot(x - other[2], y - other[3]) <= radius
            and not (same and n == other[4])
            for other in others
        )
        counts[image] += near
    return list(counts.values())


def vacancy(one):
    return one["kind"] == "vacancy"


def few(one):
    return one["idx"] < 5


def column(frame, name):
    return frame.to_arrow()[name].to_pylist()


@pytest.mark.parametrize("radius", [0.4, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("own", ["defects", "atoms"])
@pytest.mark.parametrize("of", ["defects", "atoms"])
def test_counts_of_what_is_near(home, planted, own, of, radius):
    im = Frame(home, "images")
    children = getattr(im, own)
    others = im.defects[im.defects.kind == "vacancy"] if of == "defects" else im.atoms[im.atoms.idx < 5]
    near = children[children.within(f"{radius} nm", of=others)]
    truth = expected(
        planted,
        points(planted, own),
        points(planted, of, vacancy if of == "defects" else few),
        radius,
        same=own == of,
    )
    made = im.assign(n=near.count())
    assert column(made, "n") == truth
    assert column(im[near.count() >= 1].assign(n=near.count()), "n") == [n for n in truth if n]
    assert len(near.to_pandas()) == sum(truth)
    table = Frame(home, own)
    kept = table[table.within(radius, of=others)]
    assert kept.groupby("image").agg(n=("frame", "count")).to_arrow()["n"].to_pylist() == [
        n for n in truth if n
    ]
    text = f"within({radius} nm, {of}, " + ('kind == "vacancy")' if of == "defects" else "idx < 5)")
    assert column(im.query(f"count({own}, {text}) >= 0").assign(n=near.count()), "n") == truth
    assert table.query(text).count() == sum(truth)
    assert Frame.from_json(home, made.to_json()).to_pandas().equals(made.to_pandas())


def test_near_of_near_and_together_with_other_conditions(home, planted):
    im = Frame(home, "images")
    d = im.defects
    subs = d[d.kind == "substitution"]
    close = d[(d.kind == "vacancy") & d.within("1 nm", of=subs[subs.within("0.5 nm", of=d)])]
    all_ = points(planted, "defects")
    paired = [
        one for one in points(planted, "defects", lambda x: not vacancy(x))
        if any(expected(planted, [one], all_, 0.5, same=True))
    ]  # fmt: skip
    truth = expected(planted, points(planted, "defects", vacancy), paired, 1.0, same=True)
    assert column(im.assign(n=close.count()), "n") == truth
    assert column(im.assign(s=close.mean("score")).assign(n=close.count()), "n") == truth


def test_exploded_and_sampled_rows_know_themselves(home, planted):
    im = Frame(home, "images")
    alone = im.explode("atoms")
    kept = alone[alone.within("0.4 nm", of=im.atoms)]
    truth = expected(planted, points(planted, "atoms"), points(planted, "atoms"), 0.4, same=True)
    assert kept.count() == sum(truth)
    some = Frame(home, "defects").sample(20, seed=3)
    uids = column(some, "uid")
    near = column(some[some.within("1 nm", of=im.defects)], "uid")
    everyone = Frame(home, "defects")
    assert near == [
        one for one in uids if one in set(column(everyone[everyone.within("1 nm", of=im.defects)], "uid"))
    ]


def test_rows_know_themselves_after_a_merge_that_doubles_them(home, planted):
    defects = Frame(home, "defects")
    twice = pd.DataFrame({"kind": [*KINDS, *KINDS], "note": ["a", "b", "c", "d"]})
    merged = defects.merge(twice, on="kind", validate="m:m")
    for kept in (merged, merged.head(40)):
        near = kept[kept.within("1 nm", of=Frame(home, "images").defects)]
        alone = set(column(defects[defects.within("1 nm", of=Frame(home, "images").defects)], "uid"))
        assert column(near, "uid") == [one for one in column(kept, "uid") if one in alone]
        assert 0 < near.count() < kept.count()


def test_other_units_and_errors(home, planted):
    im = Frame(home, "images")
    d = im.defects
    assert str(d.within("500 pm", of=d)) == "within(0.5 nm, defects)"
    with pytest.raises(UnitError, match='write "2 nm"'):
        d.within("2", of=d)
    with pytest.raises(UsageError, match="above zero, not -1 nm"):
        d.within("-1 nm", of=d)
    with pytest.raises(UnitError):
        d.within("1 kg", of=d)
    with pytest.raises(UsageError, match=r"bonds have no x_nm, y_nm here: it is for defects"):
        d.within("1 nm", of=im.bonds)
    with pytest.raises(UsageError, match=r"images have no frame, x_nm, y_nm here"):
        im.within("1 nm", of=d)
    with pytest.raises(UsageError, match="takes children of images, im.defects"):
        d.within("1 nm", of=im)
    with pytest.raises(QuerySyntaxError, match="what is to be near: defects"):
        im.query("count(defects, within(1 nm, 7)) > 1")
    with pytest.raises(ExpressionError, match="within.. takes a length"):
        im.query("count(defects, within(score, atoms)) > 1")
    with pytest.raises(UsageError, match="groups have no frame, x_nm, y_nm here"):
        g = im.groupby("name").agg(n=("uid", "count"))
        g.within("1 nm", of=d)

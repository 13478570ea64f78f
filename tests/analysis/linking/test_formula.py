"""Roll-ups and latent variables stand in a formula as columns, and are what a query gives."""

from __future__ import annotations

import pytest

from micdb.analysis.linking.formula import parse
from micdb.analysis.linking.reading import read
from micdb.errors import QuerySyntaxError, UsageError


def test_short_and_long_spellings_mean_the_same():
    short = parse('y ~ log(1 + defects("vacancy").count) + phases("pearlite").fraction')
    long = parse(
        'y ~ log(1 + count(defects, kind == "vacancy")) + mean(phases, fraction, phase == "pearlite")'
    )
    assert short.rollups == long.rollups
    assert list(short.rollups.values()) == [
        'count(defects, kind == "vacancy")', 'mean(phases, fraction, phase == "pearlite")',
    ]  # fmt: skip
    assert [term.text for term in short.terms] == [term.text for term in long.terms]
    assert short.terms[0].text == 'log(1 + count(defects, kind == "vacancy"))'


def test_latent_variables_are_columns_each():
    formula = parse('y ~ x + latent("rvae", 3)')
    assert list(formula.rollups.values()) == [f'mean(latents, value, name == "rvae {n}")' for n in range(3)]
    assert len(formula.terms) == 4
    with pytest.raises(UsageError, match="ask for at least 1"):
        parse('y ~ latent("rvae", 0)')


def test_a_text_in_a_rollup_may_hold_brackets_and_a_target_may_be_one():
    formula = parse('count(defects, kind == "a) (b") ~ x + sum(atoms, score)')
    assert list(formula.rollups.values()) == ['count(defects, kind == "a) (b")', "sum(atoms, score)"]
    assert formula.target.text == 'count(defects, kind == "a) (b")'
    with pytest.raises(UsageError, match=r"a bracket never closes in '\(defects, kind"):
        parse("y ~ count(defects, kind")
    with pytest.raises(UsageError, match=r"'count\(defects, score > 0.5\)' stands on both sides"):
        parse("count(defects, score > 0.5) ~ log(count(defects, score > 0.5))")


def test_a_query_computes_them(planted):
    formula = parse('width ~ defects("vacancy").count + count(defects)')
    table, vectors = read(planted.images, formula, formula.columns)
    assert vectors == {}
    shown = table.rename(columns=formula.shown).set_index("uid")
    images = planted.images
    vacancies = images.assign(n=images.defects[images.defects.kind == "vacancy"].count())[["uid", "n"]]
    want = vacancies.to_pandas().set_index("uid")["n"]
    assert sorted(want) == [0, 0, 1, 2]
    assert shown['count(defects, kind == "vacancy")'].to_dict() == want.to_dict()
    assert sorted(shown["count(defects)"]) == [0, 2, 3, 3]
    wrong = parse("width ~ count(defects, kind = 1)")
    with pytest.raises(QuerySyntaxError):
        read(planted.images, wrong, wrong.columns)

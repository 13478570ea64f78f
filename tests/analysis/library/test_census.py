"""Which planted truth a density is corrected with."""

from __future__ import annotations

from micdb.analysis.library.census import Census, planted_in

TRUTH = {
    name: {"planted": n} for n, name in enumerate(["vacancy", "vacancy in C", "vacancy in Mo S", "ring in C"])
}


def named(kind, *elements):
    found = planted_in(TRUTH, kind, frozenset(elements))
    return next((name for name, counts in TRUTH.items() if counts is found), None)


def test_the_truth_of_the_same_host_is_taken():
    assert named("vacancy", "C") == "vacancy in C"
    assert named("vacancy", "C", "Si") == "vacancy in C"
    assert named("vacancy", "S", "Mo") == "vacancy in Mo S"
    assert named("vacancy", "Sr", "Ti", "O") == "vacancy"  # of no such host: of the kind
    assert named("vacancy") == "vacancy"
    assert named("ring", "Mo", "S") is None
    assert named("edge", "C") is None


def test_the_host_is_what_most_atoms_around_are(planted):
    census = Census(planted.engine)
    silicon = census.standing[census.standing["formula"] == "Si1C3"]
    assert census._elements(silicon) == {"C"}
    assert census._elements(silicon.head(0)) == frozenset()

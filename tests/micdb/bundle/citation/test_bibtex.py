"""References of cards as BibTeX: what is said becomes a field, nothing is made up."""

from __future__ import annotations

import re
from pathlib import Path

import bibtexparser
import pytest

from micdb.bundle.citation import works
from micdb.bundle.citation.bibtex import bibliography
from micdb.populate.extractor import extractors


def entries(*references):
    text = bibliography({"name": f"m{number}", "reference": one} for number, one in enumerate(references))
    library = bibtexparser.parse_string(text)
    assert not library.failed_blocks
    made = [
        {field.key: field.value for field in entry.fields} | {"type": entry.entry_type}
        for entry in library.entries
    ]
    assert len({entry.key for entry in library.entries}) == len(library.entries)
    return made[1:]  # after micdb itself


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (
            "De Backer et al., Ultramicroscopy 171, 104 (2016): joint fit",
            {"type": "article", "author": "{De Backer} and others", "journal": "Ultramicroscopy",
             "volume": "171", "pages": "104", "year": "2016", "note": "joint fit"},
        ),
        (
            "Doe & Wolf, J. Multivar. Anal. 88, 366 (2004)",
            {"type": "article", "author": "Doe and Wolf", "journal": "J. Multivar. Anal.", "volume": "88",
             "pages": "366", "year": "2004"},
        ),
        (
            "van den Oord et al., arXiv:1807.99999 (InfoNCE)",
            {"type": "misc", "author": "{van den Oord} and others", "eprint": "1807.99999",
             "archiveprefix": "arXiv", "note": "InfoNCE"},
        ),
        (
            "Guo et al., ICML 2017",
            {"type": "misc", "author": "Guo and others", "howpublished": "ICML", "year": "2017"},
        ),
        ("Jones 1967 (spectra)", {"type": "misc", "author": "Jones", "year": "1967", "note": "spectra"}),
        ("50 % rule & others", {"type": "misc", "note": r"50 \% rule \& others"}),
    ],
)  # fmt: skip
def test_a_reference_becomes_an_entry(text, fields):
    assert entries(text) == [fields]


def test_a_reference_of_two_methods_is_one_entry():
    made = entries(
        "Jones 1967 (spectra); Doe, IEEE Trans. 9, 62 (1999)", "Jones 1967 (windows)", "none: a fake"
    )
    assert [one["author"] for one in made] == ["Jones", "Doe"]
    assert made[0]["note"] == "spectra; windows"


def test_a_work_that_is_known_is_written_in_full():
    made = entries(
        "De Backer et al., Ultramicroscopy 171, 104 (2016)",
        "Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979)",
        "Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979): thresholds; van den Oord et al., arXiv:1807.03748",
        "Otsu, Other J. 9, 62 (1980)",
    )
    assert [one.get("doi", one.get("eprint")) for one in made] == [
        None, "10.1109/TSMC.1979.4310076", "1807.03748", None,
    ]  # fmt: skip
    assert (made[1]["author"], made[1]["note"]) == ("Otsu, Nobuyuki", "thresholds")
    assert made[1]["title"] == "A Threshold Selection Method from Gray-Level Histograms"
    assert "cited" not in made[1]


def test_the_file_of_known_works_is_bibtex_and_each_is_told_from_the_others():
    path = Path(works.__file__).with_name("works.bib")
    library = bibtexparser.parse_string(path.read_text("utf-8"))
    assert not library.failed_blocks
    assert [entry.key for entry in library.entries] == [work.key for work in works.works()]
    for entry, work in zip(library.entries, works.works(), strict=True):
        assert {field.key: field.value for field in entry.fields} == work.fields
        assert {"author", "title", "year"} <= set(work.fields)
        told = {"volume", "pages"} <= set(work.fields) or "eprint" in work.fields
        assert works.find("", work.fields) == (work if told else None)
        assert re.fullmatch(r"10\.\d{4,5}/\S+", work.fields.get("doi", "10.1000/none"))
        for text in filter(None, work.fields.get("cited", "").split(" | ")):
            assert works.find(text, {}) == work


def test_the_cards_that_ship_say_nothing_that_is_not_in_their_text():
    cards = [plugin.card for _, plugin in extractors()]
    texts = [card.reference for card in cards]
    made = entries(*texts)
    known = [one for one in made if "title" in one]
    assert len(known) >= 30
    for field in ("year", "volume", "pages", "journal", "eprint"):
        for entry in made:
            assert entry in known or any(entry.get(field, "") in text for text in texts), entry

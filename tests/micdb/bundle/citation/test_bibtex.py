"""References of cards as BibTeX: what is said becomes a field, nothing is made up."""

from __future__ import annotations

import bibtexparser
import pytest

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
            "Ledoit & Wolf, J. Multivar. Anal. 88, 365 (2004)",
            {"type": "article", "author": "Ledoit and Wolf", "journal": "J. Multivar. Anal.", "volume": "88",
             "pages": "365", "year": "2004"},
        ),
        (
            "van den Oord et al., arXiv:1807.03748 (InfoNCE)",
            {"type": "misc", "author": "{van den Oord} and others", "eprint": "1807.03748",
             "archiveprefix": "arXiv", "note": "InfoNCE"},
        ),
        (
            "Guo et al., ICML 2017",
            {"type": "misc", "author": "Guo and others", "howpublished": "ICML", "year": "2017"},
        ),
        ("Welch 1967 (spectra)", {"type": "misc", "author": "Welch", "year": "1967", "note": "spectra"}),
        ("50 % rule & others", {"type": "misc", "note": r"50 \% rule \& others"}),
    ],
)  # fmt: skip
def test_a_reference_becomes_an_entry(text, fields):
    assert entries(text) == [fields]


def test_a_reference_of_two_methods_is_one_entry():
    made = entries(
        "Welch 1967 (spectra); Otsu, IEEE Trans. 9, 62 (1979)", "Welch 1967 (windows)", "none: a fake"
    )
    assert [one["author"] for one in made] == ["Welch", "Otsu"]
    assert made[0]["note"] == "spectra; windows"


def test_the_cards_that_ship_say_nothing_that_is_not_in_their_text():
    texts = [plugin.card.reference for _, plugin in extractors()]
    for field in ("year", "volume", "pages", "journal", "eprint"):
        for entry in entries(*texts):
            assert any(entry.get(field, "") in text for text in texts), entry
    assert len([entry for entry in entries(*texts) if entry["type"] == "article"]) >= 10

"""An extractor measures one picture; a base class asks it for each of many, in order."""

from __future__ import annotations

import numpy as np
import pytest

from micdb.populate.extractor import Card, Extraction, Extractor
from micdb.records import Picture, Refusal

CARD = Card("bare", "1", "Nothing", {}, "BSD-3-Clause", "none", "any")
PICTURES = [Picture(number, np.zeros((1, 4, 4), np.float32), None, None, None, None) for number in range(3)]


class Bare(Extractor):
    card, schemas = CARD, {}


class Odd(Bare):
    def extract_one(self, picture):
        return Extraction(picture.image, {}) if picture.image % 2 else Refusal(picture.image, "even")


def test_each_picture_is_measured_in_order_and_only_when_asked():
    answers = Odd().extract(iter(PICTURES))
    assert [(type(one), one.image) for one in answers] == [(Refusal, 0), (Extraction, 1), (Refusal, 2)]
    taken = iter(PICTURES)
    next(Odd().extract(taken))
    assert next(taken).image == 1


def test_what_measures_nothing_says_what_it_lacks():
    with pytest.raises(TypeError, match="Bare has neither extract_one nor extract"):
        next(Bare().extract(PICTURES))

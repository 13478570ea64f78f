"""The contract of an extractor, as a test class that the author of one inherits.

::

    class TestMyExtractor(ExtractorContract):
        extractor = MyExtractor

        @pytest.fixture
        def picture(self):
            return a_picture_it_can_measure()

Needs pytest; nothing else of micdb imports this module.
"""
# ruff: noqa: S101 (a contract asserts)

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

from micdb import units
from micdb.errors import UsageError
from micdb.populate.extractor import Extraction, Extractor, extractors
from micdb.populate.facts import CATALOGUED, FACTS
from micdb.provenance import canonical_json
from micdb.records import Picture, Refusal

Answer = Extraction | Refusal


def odd_pictures() -> list[Picture]:
    """Return pictures of the kinds that break extractors: none of them may raise."""
    rng = np.random.default_rng(0)

    def noise(*shape: int) -> np.ndarray:
        return rng.poisson(20, shape).astype(np.float32)

    unscanned, specks = noise(1, 96, 96), noise(1, 96, 96)
    unscanned[:, 30:] = np.nan
    specks[:, ::7, ::5] = np.nan
    late, infinite = noise(1, 96, 96), noise(1, 96, 96)
    late[:, 60:] = np.nan
    infinite[0, 3, 3] = np.inf
    hot = np.zeros((1, 96, 96), dtype=np.float32)
    hot[0, 40, 40] = 1e30
    pixels = {
        "zeros": np.zeros((1, 96, 96), dtype=np.float32),
        "blank": np.full((1, 96, 96), 3e4, dtype=np.float32),
        "all NaN": np.full((1, 96, 96), np.nan, dtype=np.float32),
        "mostly unscanned": unscanned,
        "partly unscanned": late,
        "missing pixels": specks,
        "infinite pixel": infinite,
        "hot pixel": hot,
        "1 x 1": noise(1, 1, 1),
        "7 x 5": noise(1, 5, 7),
        "one line": noise(1, 1, 300),
        "ribbon": noise(1, 70, 1500),
        "three frames": noise(3, 96, 96),
        "two of three frames blank": np.concatenate((np.zeros((2, 96, 96), np.float32), noise(1, 96, 96))),
        "no frames": noise(0, 96, 96),
        "tiny range": 1e4 + 1e-1 * noise(1, 96, 96),
        "huge values": 1e35 * noise(1, 96, 96),
    }
    scales: tuple[tuple[float, float] | None, ...] = (None, (0.02, 0.02), (200.0, 200.0), (10.0, 40.0))
    modalities = (None, "SEM", "STEM", "diffraction")
    return [
        Picture(100 + index * len(scales) + turn, array, scale, modality, None, name)
        for index, (name, array) in enumerate(pixels.items())
        for turn, (scale, modality) in enumerate(zip(scales, modalities, strict=True))
    ]


class ExtractorContract:
    """Inherit, set `extractor`, give the fixture `picture`: every promise of an extractor is then tested."""

    #: The class under test, registered under its card's name.
    extractor: ClassVar[type[Extractor]]
    #: Parameters to test it with.
    parameters: ClassVar[dict[str, Any]] = {}

    @pytest.fixture
    def picture(self) -> Picture:
        """Return a picture that it measures without refusal; to be overridden."""
        pytest.fail("override the fixture `picture`")

    def run(self, pictures: Iterable[Picture]) -> list[Answer]:
        """Return the answers to some pictures."""
        return list(self.extractor(**self.parameters).extract(pictures))

    def test_registered_under_its_name(self) -> None:
        """The registry returns the class for the card's name."""
        assert extractors().get(self.extractor.card.name) is self.extractor

    def test_card_is_complete(self) -> None:
        """Every text of the card says something, and the card and parameters are JSON."""
        card = self.extractor.card
        for name in ("name", "version", "summary", "licence", "reference", "scale"):
            assert getattr(card, name).strip(), f"card.{name} is empty"
        assert json.loads(json.dumps(card.as_json()))["name"] == card.name
        canonical_json(self.extractor().parameters)

    def test_schemas_begin_with_the_facts(self) -> None:
        """Known tables have the columns of `micdb.populate.facts`; every table has ``image``."""
        assert self.extractor.schemas
        for name, schema in self.extractor.schemas.items():
            assert schema.field("image").type == pa.int64(), name
            begin = FACTS.get(name)
            if begin is not None:
                assert list(schema)[: len(begin)] == list(begin), name
            if name in CATALOGUED:
                assert schema.equals(CATALOGUED[name]), name

    def test_spaces_are_named_after_it(self) -> None:
        """Names of spaces are unique and begin with the extractor's name."""
        spaces = self.extractor(**self.parameters).spaces
        assert bool(spaces) == bool({"embeddings", "patches"} & set(self.extractor.schemas))
        assert len({space.name for space in spaces}) == len(spaces)
        for space in spaces:
            assert space.name.startswith(self.extractor.card.name)
            assert space.dim > 0
            assert space.metric in ("cosine", "euclidean")

    def test_measures_its_picture(self, picture: Picture) -> None:
        """The picture of the fixture is not refused."""
        (answer,) = self.run([picture])
        assert isinstance(answer, Extraction), answer
        self.check(answer, picture)

    def test_unknown_parameter_is_refused_by_name(self) -> None:
        """A parameter nobody declared raises, naming extractor and parameter."""
        with pytest.raises(UsageError, match=f"{self.extractor.card.name}.*'no_such_parameter'"):
            self.extractor(no_such_parameter=1)

    def test_parameters_of_wrong_type_are_refused(self) -> None:
        """A list is no scalar: every parameter says so by name."""
        for name in self.extractor.card.parameters:
            with pytest.raises(UsageError, match=name):
                self.extractor(**{name: ["not", "a", "scalar"]})

    def test_one_answer_per_picture_in_order(self, picture: Picture) -> None:
        """Odd pictures give rows or a refusal with a reason, never an exception, and keep their order."""
        asked = [picture, *odd_pictures(), replace(picture, image=picture.image + 5000)]
        answers = self.run(iter(asked))
        assert [answer.image for answer in answers] == [one.image for one in asked]
        for one, answer in zip(asked, answers, strict=True):
            self.check(answer, one)

    def test_same_answer_in_any_batch(self, picture: Picture) -> None:
        """Order and company of a picture change nothing, and the picture is left as it was."""
        other = replace(picture, image=picture.image + 1, pixels=picture.pixels[:, ::-1].copy())
        before = picture.pixels.copy()
        (alone,) = self.run([picture])
        batch = {answer.image: answer for answer in self.run([other, picture, other])}
        again = batch[picture.image]
        np.testing.assert_array_equal(picture.pixels, before)
        assert isinstance(alone, Extraction)
        assert isinstance(again, Extraction)
        assert alone.rollups == again.rollups
        assert {name: table.to_pydict() for name, table in alone.tables.items()} == {
            name: table.to_pydict() for name, table in again.tables.items()
        }

    def check(self, answer: Answer, picture: Picture) -> None:
        """Assert that an answer keeps the contract."""
        assert answer.image == picture.image
        if isinstance(answer, Refusal):
            assert answer.reason.strip(), f"refused {picture.name} without a reason"
            assert "\n" not in answer.reason
            return
        assert set(answer.tables) <= set(self.extractor.schemas)
        for name, table in answer.tables.items():
            assert table.schema.equals(self.extractor.schemas[name]), f"{name} of {picture.name}"
            table.validate(full=True)
            assert set(table["image"].to_pylist()) <= {picture.image}
            for field in table.schema:
                assert field.nullable or table[field.name].null_count == 0, f"{name}.{field.name} is null"
        for name, (value, unit) in answer.rollups.items():
            assert value is None or np.isfinite(value), f"roll-up {name} is {value}"
            units.normalise(unit)
        for name in {"embeddings", "patches"} & set(answer.tables):
            self._check_vectors(answer.tables[name])
        if "patches" in answer.tables:
            self._check_boxes(answer.tables["patches"], picture)

    def _check_vectors(self, table: pa.Table) -> None:
        dims = {space.name: space.dim for space in self.extractor(**self.parameters).spaces}
        for row in table.to_pylist():
            assert len(row["vector"]) == dims[row["space"]], row["space"]
            assert np.isfinite(row["vector"]).all(), row["space"]

    def _check_boxes(self, table: pa.Table, picture: Picture) -> None:
        frames, height, width = picture.pixels.shape
        window = self.extractor.window
        scales = {space.name: space.nm_per_pixel for space in self.extractor(**self.parameters).spaces}
        assert window is not None, "declare `window`: who searches must know how large a place is"
        for row in table.to_pylist():
            assert 0 <= row["frame"] < frames
            assert 0 <= row["x_px"] < row["x_px"] + row["width_px"] <= width, row
            assert 0 <= row["y_px"] < row["y_px"] + row["height_px"] <= height, row
            scale = scales[row["space"]]
            for side, index in (("height_px", 0), ("width_px", 1)):
                pitch = None if picture.pixel_size is None else picture.pixel_size[index]
                wanted = window if scale is None or pitch is None else window * scale / pitch
                assert abs(row[side] - wanted) <= 2, row  # corners are rounded to whole pixels

"""`texture-patches`: where its windows lie, what they show, what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from micdb.embed.extractors.texture import Texture
from micdb.embed.extractors.texture_features import TILE
from micdb.embed.extractors.texture_patches import UNSCALED, TexturePatches, starts
from micdb.embed.simulate.microstructures.scenes import SCENES
from micdb.embed.simulate.microstructures.sem import Detector, scan
from micdb.embed.simulate.microstructures.view import View
from micdb.errors import ContractError, UsageError
from micdb.populate.answers import Answer, gather
from micdb.populate.extractor import Extraction, extractors
from micdb.records import Picture, Refusal
from micdb.testing import ExtractorContract

CLEAN = Detector(electrons=2000.0, shading=0.0)


@pytest.fixture(scope="module", autouse=True)
def _registered():
    if "texture-patches" not in extractors().names():
        extractors().register(TexturePatches, name="texture-patches")


def render(kind="pearlite", *, shape=(192, 160), seed=1, pixel_size=20.0, length=260.0):
    scene = SCENES[kind](View(shape, pixel_size), length, seed)
    return scan(scene, CLEAN, seed=seed).astype(np.float32)


def picture(image, pixel_size=20.0, *, modality="SEM"):
    size = None if pixel_size is None else tuple(np.broadcast_to(pixel_size, 2).astype(float))
    pixels = np.asarray(image, np.float32)
    return Picture(7, pixels.reshape(-1, *pixels.shape[-2:]), size, modality, None, "p")


def rows(shown, **parameters):
    (answer,) = TexturePatches(**parameters).extract([shown])
    assert not isinstance(answer, Refusal), answer.reason
    return answer.tables["patches"].to_pylist()


def refusal(shown, **parameters):
    (answer,) = TexturePatches(**parameters).extract([shown])
    assert isinstance(answer, Refusal)
    return answer.reason


class TestTexturePatchesContract(ExtractorContract):
    extractor = TexturePatches

    @pytest.fixture
    def picture(self):
        return picture(render())


class TestWhere:
    @given(st.integers(TILE, 2000), st.integers(1, 60))
    def test_windows_along_a_side(self, size, most):
        found = starts(size, most)
        if most * TILE < size:
            assert found is None
            return
        assert found[0] >= 0
        assert found[-1] + TILE <= size
        steps = np.diff(found)
        assert len(found) <= most
        assert (steps <= TILE).all()  # no gaps
        if most > math.ceil((size - TILE) / (TILE // 2)):
            assert (steps <= TILE // 2).all()
        if len(found) > 1:
            assert (found[0], found[-1]) == (0, size - TILE)
            assert found == [size - TILE - start for start in reversed(found)] or len(found) % 2

    def test_boxes_are_windows_of_the_scale_in_pixels_of_the_image(self):
        """256 x 192 pixels of 20 nm are 160 x 120 of 32 nm: 4 x 3 windows of 64, 102.4 pixels wide each."""
        found = rows(picture(render(shape=(192, 256))))
        assert {row["space"] for row in found} == {"texture-patches@32nm"}
        left, top = sorted({row["x_px"] for row in found}), sorted({row["y_px"] for row in found})
        assert left == [round(1.6 * x) for x in (0, 32, 64, 96)]
        assert top == [round(1.6 * y) for y in (0, 28, 56)]
        assert len(found) == 12
        assert {(row["width_px"], row["height_px"]) for row in found} <= {
            (w, h) for w in (102, 103) for h in (102, 103)
        }

    def test_a_window_shows_what_is_in_its_box(self):
        """One odd square on a flat ground: only windows that reach it have a row."""
        image = np.full((256, 256), 10.0)
        image[200:216, 40:56] += render(shape=(16, 16), seed=3) / 10
        found = rows(picture(image, 32.0))
        assert found
        for row in found:
            right, bottom = row["x_px"] + row["width_px"], row["y_px"] + row["height_px"]
            assert row["x_px"] < 56 + 8 and right > 40 - 8 and row["y_px"] < 216 + 8 and bottom > 200 - 8

    def test_unscanned_rows_move_the_boxes(self):
        image = render(shape=(256, 128))
        late = np.concatenate((np.full((100, 128), np.nan), image))
        one, other = rows(picture(image, 32.0)), rows(picture(late, 32.0))
        for before, after in zip(one, other, strict=True):
            assert after["y_px"] == before["y_px"] + 100
            assert after["vector"] == before["vector"]

    def test_the_vector_of_a_window_is_texture_of_that_crop(self):
        image = render(shape=(160, 160))
        for row in rows(picture(image, 32.0), nm_per_pixel=32.0):
            x, y = row["x_px"], row["y_px"]
            crop = picture(image[y : y + row["height_px"], x : x + row["width_px"]], 32.0)
            (answer,) = Texture(nm_per_pixel=32.0).extract([crop])
            (expected,) = answer.tables["embeddings"]["vector"].to_pylist()
            np.testing.assert_allclose(row["vector"], expected, atol=1e-4)

    def test_oblong_pixels(self):
        found = rows(picture(render(shape=(128, 256)), (32.0, 16.0)), nm_per_pixel=32.0)
        assert {(row["width_px"], row["height_px"]) for row in found} == {(128, 64)}


class TestHowMany:
    @pytest.mark.parametrize(("most", "expected"), [(1024, 49), (20, 20), (16, 16), (15, 0)])
    def test_windows_are_spread_until_there_would_be_gaps(self, most, expected):
        """256 x 256: 7 x 7 windows half a window apart, 4 x 4 side by side."""
        image = picture(render(shape=(256, 256)), 32.0)
        found = [row for row in rows(image, most=most) if row["space"] == "texture-patches@32nm"]
        assert len(found) == expected
        covered = np.zeros((256, 256), bool)
        for row in found:
            covered[row["y_px"] :, row["x_px"] :][: row["height_px"], : row["width_px"]] = True
        assert covered.all() or not expected

    def test_too_many_at_every_scale(self):
        reason = refusal(picture(render(shape=(256, 256)), 32.0), most=3, nm_per_pixel=32.0)
        assert "would need more than 3 windows at every scale it can give: set the parameter most" in reason

    def test_frames(self):
        stack = np.stack([render(shape=(80, 80), seed=seed) for seed in range(6)])
        assert {row["frame"] for row in rows(picture(stack, 32.0))} == {0}
        found = rows(picture(stack, 32.0), frames=3)
        assert {row["frame"] for row in found} == {0, 2, 4}
        alone = rows(picture(stack[4], 32.0))
        assert [row["vector"] for row in found if row["frame"] == 4] == [row["vector"] for row in alone]
        assert {row["frame"] for row in rows(picture(stack, 32.0), frames=99)} == set(range(6))

    def test_a_blank_frame_does_not_stop_the_others(self):
        stack = np.stack([np.zeros((80, 80)), render(shape=(80, 80))])
        assert {row["frame"] for row in rows(picture(stack, 32.0), frames=2)} == {1}

    def test_without_a_scale(self):
        assert {row["space"] for row in rows(picture(render(), None))} == {UNSCALED}
        assert UNSCALED not in {row["space"] for row in rows(picture(render()))}


class TestRefusals:
    @pytest.mark.parametrize(
        ("shape", "pixel_size", "parameters", "message"),
        [
            ((60, 200), 20.0, {}, "200 x 60 pixels scanned; a window needs at least 64 x 64"),
            ((80, 90), 20.0, {}, "no window of 64 x 32 nm fits; at least 103 x 103 pixels are needed"),
            ((100, 100), 20.0, {"nm_per_pixel": 64.0}, "at least 205 x 205 pixels are needed"),
            ((100, 100), 20.0, {"nm_per_pixel": 16.0}, "cannot give 16 nm/pixel without upsampling"),
            ((100, 100), None, {"nm_per_pixel": 16.0}, "the image has no pixel size"),
            ((100, 100), -1.0, {}, "positive numbers are needed"),
        ],
    )
    def test_say_what_would_do(self, shape, pixel_size, parameters, message):
        assert message in refusal(picture(render(shape=shape), pixel_size), **parameters)

    def test_a_diffraction_pattern(self):
        assert "diffraction" in refusal(replace(picture(render()), modality="diffraction"))

    @pytest.mark.parametrize(
        "parameters", [{"most": 0}, {"frames": 0}, {"nm_per_pixel": 33.0}, {"most": None}]
    )
    def test_parameters_that_make_no_sense(self, parameters):
        with pytest.raises(UsageError, match=f"texture-patches: parameter {next(iter(parameters))} is"):
            TexturePatches(**parameters)

    def test_a_scale_of_its_own_is_one_space(self):
        (space,) = TexturePatches(nm_per_pixel=32.0).spaces
        assert (space.name, space.nm_per_pixel) == ("texture-patches@32nm", 32.0)


def test_vectors_of_patches_are_checked_before_they_are_kept():
    """A space that was not declared, or a number that is not finite, is a bug of the extractor."""
    extractor = TexturePatches(nm_per_pixel=32.0)
    (good,) = extractor.extract([picture(render(), 32.0)])
    table = good.tables["patches"]
    assert gather(extractor, [Answer(7, good, 0.1)], run_pk=3)["patches"].num_rows == table.num_rows
    rows = table.to_pylist()
    for change, message in (
        ({"space": "texture-patches@64nm"}, "a vector of 138 numbers in 'texture-patches@64nm'; declared: "),
        ({"vector": [math.nan] * 138}, "numbers that are not finite"),
    ):
        bad = pa.Table.from_pylist([*rows[1:], {**rows[0], **change}], schema=table.schema)
        with pytest.raises(ContractError, match=message):
            gather(extractor, [Answer(7, Extraction(7, {"patches": bad}), 0.1)], run_pk=3)

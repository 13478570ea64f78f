"""Restored images: numbers that are kept, the table, the files."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from micdb import cli, opening
from micdb.errors import UsageError
from micdb.restored import of_runs, packed, runs, unpacked


@given(
    arrays.arrays(
        np.float64, (5, 7), elements=st.floats(-1e6, 1e6) | st.just(float("nan")) | st.floats(-1e-9, 1e-9)
    )
)
def test_packing_rounds_by_a_hundred_thousandth_of_the_range(pixels):
    numbers, offset, scale = packed(pixels)
    back = unpacked(numbers, offset, scale).reshape(pixels.shape)
    np.testing.assert_array_equal(np.isnan(back), np.isnan(pixels))
    known = pixels[np.isfinite(pixels)]
    if known.size:
        span = np.ptp(known) / 1e5 + 1e-6 * np.abs(known).max()  # and a float has 24 bits
        assert np.nanmax(np.abs(back - pixels)) <= span + 1e-30


@given(arrays.arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 6))))
def test_runs_go_there_and_back(mask):
    np.testing.assert_array_equal(of_runs(runs(mask)).reshape(mask.shape), mask)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    rng = np.random.default_rng(0)
    shape = 100 + 60 * (np.hypot(*(np.mgrid[:64, :80] - 32)) < 20)
    size = {f"PhysicalSize{axis}": 3.0 for axis in "XY"} | {f"PhysicalSize{axis}Unit": "nm" for axis in "XY"}
    tifffile.imwrite(folder / "steel.ome.tif", rng.poisson(shape).astype(np.uint16), ome=True, metadata=size)
    with opening.init(folder / "lab.micdb") as db:
        db.ingest(folder / "steel.ome.tif")
        for name in ("denoise", "super-resolve"):
            db.populate(name, parameters={"turns": 1})
    return folder


def test_a_restored_image_is_a_row_and_the_image_stays(lab):
    with opening.open(lab / "lab.micdb") as db:
        (uid,) = db.images.to_pandas()["uid"]
        made = db.restored(uid, using="denoise@1")
        finer = db.restored(uid, using="super-resolve@1")
        assert (made.pixels.shape, finer.pixels.shape) == ((64, 80), (128, 160))
        assert (made.pixel_size, finer.pixel_size) == ((3.0, 3.0), (1.5, 1.5))
        assert made.pixels[32, 32] == pytest.approx(160, rel=0.05)
        assert made.invented.shape == (64, 80)
        rows = db.restorations.using("denoise@1").to_pandas()
        assert rows["factor"].tolist() == [1]
        assert rows["invented"].iloc[0] == pytest.approx(made.invented.mean())
        assert db.fsck(deep=True).exit_code == 0
        assert len(db.images.to_pandas()) == 1
        with pytest.raises(UsageError, match="no run restored frame 3"):
            db.restored(uid, frame=3, using="denoise@1")


def test_files_for_other_programs(lab, tmp_path):
    with opening.open(lab / "lab.micdb") as db:
        (uid,) = db.images.to_pandas()["uid"]
        made = db.restored(uid, using="denoise@1")
        paths = db.write_restored("width > 1", tmp_path, using="denoise@1")
        with tifffile.TiffFile(paths[0]) as file:
            np.testing.assert_array_equal(file.asarray(), made.pixels)
            assert 'PhysicalSizeX="3.0"' in file.ome_metadata
        np.testing.assert_array_equal(np.asarray(Image.open(paths[1])) > 0, made.invented)
        with pytest.raises(UsageError, match="would be overwritten"):
            db.write_restored(db.images, tmp_path, using="denoise@1")
        with pytest.raises(UsageError, match="no form 'tif'; did you mean tiff"):
            db.write_restored(db.images, tmp_path / "b", as_="tif", using="denoise@1")
        with pytest.raises(UsageError, match="none of 0 images is restored"):
            db.write_restored(db.images[db.images.name == "none"], tmp_path / "b", using="denoise@1")


def test_the_command_writes_pictures(lab, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MICDB_DB", str(lab / "lab.micdb"))
    arguments = ["restored", "width > 1", "--to", str(tmp_path), "--as", "png", "--using", "super-resolve@1"]
    monkeypatch.setattr("sys.argv", ["micdb", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 0
    assert "1 restored images" in capsys.readouterr().out
    (shown, _) = sorted(tmp_path.iterdir(), key=lambda path: "invented" in path.name)
    assert Image.open(shown).size == (160, 128)


def test_noise_is_learnt_from_the_images_of_a_query(lab, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MICDB_DB", str(lab / "lab.micdb"))
    for arguments, said in (
        (["denoise", "--from-images", "width > 1"], "none of 96 x 96 pixels or more"),
        (["denoise", "--from-images", "width > 1000"], "the query finds no image to learn from"),
        (["micro", "--from-images", "width > 1"], "micro learns nothing from images alone"),
    ):
        monkeypatch.setattr("sys.argv", ["micdb", "train", *arguments, "--out", str(tmp_path)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == 2
        assert said in capsys.readouterr().err

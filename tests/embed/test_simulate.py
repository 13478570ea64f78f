"""Simulators: same seed, same image; the truth is what was drawn; files are what vendors write."""

from __future__ import annotations

import csv
import json
import tomllib
from datetime import UTC, datetime

import h5py
import mrcfile
import nanonispy2
import numpy as np
import pytest
import tifffile
from scipy import ndimage

from micdb.embed import graph
from micdb.embed.simulate import labs, vendors
from micdb.embed.simulate.lattices import CELLS, crystal
from micdb.embed.simulate.scoring import score
from micdb.embed.simulate.stem import Probe, adf_image
from micdb.embed.simulate.stm import topograph

MOMENT = datetime(2024, 2, 29, 21, 5, 7, tzinfo=UTC)
GREY = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30)


class TestLattices:
    @pytest.mark.parametrize(
        ("material", "distance", "density"),
        [
            ("graphene", 0.142, 38.2),
            ("MoS2", 0.1824, 23.1),
            ("Au[001]", 0.2884, 12.02),
            ("Ag[111]", 0.2889, 13.83),
        ],
    )
    def test_distances_and_density(self, material, distance, density):
        columns = crystal(material, (6.0, 8.0), seed=1, rotation=23.0, margin=0.0)
        np.testing.assert_allclose(np.median(graph.nearest_distances(columns.xy)), distance, rtol=0.002)
        assert len(columns.xy) / 48 == pytest.approx(density, rel=0.03)

    def test_a_vacancy_takes_one_atom_from_a_light_column(self):
        whole, sheet = (crystal("graphene", (3, 3), seed=4, vacancies=n) for n in (0, 5))
        assert len(whole.xy) - len(sheet.xy) == len(sheet.vacancies) == 5
        sulphide = crystal("MoS2", (3, 3), seed=4, vacancies=5)
        assert (sulphide.atoms[sulphide.number == 16] == 1).sum() == 5
        assert (sulphide.atoms[sulphide.number == 42] == 1).all()

    def test_seed_decides(self):
        one, same, other = (crystal("WS2", (2, 2), seed=s, jitter=0.01).xy for s in (1, 1, 2))
        np.testing.assert_array_equal(one, same)
        assert one.shape != other.shape or np.abs(one - other).max() > 0.01
        assert set(CELLS) >= {"graphene", "MoS2", "WS2"}


class TestStem:
    def test_brightest_pixels_are_at_the_truth(self):
        columns = crystal("Au[001]", (2, 2), seed=1, rotation=10)
        clean = adf_image(
            columns, (200, 200), pixel_size=0.01, seed=1, counts=1e5, background=0.0, drift=(0.1, 0.05)
        )
        tops = ndimage.maximum_filter(clean.image, 9) == clean.image
        y, x = np.nonzero(tops & (clean.image > 5e4))
        result = score(np.column_stack((x, y)) * 0.01, clean)
        assert result.f1 == 1.0
        assert result.rms < 0.005  # [nm] half a pixel

    def test_counts_and_noise(self):
        columns = crystal("Au[001]", (2, 2), seed=1)
        image = adf_image(columns, (100, 100), pixel_size=0.02, seed=1, counts=1e4, background=0.0).image
        assert np.quantile(image, 0.999) == pytest.approx(1e4, rel=0.06)
        flat = crystal("Au[001]", (0.2, 0.2), seed=1)  # one corner only
        dark = adf_image(
            flat, (100, 100), pixel_size=0.02, seed=1, counts=100, background=0.5, readout=0.0
        ).image
        assert dark[60:].var() == pytest.approx(50, rel=0.1)  # Poisson
        assert dark[60:].mean() == pytest.approx(50, rel=0.02)

    def test_sulphur_is_fainter_by_the_contrast_law(self):
        columns = crystal("MoS2", (3, 3), seed=1)
        image = adf_image(
            columns, (300, 300), pixel_size=0.01, seed=1, counts=1e5, background=0.0, probe=Probe(tail=0.0)
        )
        level = ndimage.map_coordinates(image.image, image.xy[:, ::-1].T / 0.01, order=1)
        ratio = np.median(level[image.number == 16]) / np.median(level[image.number == 42])
        assert ratio == pytest.approx(2 * (16 / 42) ** 1.7, rel=0.05)


class TestVendorFiles:
    def test_fei(self, tmp_path):
        vendors.write_fei_tiff(
            tmp_path / "a.tif",
            GREY.astype(np.uint8),
            pixel_size=12.5,
            acquired=MOMENT,
            voltage=5e3,
            sample="A1",
        )
        with tifffile.TiffFile(tmp_path / "a.tif") as file:
            tree = file.fei_metadata
            np.testing.assert_array_equal(file.asarray(), GREY.astype(np.uint8))
        assert tree["Scan"]["PixelWidth"] == pytest.approx(12.5e-9)
        assert tree["Beam"]["HV"] == 5000
        assert tree["User"]["Date"] == "02/29/2024"
        assert tree["User"]["Time"] == "09:05:07 PM"

    def test_zeiss(self, tmp_path):
        vendors.write_zeiss_tiff(tmp_path / "a.tif", GREY.astype(np.uint8), pixel_size=12.5, acquired=MOMENT)
        with tifffile.TiffFile(tmp_path / "a.tif") as file:
            tree = file.sem_metadata
        assert tree["ap_image_pixel_size"][1:] == (12.5, "nm")
        assert tree["ap_actualkv"][1:] == (15.0, "kV")

    def test_tescan(self, tmp_path):
        vendors.write_tescan_tiff(tmp_path / "a.tif", GREY, pixel_size=12.5, acquired=MOMENT)
        with tifffile.TiffFile(tmp_path / "a.tif") as file:
            text = bytes(file.pages[0].tags[50431].value).decode()
        assert "PixelSizeX=1.25e-08\n" in text

    def test_imagej_and_mrc(self, tmp_path):
        vendors.write_imagej_tiff(tmp_path / "a.tif", GREY, pixel_size=0.25)
        with tifffile.TiffFile(tmp_path / "a.tif") as file:
            assert file.imagej_metadata["unit"] == "nm"
            per_nm = file.pages[0].tags["XResolution"].value
        assert per_nm[0] / per_nm[1] == pytest.approx(4)
        vendors.write_mrc(tmp_path / "a.mrc", GREY, pixel_size=0.25)
        with mrcfile.open(tmp_path / "a.mrc") as file:
            assert float(file.voxel_size.x) == pytest.approx(2.5)
            np.testing.assert_array_equal(file.data, GREY)

    def test_velox(self, tmp_path):
        vendors.write_velox_emd(tmp_path / "a.emd", GREY, pixel_size=0.02, acquired=MOMENT, sample="WS2")
        with h5py.File(tmp_path / "a.emd") as file:
            (group,) = file["Data/Image"].values()
            np.testing.assert_array_equal(group["Data"][:, :, 0], GREY)
            tree = json.loads(group["Metadata"][:, 0].tobytes().rstrip(b"\0"))
        assert float(tree["BinaryResult"]["PixelSize"]["width"]) == pytest.approx(2e-11)
        assert int(tree["Acquisition"]["AcquisitionStartDatetime"]["DateTime"]) == MOMENT.timestamp()

    def test_nanonis(self, tmp_path):
        height = topograph((24, 32), pixel_size=0.05, seed=1) * 1e-9
        vendors.write_sxm(tmp_path / "a.sxm", {"Z": (height, "m")}, pixel_size=0.05, acquired=MOMENT)
        file = nanonispy2.read.Scan(str(tmp_path / "a.sxm"))
        np.testing.assert_allclose(file.signals["Z"]["forward"], height, rtol=1e-6)
        np.testing.assert_allclose(file.header["scan_range"], [32 * 5e-11, 24 * 5e-11])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return labs.write_labs(tmp_path_factory.mktemp("labs"), seed=3, images_per_sample=1)


class TestLabs:
    def test_sheets_name_the_files_that_are_there(self, written):
        for lab in written.labs:
            mapping = tomllib.loads(lab.map.read_text())
            rows = list(csv.DictReader(lab.sheet.open()))
            assert [row[mapping["file"]] for row in rows] == [path.name for path in lab.files]
            assert {path.name for path in lab.folder.glob("*.tif")} == {path.name for path in lab.files}
            assert mapping["property"]["hardness"]["column"] in rows[0]
        assert all(path.is_file() for path in written.atoms)
        assert len(written.atoms) == 8

    def test_temperature_sets_size_and_size_sets_hardness(self, written):
        for lab in written.labs:
            fine = [one for one in lab.samples if one.microconstituent == "spheroidite"]
            assert [one.length for one in fine] == sorted(one.length for one in fine)
            for one in lab.samples:
                law = labs.feature_length(one.microconstituent, temperature=one.temperature, time=one.time)
                assert one.length == pytest.approx(law, rel=0.16)  # 4 standard deviations
                assert one.hardness == pytest.approx(labs.hardness(one.length), rel=0.12)

    def test_both_labs_mean_the_same_units(self, written):
        a, b = (list(csv.DictReader(lab.sheet.open())) for lab in written.labs)
        assert 1.0 < float(a[0]["hardness_GPa"]) < 4.0
        assert 1000 < float(b[0]["hardness_MPa"]) < 4000
        assert float(b[0]["T_K"]) == pytest.approx(written.labs[1].samples[0].temperature + 273.15)

    def test_same_seed_same_pixels(self, written, tmp_path):
        again = labs.write_labs(tmp_path, seed=3, images_per_sample=1)
        for one, other in zip(written.labs[0].files[:3], again.labs[0].files[:3], strict=True):
            assert one.read_bytes() == other.read_bytes()

"""What leaves the library: the page, the figure, the folder of a supplement."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import ase.io
import numpy as np
import pandas as pd
import pytest
import tifffile

from micdb.analysis.library import bundle
from micdb.analysis.library.figure import library_figure
from micdb.errors import UsageError


@pytest.fixture
def built(planted):
    planted.library.build(rare=1)
    return planted


class Words(HTMLParser):
    """Collects the text of a page, and whether every element is closed."""

    def __init__(self):
        super().__init__()
        self.text, self.open = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_shows_every_motif_and_leads_every_count_to_its_rows(built, tmp_path):
    page = built.library.page(tmp_path / "library.html", title="Graphene <b>").read_text()
    words = Words()
    words.feed(page)
    text = " ".join(words.text)
    assert words.open == []
    assert "Graphene <b>" in text  # escaped
    assert "8 defects of 3 motifs in 3 images" in text
    for entry in built.library:
        row = entry.summary()
        assert f"All {row['n']} members" in text
        assert f"{row['kind']}; {row['n']} in {row['images']} images; " in text
        for uid in entry.members["uid"]:
            assert uid in text
    for uid in re.findall(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{22}", text):
        assert (
            built.defects[built.defects.uid == uid].count() + built.images[built.images.uid == uid].count()
            == 1
        )
    assert "http" not in page.replace("http-equiv", "")  # one file, no network
    assert page.count('src="data:image/png') >= 3 + 8


def test_the_figure_is_as_wide_as_a_journal_and_carries_its_numbers(built):
    figure = built.library.figure()
    assert figure.get_figwidth() * 25.4 == pytest.approx(180)
    assert figure.get_figheight() * 25.4 <= 230
    assert figure.micdb_data["name"].tolist() == ["Si1C3", "V1", "Si1C4"]
    words = [text.get_text() for text in figure.findobj(match=lambda one: hasattr(one, "get_text"))]
    assert any(word.startswith("substitution\nn = 4 in 3 images") for word in words)
    assert "500 pm" in words
    entries = list(built.library)
    with pytest.raises(UsageError, match="a figure shows 1 to 8 motifs, not 9: draw several"):
        library_figure(entries * 3)


def test_the_folder_is_whole(built, tmp_path):
    folder = built.library.export(tmp_path / "supplement" / "one", title="Sheets")
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    shapes = {f"{place}.{end}" for place, end in (("structures/{}", "xyz"), ("means/{}", "tif"))}
    assert names == {
        "CITATION.cff", "README.md", "figure-1.pdf", "figure-1.png", "library.html", "members.csv",
        "models/planted@1.json", "motifs.csv", "positions.csv",
        *(shape.format(name) for shape in shapes for name in ("Si1C3", "Si1C4", "V1")),
    }  # fmt: skip
    motifs = pd.read_csv(folder / "motifs.csv")
    members = pd.read_csv(folder / "members.csv")
    assert motifs.set_index("name")["n"].to_dict() == members["motif"].value_counts().to_dict()
    assert set(members["uid"]) == set(built.defects.to_pandas()["uid"])
    told = (folder / "README.md").read_text()
    assert "# Sheets" in told
    assert "| Si1C3 | 4 | 3 | 0.069 (" in told
    assert "planted version 1: Says what is planted" in told
    assert (
        json.loads((folder / "models" / "planted@1.json").read_text())["planted"]["vacancy"]["found"] == 380
    )
    assert '  - name: "Delft"' in (folder / "CITATION.cff").read_text()
    assert list(tmp_path.joinpath("supplement").iterdir()) == [folder]


def test_structures_and_means_are_those_of_the_library(built, tmp_path):
    folder = built.library.export(tmp_path / "out")
    found = built.library["Si1C3"].average
    atoms = ase.io.read(folder / "structures" / "Si1C3.xyz")
    assert sorted(set(atoms.get_chemical_symbols())) == ["C", "Si"]
    xy = found.positions[["x_nm", "y_nm"]].to_numpy()
    between = np.linalg.norm(xy - xy[0], axis=1) * 10  # angstrom
    assert np.linalg.norm(atoms.positions - atoms.positions[0], axis=1) == pytest.approx(between, abs=1e-4)
    with tifffile.TiffFile(folder / "means" / "Si1C3.tif") as file:
        assert file.asarray() == pytest.approx(found.picture, nan_ok=True)
        assert file.imagej_metadata["unit"] == "nm"


def test_a_folder_that_exists_is_kept_unless_told(built, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "mine.txt").write_text("precious")
    with pytest.raises(UsageError, match="out exists: choose another folder, or say overwrite=True"):
        built.library.export(folder)
    assert (folder / "mine.txt").read_text() == "precious"
    built.library.export(folder, overwrite=True)
    assert (folder / "README.md").exists()
    with pytest.raises(UsageError, match="is inside the database"):
        built.library.export(built.root / "out")


def test_what_fails_half_way_leaves_nothing(built, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "_write_words", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    (tmp_path / "out").mkdir()
    with pytest.raises(OSError, match="disk full"):
        built.library.export(tmp_path / "out", overwrite=True)
    assert list(tmp_path.glob("*out*")) == [tmp_path / "out"]


def test_file_names_of_motifs_never_meet():
    assert bundle._stems(["V1", "v1", "Si / C", "///", "Si C"]) == ["V1", "v1~2", "Si-C", "motif", "Si-C~2"]


def test_an_empty_library_has_no_page(planted, tmp_path):
    with pytest.raises(UsageError, match="no motif has a defect here: call db.library.build"):
        planted.library.page(tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_images_without_a_scale_have_means_and_no_density(built, tmp_path):
    with built.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE micrograph SET pixel_size=NULL, pixel_size_x=NULL, pixel_size_y=NULL, area=NULL"
        )
        connection.exec_driver_sql("DELETE FROM rollup WHERE name = 'analysed_area'")
    row = built.library["Si1C3"].summary()
    assert row["density"] is None
    assert built.library["Si1C3"].average.pixel_size is None
    page = built.library.page(tmp_path / "page.html").read_text()
    assert "no density: the scale is unknown" in page
    assert "no scale" in page

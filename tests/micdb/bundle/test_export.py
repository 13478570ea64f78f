"""What every export keeps: whole files only, nothing overwritten, every image accounted for."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import signal
import subprocess
import sys
import textwrap
import time

import h5py
import numpy as np
import pytest
from PIL import Image

from micdb.bundle.export import FORMS
from micdb.catalog import tables
from micdb.catalog.engine import writing
from micdb.errors import UsageError


def listing(folder):
    return list(csv.DictReader(io.StringIO((folder / "images.csv").read_text(encoding="utf-8"))))


def test_nexus_files_are_the_stored_ones_under_readable_names(lab, ramp, tmp_path):
    first = lab.add(ramp((4, 5)), name="α-Fe, 5 µm (a/b) #1 & more")
    second = lab.add(ramp((5, 4)), name="grain")
    done = lab.db.export(lab.db.images.sort_values("name"), tmp_path / "out", as_="nexus")
    assert [image.files for image in done.images] == [
        (f"grain-{second[-8:]}.nxs",),
        (f"alpha-Fe_5_um_a_b_1_more-{first[-8:]}.nxs",),
    ]
    copies = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "out").glob("*.nxs")}
    assert copies == {lab.db.image(uid).sha256 for uid in (first, second)}
    assert [(row["uid"], row["name"]) for row in listing(tmp_path / "out")] == [
        (second, "grain"),
        (first, "α-Fe, 5 µm (a/b) #1 & more"),
    ]
    assert done.as_json()["images"][0] == {
        "uid": second,
        "files": [f"grain-{second[-8:]}.nxs"],
        "notes": [],
    }


def test_a_damaged_object_is_refused_and_the_others_go_on(lab, ramp, tmp_path):
    broken = lab.image(ramp((4, 5)), name="broken")
    lab.add(ramp((5, 4)), name="whole")
    broken.place.path.chmod(0o644)
    content = bytearray(broken.place.path.read_bytes())
    content[-1] ^= 1
    broken.place.path.write_bytes(content)
    done = lab.db.export(lab.db.images, tmp_path / "out", as_="nexus")
    assert [one.image.name for one in done.images] == ["whole"]
    assert [(one.name, one.reason.partition(" is ")[2]) for one in done.refused] == [
        ("broken", "not what was stored; see: micdb fsck --deep")
    ]
    broken.place.path.unlink()
    for form in ("nexus", "ome-tiff", "png"):
        done = lab.db.export(lab.db.images, tmp_path / form, as_=form)
        assert "is missing although the catalog names it" in done.refused[0].reason
        said, why = repr(done).splitlines()[:2]
        assert said == f"1 images exported to {tmp_path / form}, 1 refused"
        assert why.startswith("refused: broken: ")
        assert len([row["file"] for row in listing(tmp_path / form)]) == 1
        assert not list((tmp_path / form).glob(".*"))


def test_nothing_is_overwritten_unless_told(lab, ramp, tmp_path):
    lab.add(ramp((4, 5)))
    (name,) = lab.db.export(lab.db.images, tmp_path / "out", as_="png").images[0].files
    (tmp_path / "out" / "images.csv").unlink()
    (tmp_path / "out" / name).write_bytes(b"precious")
    with pytest.raises(
        UsageError, match=rf"{name} would be overwritten; give another folder, or --overwrite"
    ):
        lab.db.export(lab.db.images, tmp_path / "out", as_="png")
    assert (tmp_path / "out" / name).read_bytes() == b"precious"
    lab.db.export(lab.db.images, tmp_path / "out", as_="png", overwrite=True)
    assert Image.open(tmp_path / "out" / name).size == (5, 4)


def test_an_export_that_fails_half_way_leaves_no_half_file(lab, ramp, tmp_path, monkeypatch):
    lab.add(ramp((3, 4, 5)), leading=("frame",))
    from micdb.bundle.image import StoredImage

    def frames(image):
        yield image.frame(0)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(StoredImage, "frames", frames)
    for form in ("ome-tiff", "png"):
        with pytest.raises(OSError, match="No space left"):
            lab.db.export(lab.db.images, tmp_path / form, as_=form)
    assert list((tmp_path / "ome-tiff").iterdir()) == []
    assert [path.name[-6:] for path in (tmp_path / "png").iterdir()] == ["_0.png"]


def test_a_killed_export_leaves_no_half_file_under_a_final_name(lab, tmp_path):
    rng = np.random.default_rng(0)
    for number in range(6):
        lab.add(rng.integers(0, 255, (24, 512, 512), np.uint8), leading=("frame",), name=f"stack {number}")
    whole = {image.uid[-8:]: image.pixels() for image in map(lab.db.image, lab.uids())}
    code = textwrap.dedent("""
        import sys, micdb
        with micdb.open(sys.argv[1]) as db:
            db.export(db.images, sys.argv[2], watch=lambda number, *_: print(number, flush=True))
    """)
    for attempt, image in enumerate((1, 3)):
        out = tmp_path / f"out{attempt}"
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(lab.db.root), str(out)], stdout=subprocess.PIPE, text=True
        )
        while process.stdout.readline().strip() != str(image):
            assert process.poll() is None
        time.sleep(0.01 * attempt)
        process.send_signal(signal.SIGKILL)
        process.wait()
        finished = [path for path in out.iterdir() if not path.name.startswith(".")]
        assert image <= len(finished) < 6
        import tifffile

        for path in finished:
            assert np.array_equal(tifffile.imread(path), whole[path.name.split("-")[-1].split(".")[0]])


def test_every_format_tells_its_progress(lab, ramp, tmp_path):
    for number in range(2):
        lab.add(ramp((4, 5 + number)))
    for form in FORMS:
        seen = []
        given = {"sample": SAMPLE} if form == "nxem" else {}
        lab.db.export(
            lab.db.images,
            tmp_path / form,
            as_=form,
            watch=lambda *step, seen=seen: seen.append(step),
            **given,
        )
        assert [(number, total) for number, total, _ in seen] == [(0, 2), (1, 2)]
        if form != "csv":
            assert all(path.is_file() for _, _, path in seen)


SAMPLE = {
    "is_simulation": False,
    "atom_types": "Fe, C",
    "preparation_date": "2023-04-01T12:00:00Z",
    "start_time": "2023-04-11T10:00:00Z",
}


def test_an_image_in_several_rows_is_exported_once(lab, ramp, tmp_path):
    lab.add(ramp((4, 5)))
    frame = lab.db.images
    assert len(lab.db.export(frame[["name"]], tmp_path / "a").images) == 1
    assert len(lab.db.export(frame.head(1), tmp_path / "b").images) == 1


def test_csv_has_units_in_the_headers_and_names_every_object(lab, ramp, nm, tmp_path):
    uid = lab.add(ramp((4, 5)), axes=nm(4, 5), name='comma, "quote"')
    frame = lab.db.images[["name", "pixel_size"]]
    done = lab.db.export(frame, tmp_path / "out", as_="csv")
    assert (tmp_path / "out" / "table.csv").read_text() == 'name,pixel_size [nm]\n"comma, ""quote""",0.5\n'
    (row,) = listing(tmp_path / "out")
    assert row["uid"] == uid
    assert row["original_file"] == "scan1.described"
    with h5py.File(row["file"]) as file:
        assert "entry" in file
    assert done.tables == ("table.csv", "images.csv")


def test_csv_takes_frames_that_are_no_images(lab, ramp, nm, tmp_path):
    lab.add(ramp((4, 5)), axes=nm(4, 5), modality="SEM")
    groups = lab.db.images.groupby("modality").agg(largest=("pixel_size", "max"))
    lab.db.export(groups, tmp_path / "out", as_="csv")
    assert (tmp_path / "out" / "table.csv").read_text() == "modality,largest [nm]\nSEM,0.5\n"
    assert listing(tmp_path / "out") == []
    with pytest.raises(UsageError, match="needs rows that are images"):
        lab.db.export(groups, tmp_path / "png", as_="png")


def test_deferred_pixels_are_told_and_listed(lab, ramp, tmp_path):
    uid = lab.add(ramp((4, 5)), name="later")
    lab.add(ramp((4, 6)), name="here")
    with writing(lab.db.engine) as connection:
        connection.execute(
            tables.micrograph.update().where(tables.micrograph.c.uid == uid).values(object_pk=None)
        )
    done = lab.db.export(lab.db.images, tmp_path / "out")
    assert [(one.name, one.reason) for one in done.refused] == [
        (
            "later",
            "the pixels of 'later' are not here yet; bring them in with: micdb fetch, or ingest its file "
            "where it came from another laboratory",
        )
    ]
    full = lab.db.export(lab.db.images, tmp_path / "bundle", as_="bundle", level="full")
    assert {one.image.name: one.notes for one in full.images} == {
        "later": ("its pixels are not here, and so not in the bundle",), "here": (),
    }  # fmt: skip
    assert lab.db.image(uid).shape == (4, 5)
    lab.db.export(lab.db.images, tmp_path / "csv", as_="csv")
    assert {row["name"]: bool(row["file"]) for row in listing(tmp_path / "csv")} == {
        "later": False,
        "here": True,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"as_": "tiff"}, "no format 'tiff' to export as; did you mean ome-tiff?"),
        ({"as_": "nexus", "raw": True}, "raw is for png, not for nexus"),
        ({"as_": "png", "sample": {"atom_types": "Fe"}}, "sample is for nxem, not for png"),
        ({"as_": "png", "raw": True, "scale_bar": True}, "choose one"),
        (
            {"as_": "nxem", "sample": {"atoms": "Fe"}},
            "nothing called 'atoms' of a sample; did you mean atom_types",
        ),
    ],
)
def test_wrong_options(lab, ramp, tmp_path, options, message):
    lab.add(ramp((4, 5)))
    with pytest.raises(UsageError) as refused:
        lab.db.export(lab.db.images, tmp_path / "out", **options)
    assert message in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_wrong_folders(lab, ramp, tmp_path):
    lab.add(ramp((4, 5)))
    with pytest.raises(UsageError, match="is inside the database"):
        lab.db.export(lab.db.images, lab.db.root / "objects")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file; name a folder"):
        lab.db.export(lab.db.images, tmp_path / "file")
    with pytest.raises(UsageError, match="the query finds no image"):
        lab.db.export("width > 1000", tmp_path / "out")


def test_when_every_image_is_refused_it_is_an_error(lab, ramp, tmp_path):
    lab.add(ramp((4, 5), "float32"), name="first")
    with pytest.raises(
        UsageError, match="none of 1 images can be written as png; the first, first: PNG cannot"
    ):
        lab.db.export(lab.db.images, tmp_path / "out", as_="png", raw=True)
    assert list((tmp_path / "out").iterdir()) == []


def test_the_command(lab, ramp, nm, tmp_path, run):
    lab.add(ramp((80, 90), "float32"), axes=nm(80, 90), name="scaled")
    lab.add(ramp((80, 91), "float32"), name="bare")
    code, out, err = run(
        "export", "width > 5", "--as", "png", "--scale-bar", "--to", tmp_path / "a", "--db", lab.db.root
    )
    assert code == 0, err
    assert "2 images exported" in out
    assert "note: bare: no scale bar: the pixel size is unknown" in out
    code, out, _ = run("export", "width == 90", "--to", tmp_path / "b", "--db", lab.db.root, "--json")
    assert json.loads(out)["images"][0]["files"][0].endswith(".ome.tif")
    code, _, err = run("export", "width > 5", "--to", tmp_path / "b", "--db", lab.db.root)
    assert (code, "--overwrite" in err) == (2, True)
    assert run("export", "width > 5", "--to", tmp_path / "b", "--db", lab.db.root, "--overwrite")[0] == 0
    code, _, err = run(
        "export",
        "width > 5",
        "--as",
        "nxem",
        "--sample",
        "atom_types",
        "--to",
        tmp_path / "c",
        "--db",
        lab.db.root,
    )
    assert (code, "write name=value, for example --sample atom_types='Fe, C'" in err) == (2, True)
    code, _, err = run("export", "width > 5", "--as", "nxem", "--to", tmp_path / "c", "--db", lab.db.root)
    assert (code, "is_simulation is missing (true or false)" in err) == (2, True)
    given = [f"--sample={name}={value}" for name, value in SAMPLE.items()]
    code, out, err = run(
        "export", "width > 5", "--as", "nxem", *given, "--to", tmp_path / "c", "--db", lab.db.root
    )
    assert (code, len(list((tmp_path / "c").glob("*.nxs")))) == (0, 2), err

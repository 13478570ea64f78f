"""A bundle leaves: whole, closed under references, without what may not leave, open without micdb."""

from __future__ import annotations

import json
import re
import sys
import zipfile
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import pandas as pd
import pytest

from micdb.cli.app import app
from micdb.errors import UsageError
from micdb.exchange.manifest import Manifest, read, verify
from micdb.exchange.shape import LEVELS
from micdb.exchange.terms import forbids
from micdb.provenance import file_hash

rocrate = SimpleNamespace(**run_path(str(Path(__file__).parents[2] / "data" / "rocrate" / "check.py")))


def table(folder, name):
    return pd.read_parquet(folder / "catalog" / f"{name}.parquet")


def tables(folder):
    return {path.stem: pd.read_parquet(path) for path in (folder / "catalog").glob("*.parquet")}


def test_every_reference_leads_to_a_row_of_the_bundle_and_no_local_key_leaves(bundle):
    found = tables(bundle)
    uids = set().union(*(frame["uid"] for frame in found.values() if "uid" in frame))
    hashes = set(found["object"]["sha256"])
    for name, frame in found.items():
        assert not [column for column in frame if column == "pk" or column.endswith("_pk")], name
        for column in frame:
            if column.endswith("_uid"):
                assert set(frame[column].dropna()) <= uids, (name, column)
            if column == "object_sha256":
                assert set(frame[column].dropna()) <= hashes
    atoms = pd.concat(map(pd.read_parquet, (bundle / "parts" / "atoms").glob("*.parquet")))
    assert set(atoms["image"]) == set(found["micrograph"]["uid"])
    assert set(atoms["run"]) <= set(found["run"]["uid"])
    assert not found["source"]["path"].str.contains("/").any()  # folders of a computer are nobody's business


def test_the_manifest_lists_every_file_with_its_hash(bundle, home):
    manifest = read(bundle)
    files = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert files == {*manifest.members, "manifest.json"}
    verify(bundle, manifest)
    assert (manifest.labs, manifest.level, manifest.images) == (("Lab A",), "full", 8)
    assert manifest.query == home.images.to_json()  # what asks for the same images again
    for sha256 in table(bundle, "micrograph")["object_sha256"]:
        assert file_hash(bundle / "objects" / sha256[:2] / f"{sha256}.nxs") == sha256


@pytest.mark.parametrize("level", LEVELS)
def test_each_level_has_what_it_promises(home, tmp_path, level):
    done = home.export("sample == 's1'", tmp_path / "b", as_="bundle", level=level)
    folders = {path.name for path in (tmp_path / "b").iterdir() if path.is_dir()}
    assert folders == {"catalog", *("thumbnails", "parts", "objects")[: LEVELS.index(level)]}
    assert ("run_item" in tables(tmp_path / "b")) == (level in ("derived", "full"))
    kept = table(tmp_path / "b", "micrograph")
    assert len(done.images) == len(kept) == home.images.query("sample == 's1'").count()
    assert set(table(tmp_path / "b", "sample")["name"]) == {"s1"}  # and nothing of other samples
    assert set(table(tmp_path / "b", "property_value")["text"].dropna()) == {"g1", "g3"}


def test_what_is_under_embargo_or_not_free_stays_and_is_told(home, tmp_path):
    uids = home.images.to_pandas()["uid"].tolist()
    image = home.images
    home.set_terms(image[image.uid == uids[0]], embargo_until="2999-01-01")
    home.set_terms(image[image.uid == uids[1]], licence="Proprietary, all rights reserved")
    home.set_terms(image[image.uid == uids[2]], embargo_until="2001-01-01", licence="CC-BY-4.0")
    done = home.export(image, tmp_path / "b", as_="bundle")
    told = {one.uid: one.reason for one in done.refused}
    assert told == {
        uids[0]: "under embargo until 2999-01-01T00:00:00Z",
        uids[1]: "its licence forbids it: Proprietary, all rights reserved",
    }
    assert set(table(tmp_path / "b", "micrograph")["uid"]) == set(uids[2:])
    everything = b"".join(path.read_bytes() for path in (tmp_path / "b").rglob("*") if path.is_file())
    assert uids[0].encode() not in everything  # not in a table, a part, a page or a file's name
    assert read(tmp_path / "b").withheld == {"embargo": 1, "licence": 1}
    assert "2 images of the query may not leave their laboratory" in (tmp_path / "b/README.md").read_text()
    with pytest.raises(UsageError, match="none of 1 images may leave the database; the first: under embargo"):
        home.export(image[image.uid == uids[0]], tmp_path / "c", as_="bundle")
    assert not (tmp_path / "c").exists()
    home.set_terms(image[image.uid == uids[0]], embargo_until=None)
    assert home.export(image[image.uid == uids[0]], tmp_path / "c", as_="bundle").images


def test_licences_that_forbid():
    assert forbids("LicenseRef-Internal")
    assert forbids("All  Rights Reserved.")
    assert not forbids("CC-BY-NC-ND-4.0")


def test_only_terms_that_there_are(home):
    with pytest.raises(UsageError, match="no such terms: licens; give licence, embargo_until or both"):
        home.set_terms(home.images, licens="CC0-1.0")
    with pytest.raises(UsageError, match="'soon' is no date; write 2030-06-30"):
        home.set_terms(home.images, embargo_until="soon")
    with pytest.raises(UsageError, match="which terms"):
        home.set_terms(home.images)


def test_the_readme_alone_opens_it(bundle, monkeypatch, capsys):
    """As somebody who has pandas and h5py, and never heard of micdb."""
    (code,) = re.findall(r"^```python\n(.*?)^```", (bundle / "README.md").read_text(), re.M | re.S)
    monkeypatch.chdir(bundle)
    for name in [one for one in sys.modules if one.partition(".")[0] == "micdb"]:
        monkeypatch.setitem(sys.modules, name, None)  # an import of it fails
    exec(code, {})
    out = capsys.readouterr().out
    assert "hardness" in out
    assert "atoms 24 rows of 8 images" in out
    assert len(re.findall(r"\(16, 20\) u?int16 \d", out)) == 8


def test_the_crate_describes_every_file(bundle):
    from rocrate.rocrate import ROCrate

    crate = ROCrate(bundle)  # another program's reader
    assert crate.metadata.id == "ro-crate-metadata.json"
    described = {entity.id for entity in crate.get_by_type("File")}
    files = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert described == files - {"ro-crate-metadata.json"}
    root = crate.root_dataset
    assert root["name"] == "Micrographs of Lab A"
    assert root["datePublished"] and root["description"]
    assert root["license"]["name"] == "Licence not stated: ask the laboratories"
    assert root["author"]["name"] == root["publisher"]["name"] == "Lab A"
    said = {entity.id: entity["sha256"] for entity in crate.get_by_type("File") if "sha256" in entity}
    assert said["catalog/micrograph.parquet"] == file_hash(bundle / "catalog" / "micrograph.parquet")


def test_an_independent_validator_finds_no_fault_and_each_that_is_made(bundle, tmp_path):
    assert not rocrate.faults(bundle)
    said = json.loads((bundle / "ro-crate-metadata.json").read_text())
    root = next(one for one in said["@graph"] if one["@id"] == "./")
    del root["license"]
    parts = [one["@id"] for one in root["hasPart"]]
    root |= {"datePublished": "yesterday", "publisher": {"@id": "README.md"}, "hasPart": [{"@id": parts[0]}]}
    said["@graph"] = [one for one in said["@graph"] if one["@id"] not in parts[3:]]
    (tmp_path / "ro-crate-metadata.json").write_text(json.dumps(said))
    found = "\n".join(rocrate.faults(tmp_path))
    for word in ("`license`", "`datePublished`", "`publisher`"):
        assert word in found


def test_a_zip_file_is_the_same(home, tmp_path):
    home.export(home.images, tmp_path / "b.zip", as_="bundle", level="metadata")
    with zipfile.ZipFile(tmp_path / "b.zip") as pack:
        members = json.loads(pack.read("manifest.json"))["members"]
        assert set(pack.namelist()) == {*members, "manifest.json"}
    assert [path.name for path in tmp_path.iterdir()] == ["b.zip"]


def test_nothing_of_a_failed_bundle_has_its_name(home, tmp_path, monkeypatch):
    home.export(home.images, tmp_path / "b", as_="bundle", level="metadata")
    before = (tmp_path / "b" / "manifest.json").read_bytes()
    with pytest.raises(UsageError, match="b is there already; give another name, or --overwrite"):
        home.export(home.images, tmp_path / "b", as_="bundle")
    monkeypatch.setattr(Manifest, "write", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        home.export(home.images, tmp_path / "b", as_="bundle", level="derived", overwrite=True)
    assert (tmp_path / "b" / "manifest.json").read_bytes() == before
    monkeypatch.undo()
    home.export(home.images, tmp_path / "b", as_="bundle", level="derived", overwrite=True)
    assert read(tmp_path / "b").level == "derived"
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_damaged_file_is_noted_and_its_rows_travel(home, tmp_path):
    broken = next((home.root / "objects").rglob("*.nxs"))
    broken.write_bytes(broken.read_bytes()[:-9])
    done = home.export(home.images, tmp_path / "b", as_="bundle")
    (noted,) = [one for one in done.images if one.notes]
    assert noted.image.sha256 == broken.stem
    verify(tmp_path / "b", read(tmp_path / "b"))
    assert len(table(tmp_path / "b", "micrograph")) == 8


def test_words_that_are_wrong(home, tmp_path):
    with pytest.raises(UsageError, match="no level 'deep' of a bundle"):
        home.export(home.images, tmp_path / "b", as_="bundle", level="deep")
    with pytest.raises(UsageError, match="level is for bundle, not for png"):
        home.export(home.images, tmp_path / "b", as_="png", level="full")
    with pytest.raises(UsageError, match="raw is for png, not for bundle"):
        home.export(home.images, tmp_path / "b", as_="bundle", raw=True)
    with pytest.raises(UsageError, match="finds no image"):
        home.export("sample == 'nobody'", tmp_path / "b", as_="bundle")


def test_the_commands(home, away, tmp_path, capsys):
    def run(*words):
        app([str(word) for word in words], standalone_mode=False)
        return capsys.readouterr().out

    here, there, path = home.root, away.root, tmp_path / "b.zip"
    assert "terms of 8 images written" in run("terms", "height > 0", "--licence", "CC0-1.0", "--db", here)
    run("export", "height > 0", "--as", "bundle", "--level", "derived", "--to", path, "--db", here)
    assert "would come from Lab A" in run("import", path, "--dry-run", "--db", there)
    assert json.loads(run("import", path, "--json", "--db", there))["added"]["micrograph"] == 8
    assert json.loads(run("conflicts", "--json", "--db", there))["rows"] == []
    assert Path(path).is_file()

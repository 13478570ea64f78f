"""A citation: exactly the rows, all that stands behind them, valid records; whole or not at all."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import bibtexparser
import numpy as np
import pandas as pd
import pytest
import yaml
from datacite import schema45
from jsonschema import validate

import micdb
from micdb.analysis.linking.link import link
from micdb.errors import UsageError
from micdb.populate.extractor import extractors
from micdb.provenance import file_hash
from micdb.testing.fakes import FakeExtractor

make = SimpleNamespace(**run_path(str(Path(__file__).parents[3] / "data" / "delivery" / "make.py")))
CFF = files("check_jsonschema") / "builtin_schemas" / "vendor" / "citation-file-format.json"
DOE = {"name": "Doe, Jane", "orcid": "0000-0002-1825-0097"}
JANE = f"{DOE['name']} ({DOE['orcid']})"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cite")
    if "fake" not in extractors()._loaded:
        extractors().register(FakeExtractor, name="fake")
    scans = make.write(folder / "scans", files=4, images=3)
    db = micdb.init(folder / "lab.micdb")
    db.ingest(scans, sheet=scans / "samples.csv", map=scans / "map.toml", lab="Lab A")
    db.set_terms(db.images, licence="CC-BY-4.0")
    db.populate("fake", where='name != "02"')
    yield db
    db.close()


@pytest.fixture(scope="module")
def q(lab):
    im = lab.images
    found = im[(im.atoms.count() > 1) & (im.hardness > "1 GPa")].with_property("hardness")
    names = ["uid", "name", "pixel_size", "n", "hardness", "hardness_n"]
    return found.assign(n=im.atoms.count())[names].sort_values("name")


@pytest.fixture(scope="module")
def bundle(lab, q, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "bundle"
    lab.cite(
        q.to_pandas(), folder, title='Spots & "dots"', creators=[{**DOE, "affiliation": "Lab B"}, "Lab A"]
    )
    return folder


READ = """
import json, pathlib, sys
import pandas as pd
table = pd.read_csv("table.csv")
typed = pd.read_parquet("table.parquet")
images = pd.read_csv("images.csv")
assert table.columns.tolist() == ["uid", "name", "pixel_size [nm]", "n", "hardness [GPa]", "hardness_n"]
assert typed["uid"].tolist() == table["uid"].tolist()
assert sorted(images["uid"]) == sorted(table["uid"])
assert json.loads(pathlib.Path("query.json").read_text())["base"] == "images"
assert not any(name.partition(".")[0] == "micdb" for name in sys.modules)
print(len(table), set(images["licence"]))
"""


def test_the_folder_is_read_without_micdb(bundle, q):
    page = (bundle / "README.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    run = subprocess.run([sys.executable, "-c", code + READ], cwd=bundle, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout == f"{q.count()} {{'CC-BY-4.0'}}\n"


def test_the_rows_are_exactly_those_and_the_query_gives_them_again(bundle, lab, q):
    expected = q.to_pandas(dtypes="numpy")
    pd.testing.assert_frame_equal(pd.read_parquet(bundle / "table.parquet"), expected, check_dtype=False)
    again = lab.load_query(bundle / "query.json")
    assert again.hash() == q.hash()
    import pyarrow.parquet as pq

    assert pq.read_schema(bundle / "table.parquet").field("pixel_size").metadata[b"unit"] == b"nm"


def test_the_records_are_valid(bundle):
    record = json.loads((bundle / "datacite.json").read_text())
    schema45.validator.validate(record)
    assert record["creators"][0]["familyName"] == "Doe"
    assert record["creators"][1] == {"name": "Lab A", "nameType": "Organizational"}
    assert record["publisher"] == {"name": "Lab A"}  # the lab of the images
    assert record["rightsList"][0]["rightsIdentifier"] == "cc-by-4.0"
    cff = yaml.load((bundle / "CITATION.cff").read_text(), Loader=yaml.BaseLoader)
    validate(cff, json.loads(CFF.read_text()))
    assert (cff["title"], cff["license"]) == ('Spots & "dots"', "CC-BY-4.0")
    assert cff["authors"][0]["orcid"] == "https://orcid.org/0000-0002-1825-0097"


def test_the_crate_lists_every_file_with_its_hash(bundle):
    from rocrate.rocrate import ROCrate

    crate = ROCrate(bundle)
    listed = {one["name"]: one for one in crate.get_entities() if one.type == "File"}
    there = {path.relative_to(bundle).as_posix(): path for path in bundle.rglob("*") if path.is_file()}
    del there["ro-crate-metadata.json"]
    assert set(listed) == set(there)
    assert all(listed[name]["sha256"] == file_hash(path) for name, path in there.items())
    assert crate.root_dataset["author"][0]["affiliation"]["name"] == "Lab B"
    kinds = {one["name"]: one.type for one in crate.root_dataset["creator"]}
    assert kinds == {"Doe, Jane": "Person", "Lab A": "Organization"}
    assert crate.root_dataset["license"].id == "https://spdx.org/licenses/CC-BY-4.0"


def test_an_independent_validator_finds_no_fault_with_the_crate(bundle):
    check = run_path(str(Path(__file__).parents[3] / "data" / "rocrate" / "check.py"))
    assert not check["faults"](bundle)


def test_models_say_what_ran(bundle, lab):
    (path,) = (bundle / "models").iterdir()
    model, (run,) = json.loads(path.read_text()), lab.runs.to_pandas().to_dict("records")
    assert (model["uid"], model["run_key"]) == (run["uid"], run["run_key"])
    assert model["card"]["name"] == "fake"
    assert model["software"]["micdb"] == micdb.__version__
    assert model["images"] == {"done": len(pd.read_csv(bundle / "images.csv"))}


def test_methods_have_the_numbers_of_this_query(bundle, lab, q):
    text = (bundle / "methods.md").read_text()
    total, kept = lab.images.count(), q.count()
    assert kept < total
    assert f"held {total} images" in text
    assert f"Rows with `count(atoms) > 1 and hardness > 1.0 GPa` were kept ({kept} images)" in text
    assert "fake version 1" in text
    assert "Parameters: seconds = 0.0, smallest = 8." in text
    assert "hardness is the mean of the values of each sample" in text
    assert f"Of the images above: {kept} done." in text
    library = bibtexparser.parse_string((bundle / "references.bib").read_text())
    assert [entry.key for entry in library.entries] == ["micdb"]  # the fake has no reference


@pytest.fixture(scope="module")
def fit(lab):
    known = lab.images.to_pandas()[["uid"]]
    number = np.arange(float(len(known)))
    known = known.assign(group=number, grain=1 + number % 4, hardness=5 + number % 4 + 0.01 * number)
    return link(known, "hardness ~ grain", groups="group", models=["ridge"], hold_out=None)


def test_a_link_comes_with_its_model_its_numbers_and_its_references(lab, fit, tmp_path):
    lab.cite(lab.images, tmp_path / "bundle", title="T", creators=[JANE], links=[fit])
    home = tmp_path / "bundle" / "links" / "1"
    again = micdb.load_link(home).predict(pd.DataFrame({"grain": [2.5]}))
    assert again["predicted"].tolist() == fit.predict(pd.DataFrame({"grain": [2.5]}))["predicted"].tolist()
    scores = pd.read_csv(home / "scores.csv").set_index("model")
    assert scores.loc["ridge", "r2_grouped"] == pytest.approx(
        fit.table.set_index("model").loc["ridge", "r2_grouped"]
    )
    assert len(pd.read_csv(home / "predictions.csv")) == len(fit.predictions)
    methods = (tmp_path / "bundle" / "methods.md").read_text()
    assert fit.methods() in methods
    assert "`hardness ~ grain` was asked over 8 images in 8 independent groups" in methods
    library = bibtexparser.parse_string((tmp_path / "bundle" / "references.bib").read_text())
    assert {"Hoerl1970", "Varma2006", "Barber2021", "Pedregosa2011"} <= {one.key for one in library.entries}
    crate = json.loads((tmp_path / "bundle" / "ro-crate-metadata.json").read_text())
    assert {"links/1/link.skops", "links/1/scores.csv"} <= {part["@id"] for part in crate["@graph"]}


def test_what_a_link_was_learnt_from_is_cited_with_it(lab, tmp_path):
    fit = lab.images.link('hardness ~ embedding("fake")', groups="uid", models=["ridge"])
    done = lab.cite(lab.images[["uid"]], tmp_path / "b", title="T", links=[fit])
    assert done.runs == 1
    methods = (tmp_path / "b" / "methods.md").read_text()
    before = methods.partition("`hardness ~")[0]
    assert "fake" in before
    assert "hardness" in before
    assert len(list((tmp_path / "b" / "models").iterdir())) == 1


def test_a_link_of_other_images_is_refused(lab, fit, tmp_path):
    with pytest.raises(UsageError, match="'hardness ~ grain' was learnt from 7 images that are not behind"):
        lab.cite(lab.images.head(1), tmp_path / "bundle", title="T", creators=[JANE], links=[fit])
    assert not (tmp_path / "bundle").exists()


def test_a_search_by_example_names_its_model(lab, tmp_path):
    uid = lab.images.head(1).to_pandas()["uid"][0]
    done = lab.cite(lab.images.similar_to(uid, k=3)[["uid", "similarity"]], tmp_path / "b", title="t")
    assert (done.rows, done.runs) == (3, 1)
    assert f"The 3 most similar to {uid} were kept (3 images)" in (tmp_path / "b" / "methods.md").read_text()


def test_a_snapshot_is_named(lab, q, tmp_path):
    lab.snapshot("paper-1")
    with lab.at("paper-1") as then:
        done = then.cite("hardness > 1 GPa", tmp_path / "b", title="t")
    assert f"snapshot paper-1, event {done.event} (" in (tmp_path / "b" / "README.md").read_text()
    lab.drop_snapshot("paper-1")


def test_groups_stand_for_the_images_they_were_made_of(lab, tmp_path):
    grouped = lab.images.groupby("sample").agg(n=("uid", "count"), h=("hardness", "mean"))
    done = lab.cite(grouped, tmp_path / "b", title="t")
    assert (done.rows, done.images, done.runs) == (grouped.count(), lab.images.count(), 0)
    assert "n = count of uid, h = mean of hardness" in (tmp_path / "b" / "methods.md").read_text()


def test_some_rows_of_an_answer_can_be_cited(lab, q, tmp_path):
    df = q.to_pandas(units="header", dtypes="numpy")
    some = df.iloc[[2, 0]][["uid", "pixel_size [nm]"]]
    done = lab.cite(some, tmp_path / "b", title="t")
    assert (done.rows, done.images) == (2, 2)
    assert pd.read_csv(tmp_path / "b" / "table.csv")["uid"].tolist() == some["uid"].tolist()
    assert f"2 of {len(df)} were taken by hand" in (tmp_path / "b" / "methods.md").read_text()


def changed(df):
    df = df.copy()
    df.loc[0, "pixel_size"] = 7.0
    return df


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (changed, "1 of 6 rows are not what the query gives now"),
        (lambda df: df.assign(mine=1), "the query does not give the columns mine: compute them with"),
        (lambda df: pd.DataFrame(df.to_dict("list")), "do not say which query made them"),
        (lambda df: df.iloc[:0], "gives no row: there is nothing to cite"),
    ],
)
def test_rows_that_nobody_can_trace_are_refused(lab, q, tmp_path, spoil, says):
    df = spoil(q.to_pandas())
    with pytest.raises(UsageError, match=says.replace("of 6", f"of {len(df)}")):
        lab.cite(df, tmp_path / "b", title="t")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, r'^a citation needs a title \(title="Vacancies'),
        ({"title": "t", "creators": ["Doe, Jane (0000-0002-1825-0098)"]}, "is no ORCID; it looks like"),
        ({"title": "t", "creators": [{"nmae": "x"}]}, "a creator has name, orcid, .* not nmae"),
        ({"title": "t", "creators": [" "]}, "a creator has no name"),
    ],
)
def test_what_lacks_is_told(lab, tmp_path, options, says):
    with pytest.raises(UsageError, match=says):
        lab.cite("hardness > 1 GPa", tmp_path / "b", **options)
    assert list(tmp_path.iterdir()) == []


def test_embargoed_images_are_refused_by_name(lab, q, tmp_path):
    one = lab.images[lab.images.name == "01"]
    lab.set_terms(one, embargo_until="2999-01-01")
    try:
        with pytest.raises(
            UsageError, match=r"1 of \d images may not leave the database: '01' is under embargo"
        ):
            lab.cite(q, tmp_path / "b", title="t")
        grouped = lab.images.groupby("sample").agg(n=("uid", "count"))
        with pytest.raises(UsageError, match="'01' is under embargo until 2999"):
            lab.cite(grouped, tmp_path / "b", title="t")
    finally:
        lab.set_terms(one, embargo_until=None)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_kept_or_replaced_whole(lab, q, tmp_path, monkeypatch):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").write_text("kept")
    with pytest.raises(UsageError, match="b exists: choose another folder"):
        lab.cite(q, tmp_path / "b", title="t")
    monkeypatch.setattr("micdb.bundle.citation.folder.write_crate", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        lab.cite(q, tmp_path / "b", title="t", overwrite=True)
    assert [path.name for path in tmp_path.rglob("*")] == ["b", "mine.txt"]
    with pytest.raises(UsageError, match="is inside the database"):
        lab.cite(q, lab.root / "b", title="t")


def test_the_command(lab, tmp_path):
    from typer.testing import CliRunner

    from micdb.cli.app import app

    words = ["cite", "hardness > 1 GPa", "--to", str(tmp_path / "b"), "--title", "t", "--creator", JANE]
    words += ["--columns", "uid,hardness", "--db", str(lab.root), "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["rows"] == lab.images.query("hardness > 1 GPa").count()
    assert pd.read_csv(tmp_path / "b" / "table.csv").columns.tolist() == ["uid", "hardness [GPa]"]

"""The water-mark: what is in the file, what is newer, what is gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest
import sqlalchemy as sa

from micdb.catalog.engine import writing
from micdb.catalog.results import part, run
from micdb.catalog.rows import record
from micdb.catalog.tables import object_
from micdb.errors import StoreError
from micdb.query.search import matrices, similar, vectors
from micdb.store.indexes import VECTORS, index_path, read_index, write_index
from micdb.store.staging import leftovers

planted = SimpleNamespace(**run_path(str(Path(__file__).parents[3] / "data" / "planted" / "vectors.py")))
make = planted.make
SOME = planted.clustered(50, 6, seed=1)


@pytest.fixture
def base(tmp_path):
    context, space = planted.database(tmp_path / "db", SOME)
    return SimpleNamespace(context=context, space=space, root=tmp_path / "db")


def opened(base, **options):
    return matrices.open_matrix(base.context, base.space, **options)


def file_of(base):
    with base.context.engine.connect() as connection:
        uid = connection.execute(sa.select(run.c.uid).where(run.c.pk == base.space.run)).scalar_one()
    return index_path(base.root, uid, "embeddings", base.space.name, VECTORS)


def remove_part(base, path):
    """Let a part be no longer live, as compaction and deletion do."""
    with writing(base.context.engine) as connection:
        key = connection.execute(
            sa.select(object_.c.pk).where(object_.c.path == path.relative_to(base.root).as_posix())
        ).scalar_one()
        connection.execute(part.delete().where(part.c.object_pk == key))
        connection.execute(object_.update().where(object_.c.pk == key).values(state="quarantined"))
    path.unlink()


def parts_of(base):
    with base.context.engine.connect() as connection:
        found = sa.select(object_.c.path).join(part).order_by(part.c.pk)
        return [base.root / path for path in connection.execute(found).scalars()]


def held(matrix):
    """Return image -> vector of every row that counts."""
    rows = matrix.all_rows
    return dict(zip(matrix.images[rows].tolist(), matrix.take(rows).tolist(), strict=True))


EVERYTHING = dict(enumerate(SOME.tolist(), start=1))


def test_nothing_is_decoded_until_it_is_asked_for(base):
    assert opened(base) is None
    assert opened(base, wanted=matrices.MANY - 1) is None
    matrix = opened(base, make=True)
    assert held(matrix) == EVERYTHING
    assert opened(base) is matrix
    assert file_of(base).is_file()


def test_so_many_vectors_wanted_that_it_pays(base, monkeypatch):
    monkeypatch.setattr(matrices, "MANY", 3)
    assert opened(base, wanted=3) is None  # a sixteenth of all is not read
    assert len(opened(base, wanted=4)) == 50


def test_the_file_says_which_event_it_contains(base):
    with writing(base.context.engine) as connection:
        record(connection, "populate", "run")
        record(connection, "populate", "run")
    opened(base, make=True)
    assert read_index(file_of(base)).about["seq"] == 2


def test_vectors_of_newer_parts_are_there_at_once(base):
    opened(base, make=True)
    planted.add(base.context, base.space.run, [51, 52], SOME[:2] + 1)
    matrix = opened(base)
    assert (matrix.filed, matrix.newer) == (50, 2)
    assert held(matrix) == EVERYTHING | dict(zip((51, 52), (SOME[:2] + 1).tolist(), strict=True))
    assert matrix.rows(np.array([2, 52])).tolist() == [1, 51]


def test_a_part_compacted_from_older_ones_is_not_newer(base):
    opened(base, make=True)
    old = parts_of(base)
    planted.add(base.context, base.space.run, np.arange(1, 51), SOME)
    for path in old:
        remove_part(base, path)
    matrix = opened(base)
    assert (matrix.newer, matrix.gone) == (0, None)
    assert held(matrix) == EVERYTHING


def test_compacted_together_with_newer_ones_only_these_are_newer(base):
    opened(base, make=True)
    old = parts_of(base)
    planted.add(base.context, base.space.run, np.arange(1, 61), np.concatenate([SOME, SOME[:10] * 2]))
    for path in old:
        remove_part(base, path)
    matrix = opened(base)
    assert (matrix.newer, matrix.gone) == (10, None)
    assert held(matrix) == EVERYTHING | {51 + i: row for i, row in enumerate((SOME[:10] * 2).tolist())}


def test_what_no_part_holds_any_more_counts_no_longer(base):
    opened(base, make=True)
    first, *_ = parts_of(base)  # images 1 to 17
    planted.add(base.context, base.space.run, [3, 4], SOME[2:4])
    remove_part(base, first)
    matrix = opened(base)
    left = {image: row for image, row in EVERYTHING.items() if image in (3, 4) or image > 17}
    assert held(matrix) == left
    assert matrix.holds(np.arange(1, 51)).tolist() == [image in left for image in range(1, 51)]
    found = similar.rank(base.context, SOME[0], np.arange(1, 51), by=planted.NAME, k=99)
    assert sorted(found.table["image"].to_pylist()) == sorted(left)
    assert found.skipped == 15


def test_an_image_in_two_parts_counts_once(base):
    planted.add(base.context, base.space.run, [50, 51], SOME[:2])
    matrix = opened(base, make=True)
    assert held(matrix) == EVERYTHING | {51: SOME[1].tolist()}
    planted.add(base.context, base.space.run, [51, 52], SOME[:2])
    assert held(opened(base)) == EVERYTHING | {51: SOME[1].tolist(), 52: SOME[1].tolist()}


@pytest.mark.parametrize("cut", [0, 100, -1])
def test_a_damaged_file_is_as_good_as_none_and_is_made_again(base, cut):
    opened(base, make=True)
    whole = file_of(base).read_bytes()
    file_of(base).write_bytes(whole[:cut])
    assert opened(base) is None
    found = similar.rank(base.context, SOME[4], np.arange(1, 51), by=planted.NAME, k=1)
    assert found.table["image"].to_pylist() == [5]
    assert held(opened(base, make=True)) == EVERYTHING


def test_a_file_of_another_run_or_shape_is_not_believed(base):
    opened(base, make=True)
    path = file_of(base)
    read = read_index(path)
    arrays, about = dict(read.arrays), dict(read.about)
    for change in (
        {"run": "other"},
        {"space": "other"},
        {"dim": 7},
        {"metric": "euclidean"},
        {"table": "patches"},
    ):
        write_index(base.root, path, about | change, arrays)
        assert opened(base) is None, change
    for name, wrong in (
        ("vectors", SOME[:49]),
        ("order", arrays["order"][:9]),
        ("images", arrays["vectors"]),
    ):
        write_index(base.root, path, about, arrays | {name: wrong})
        assert opened(base) is None, name
    write_index(base.root, path, about, {name: array for name, array in arrays.items() if name != "mark"})
    assert opened(base) is None
    write_index(base.root, path, about, arrays)
    assert held(opened(base)) == EVERYTHING


def test_a_folder_that_cannot_be_written_only_means_no_file(base, monkeypatch):
    def refuse(*_arguments):
        raise PermissionError("read-only file system")

    monkeypatch.setattr(matrices, "write_index", refuse)
    monkeypatch.setattr(matrices, "MANY", 1)
    for _ in range(2):
        found = similar.rank(base.context, SOME[4], np.arange(1, 51), by=planted.NAME, k=1)
        assert found.table["image"].to_pylist() == [5]
        assert found.path == "exact over 50 vectors in planted@1nm"
    assert not file_of(base).exists()


def test_much_that_is_newer_makes_the_file_again(base, monkeypatch):
    monkeypatch.setattr(matrices, "STALE", 5)
    opened(base, make=True)
    planted.add(base.context, base.space.run, np.arange(51, 61), SOME[:10])
    assert opened(base).newer == 10
    matrix = opened(base, make=True)
    assert (matrix.filed, matrix.newer) == (60, 0)


def test_readers_of_a_replaced_file_go_on(base):
    old = opened(base, make=True)
    planted.add(base.context, base.space.run, [51], SOME[:1])
    matrices.write(base.context, base.space)
    assert len(opened(base)) == 51
    assert held(old) == EVERYTHING


BUILD = """
import sys
from pathlib import Path
from micdb.catalog.engine import sqlite_engine
from micdb.query.context import Context
from micdb.query.search import matrices, vectors
root = Path(sys.argv[1])
context = Context(sqlite_engine(root / "catalog.sqlite"), root, None, None)
(space,) = vectors.spaces(context, "planted")
for _ in range(5):
    matrices.write(context, space)
print(len(matrices.open_matrix(context, space)))
"""


def test_several_processes_may_write_at_once(base):
    command = [sys.executable, "-c", BUILD, str(base.root)]
    several = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [one.communicate(timeout=120)[0] for one in several] == ["50\n"] * 3
    assert held(opened(base)) == EVERYTHING
    assert [path.name for path in (base.root / "indexes").iterdir()] == [file_of(base).name]
    assert list(leftovers(base.root, remove=False)) == []


def test_a_missing_part_is_named(base):
    opened(base, make=True)
    path = planted.add(base.context, base.space.run, [51], SOME[:1])
    path.unlink()
    with pytest.raises(StoreError, match=path.name):
        opened(base)


def test_the_process_keeps_only_some_spaces_open(tmp_path, monkeypatch):
    monkeypatch.setattr(matrices, "KEPT", 2)
    for number in range(3):
        context, space = planted.database(tmp_path / str(number), SOME[:5], parts=1)
        matrices.open_matrix(context, space, make=True)
    assert len(matrices._open) == 2


def test_zero_rows(tmp_path):
    context = make.database(tmp_path / "db")
    make.add_run(context, "planted", spaces=[(planted.NAME, 3, 1.0, "cosine")])
    (space,) = vectors.spaces(context, "planted")
    matrix = matrices.open_matrix(context, space, make=True)
    assert (len(matrix), matrix.rows(np.array([1, 2])).tolist()) == (0, [])
    assert matrix.holds(np.array([1, 2])).tolist() == [False, False]
    assert matrix.file.path.is_file()

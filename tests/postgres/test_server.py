"""A server is used as it should be, and what it has to say reaches the user in words that help."""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa

from micdb.catalog import postgres
from micdb.catalog.engine import open_engine, place, postgres_engine, reading, writing
from micdb.catalog.postgres import parse_url, shown
from micdb.catalog.tables import lab, property_value, setting
from micdb.errors import CatalogError, UsageError
from micdb.provenance import uuid7


def add_lab(connection, name):
    connection.execute(lab.insert(), {"uid": uuid7(), "name": name})


def names(engine):
    with reading(engine) as connection:
        return sorted(connection.scalars(sa.select(lab.c.name)))


# ---------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (
            "mysql://ada:s3cret@host/lab",
            r"mysql:// is no kind of database micdb knows; write postgresql://user@",
        ),
        ("postgresql://ada:s3cret@host", r"postgresql://ada@host names no database; write"),
        ("postgresql://ada:s3cret@host:port/lab", "cannot be read; write .* with % for signs in a password"),
    ],
)
def test_an_address_that_cannot_be_one_says_what_one_is(address, message):
    with pytest.raises(UsageError, match=message) as caught:
        parse_url(address)
    assert "s3cret" not in str(caught.value)


def test_an_address_is_shown_without_its_secrets():
    assert shown("postgresql://host/lab?sslpassword=s3cret") == "postgresql://host/lab"
    address = "postgresql://ada@host:5433/lab?sslmode=require&password=s3cret"
    assert shown(address) == "postgresql://ada@host:5433/lab?sslmode=require"
    engine = postgres_engine(address)
    assert place(engine) == shown(address)
    assert "s3cret" not in repr(engine)
    assert shown("lab.micdb") == "lab.micdb"


def test_postgres_is_another_word_for_postgresql():
    assert parse_url("postgres://ada@host/lab") == parse_url("postgresql://ada@host/lab")


# ---------------------------------------------------------------------- transactions


def test_an_engine_opens_again_from_its_url(pg_engine):
    with writing(pg_engine) as connection:
        add_lab(connection, "A")
    again = open_engine(pg_engine.url)
    assert names(again) == ["A"]
    again.dispose()


def test_writers_take_turns_from_their_first_statement(pg_engine):
    """Nobody can even look inside a write transaction while another is open."""
    with writing(pg_engine) as first:
        with pg_engine.connect() as other:
            locked = other.exec_driver_sql(
                f"SELECT pg_try_advisory_xact_lock({postgres.WRITE_LOCK})"
            ).scalar()
        assert locked is False
        assert first.exec_driver_sql("SHOW transaction_isolation").scalar() == "read committed"
    with pg_engine.connect() as other:
        assert (
            other.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock({postgres.WRITE_LOCK})").scalar() is True
        )


def test_a_reader_may_make_temporary_tables_and_writes_nothing(pg_engine):
    with reading(pg_engine) as connection:
        assert connection.exec_driver_sql("SHOW transaction_isolation").scalar() == "repeatable read"
        connection.exec_driver_sql("CREATE TEMPORARY TABLE mine AS SELECT 7 AS seven")
        assert connection.exec_driver_sql("SELECT seven FROM mine").scalar() == 7
        add_lab(connection, "never")
    assert names(pg_engine) == []
    with reading(pg_engine) as connection:
        assert connection.exec_driver_sql("SELECT to_regclass('mine')").scalar() is None


def test_a_server_that_was_started_anew_is_no_error(pg_server, pg_engine):
    with pg_engine.connect() as one:
        pid = one.exec_driver_sql("SELECT pg_backend_pid()").scalar()
    pg_server.say(f"SELECT pg_terminate_backend({pid}, 5000)")
    assert names(pg_engine) == []


# ---------------------------------------------------------------------- errors


def test_a_writer_that_waits_in_vain_is_told_who_writes(pg_url, monkeypatch):
    monkeypatch.setattr(postgres, "WAIT", 200)
    one, other = postgres_engine(pg_url), postgres_engine(pg_url)
    with (
        writing(one),
        pytest.raises(
            CatalogError,
            match=r"another write took longer than .* micdb .*:\d+ of user \w+ on .* holds the lock for \d+ s"
            r"; end that program, or its session with SELECT pg_terminate_backend\(\d+\); nothing was",
        ),
        writing(other) as connection,
    ):
        add_lab(connection, "never")
    with writing(other) as connection:
        add_lab(connection, "later")
    assert names(one) == ["later"]
    one.dispose()
    other.dispose()


def test_a_writer_that_hangs_is_ended(pg_engine, monkeypatch):
    monkeypatch.setattr(postgres, "SILENCE", 100)
    with pytest.raises(CatalogError, match=r"silent for .* in the middle of a write.*nothing was committed"):  # noqa: SIM117
        with writing(pg_engine) as connection:
            add_lab(connection, "never")
            time.sleep(0.5)
            add_lab(connection, "never either")
    assert names(pg_engine) == []


def test_a_session_that_is_ended_commits_nothing(pg_engine):
    told = pytest.raises(
        CatalogError, match="stopped or started anew; nothing was committed: run the same again"
    )
    with told, writing(pg_engine) as connection:
        add_lab(connection, "never")
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        with pg_engine.connect() as other:
            other.exec_driver_sql(f"SELECT pg_terminate_backend({pid}, 5000)")
        add_lab(connection, "never either")
    assert names(pg_engine) == []


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("53100", "the server's disk is full; nothing was committed: run the same again when there is room"),
        ("53300", "no connection left; end some clients, or raise its max_connections"),
        ("25006", "takes no writes .* use the primary server"),
        ("40001", "ran into another session of the server; nothing was committed: run the same again"),
        ("XX001", "is damaged: .* restore it from a backup"),
    ],
)
def test_what_the_server_says_comes_with_what_mends_it(pg_engine, code, message):
    raising = f"DO $$ BEGIN RAISE EXCEPTION 'as it says' USING ERRCODE = '{code}'; END $$"
    with pytest.raises(CatalogError, match=message) as caught, writing(pg_engine) as connection:
        connection.exec_driver_sql(raising)
    assert "as it says" in str(caught.value)


def test_a_bug_of_ours_stays_a_bug(pg_engine):
    with pytest.raises(sa.exc.ProgrammingError), reading(pg_engine) as connection:
        connection.exec_driver_sql("SELECT nonsense")


def test_an_unknown_database_names_the_command(pg_url):
    engine = postgres_engine(pg_url.set(database="nowhere"))
    with pytest.raises(CatalogError, match="no such database: make it with createdb, then micdb init"):
        names(engine)


def test_a_server_that_is_not_there(pg_url):
    engine = postgres_engine("postgresql://ada:s3cret@127.0.0.1:1/lab")
    with pytest.raises(CatalogError, match="is the server running, and are host and port right") as caught:
        names(engine)
    assert "s3cret" not in str(caught.value)


def test_an_old_server_is_refused(pg_url, monkeypatch):
    monkeypatch.setattr(postgres, "OLDEST", 99)
    with pytest.raises(CatalogError, match=r"the server is PostgreSQL \d+, micdb needs 99 or newer"):
        names(postgres_engine(pg_url))


@pytest.fixture
def stranger(pg_server, pg_url):
    """Make a user without any right, who needs a password."""
    user = f"{pg_url.database}_user"
    pg_server.say(f"CREATE ROLE {user} LOGIN PASSWORD 's3cret'")
    rules = pg_server.ask("SELECT pg_read_file(current_setting('hba_file'))")
    file = pg_server.ask("SELECT current_setting('hba_file')")

    def write(text):
        pg_server.say(f"COPY (SELECT unnest(string_to_array($hba${text}$hba$, chr(10)))) TO '{file}'")
        pg_server.say("SELECT pg_reload_conf()")

    write(f"local all {user} scram-sha-256\nhost all {user} all scram-sha-256\n{rules}")
    yield user
    write(rules)
    pg_server.say(f"DROP ROLE {user}")


def test_passwords_and_rights(pg_url, stranger):
    for password, message in [
        (
            "wr0ng",
            "password authentication failed.*the password is wrong: give it in the address, in PGPASSWORD",
        ),
        (None, "a password is needed"),
        ("s3cret", "no right to do that; ask the owner of the database to GRANT it"),
    ]:
        address = sa.URL.create(
            pg_url.drivername, stranger, password, pg_url.host, pg_url.port, pg_url.database, pg_url.query
        )
        engine = postgres_engine(address)
        deadline = time.monotonic() + 5  # the server takes new rules a moment after it is asked to
        while True:
            with pytest.raises(CatalogError) as caught:
                names(engine)
            said = str(caught.value)
            if "no right" not in said or password == "s3cret" or time.monotonic() > deadline:
                break
            engine.dispose()
            time.sleep(0.05)
        assert caught.match(message)
        assert "wr0ng" not in said and "s3cret" not in said
        engine.dispose()


# ---------------------------------------------------------------------- values


def test_text_that_no_server_holds_is_refused_with_its_reason(pg_engine):
    with pytest.raises(UsageError, match="holds the character NUL, for which PostgreSQL has no place"):  # noqa: SIM117
        with writing(pg_engine) as connection:
            add_lab(connection, "a\0b")
    with pytest.raises(UsageError, match="holds the character NUL"), writing(pg_engine) as connection:
        connection.execute(setting.insert(), {"name": "x", "value": {"a": "\0"}})


@pytest.fixture
def engine(tmp_path, new_catalog):
    return new_catalog(tmp_path)


def test_half_a_surrogate_pair_is_refused(engine):
    with pytest.raises(UsageError, match=r"'a\\udcff' holds half of a surrogate pair"):  # noqa: SIM117
        with writing(engine) as connection:
            add_lab(connection, "a\udcff")


def test_nan_is_unknown(engine):
    row = {
        "uid": "u", "property_def_pk": 1, "level": "image", "origin": "user", "source_name": "s",
        "natural_key": "k", "created_at": "t", "value": float("nan"), "sd": float("inf"),
    }  # fmt: skip
    v = property_value.c
    with writing(engine) as connection:
        connection.exec_driver_sql(
            "INSERT INTO property_def (pk, uid, name, kind) VALUES (1, 'd', 'hardness', 'number')"
        )
        connection.execute(property_value.insert(), row)
        found = connection.execute(sa.select(v.value, v.sd)).one()
        assert connection.scalar(sa.select(sa.func.count()).where(v.value.is_(None))) == 1
    assert tuple(found) == (None, float("inf"))

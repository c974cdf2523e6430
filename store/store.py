"""The three things that last, opened together from the settings."""

from __future__ import annotations

from dataclasses import dataclass

from config.settings import Settings
from store.blobs import Blobs
from store.database import Database
from store.queue import JobQueue


@dataclass(frozen=True)
class Store:
    database: Database
    blobs: Blobs
    queue: JobQueue

    @classmethod
    def open(cls, settings: Settings) -> Store:
        return cls(Database(settings.database), Blobs(settings.data_dir), JobQueue(settings.redis))

    def close(self) -> None:
        self.database.close()
        self.queue.redis.close()

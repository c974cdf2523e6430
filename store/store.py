"""The three things that last, and what goes with them, opened together from the settings."""

from __future__ import annotations

from dataclasses import dataclass, replace

from config.settings import Settings
from imaging.decoder_pool import Decoders
from store.db.access import Caller
from store.db.database import Database
from store.files.blobs import Blobs
from store.files.capacity import Room
from store.files.partial_uploads import UnfinishedFiles
from store.queue import JobQueue


@dataclass(frozen=True)
class Store:
    database: Database
    blobs: Blobs
    unfinished: UnfinishedFiles
    queue: JobQueue
    room: Room
    decoders: Decoders

    @classmethod
    def open(cls, settings: Settings) -> Store:
        database, blobs, queue = Database(settings.database), Blobs(settings.data_dir), JobQueue(settings.redis)
        unfinished = UnfinishedFiles(settings.data_dir)
        room = Room([blobs.root, unfinished.root], settings.max_storage_bytes, settings.min_free_bytes)
        return cls(database, blobs, unfinished, queue, room, Decoders(settings))

    def seen_by(self, caller: Caller) -> Store:
        """The same store, with the records that the caller sees."""
        return replace(self, database=self.database.seen_by(caller))

    def close(self) -> None:
        self.database.close()
        self.queue.close()
        self.decoders.close()

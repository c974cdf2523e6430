"""The database, the files and the queue, opened together from the settings."""

from __future__ import annotations

from dataclasses import dataclass, replace

from config.settings import Settings
from imaging.decoder_pool import DecoderPool
from store.db.access import LOCAL, Caller
from store.db.database import Database
from store.files.blobs import Blobs
from store.files.partial_uploads import PartialUploads
from store.files.quota import StorageQuota
from store.files.storage import open_storage
from store.leases import Leases
from store.queue import JobQueue


@dataclass(frozen=True)
class Store:
    database: Database
    blobs: Blobs
    partial_uploads: PartialUploads
    queue: JobQueue
    quota: StorageQuota
    decoders: DecoderPool
    leases: Leases

    @classmethod
    def open(cls, settings: Settings) -> Store:
        database = Database(settings.database, settings.database_connections)
        leases = Leases(database, settings.lease_seconds)
        storage = open_storage(settings, database, leases)
        queue, decoders = JobQueue(settings.redis), DecoderPool(settings)
        return cls(database, storage.blobs, storage.partial_uploads, queue, storage.quota, decoders, leases)

    def as_caller(self, caller: Caller) -> Store:
        """Returns the same store, limited to the records that the caller may see."""
        return replace(self, database=self.database.as_caller(caller))

    def as_anyone(self) -> Store:
        """Returns the same store with all records visible: for what must count those of others."""
        return self.as_caller(LOCAL)

    def close(self) -> None:
        self.blobs.close()
        self.leases.close()
        self.database.close()
        self.queue.close()
        self.decoders.close()

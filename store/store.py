"""The database, the files and the queue, opened together from the settings."""

from __future__ import annotations

from dataclasses import dataclass, replace

from config.settings import Settings
from imaging.decoder_pool import DecoderPool
from store.db.access import Caller
from store.db.database import Database
from store.files.blobs import Blobs
from store.files.partial_uploads import PartialUploads
from store.files.quota import StorageQuota
from store.queue import JobQueue


@dataclass(frozen=True)
class Store:
    database: Database
    blobs: Blobs
    partial_uploads: PartialUploads
    queue: JobQueue
    quota: StorageQuota
    decoders: DecoderPool

    @classmethod
    def open(cls, settings: Settings) -> Store:
        database = Database(settings.database, settings.database_connections)
        blobs, queue = Blobs(settings.data_dir), JobQueue(settings.redis)
        partial_uploads = PartialUploads(settings.data_dir)
        quota = StorageQuota([blobs.root, partial_uploads.root], settings.max_storage_bytes, settings.min_free_bytes)
        return cls(database, blobs, partial_uploads, queue, quota, DecoderPool(settings))

    def as_caller(self, caller: Caller) -> Store:
        """Returns the same store, limited to the records that the caller may see."""
        return replace(self, database=self.database.as_caller(caller))

    def close(self) -> None:
        self.database.close()
        self.queue.close()
        self.decoders.close()

"""Deletes old idempotency keys."""

from __future__ import annotations

from store.repositories.idempotency import IdempotencyRepository
from worker.maintenance.duty import Duty


class PurgeIdempotencyKeys(Duty):
    """Deletes keys older than PATINA_IDEMPOTENCY_KEY_SECONDS; a retry with such a key is a new request."""

    def run(self) -> None:
        with self.store.database.write() as session:
            IdempotencyRepository(session).purge(self.settings.idempotency_key_seconds)

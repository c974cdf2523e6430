"""Deletes old webhook deliveries."""

from __future__ import annotations

from store.repositories.webhooks import Outbox
from worker.maintenance.duty import Duty


class PurgeDeliveries(Duty):
    """Deletes the records of deliveries that ended long ago."""

    def run(self) -> None:
        with self.store.database.write() as session:
            Outbox(session).purge()

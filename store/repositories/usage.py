"""What tokens have used lately, for their limits."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Integer, cast, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from store.db.tables import Usage, now

HOUR = 3600.0
WINDOW_HOURS = 24
INSERT = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
THIS_HOUR = cast(func.floor(now() / HOUR), Integer)
LATELY = Usage.hour > THIS_HOUR - WINDOW_HOURS


class UsageRepository:
    def __init__(self, session: Session):
        self.session = session

    def add(self, owner: str, *, worker_seconds: float = 0.0, received_bytes: int = 0) -> None:
        """Counts what a token used just now."""
        added = {"worker_seconds": worker_seconds, "received_bytes": received_bytes}
        insert: Any = INSERT[self.session.get_bind().dialect.name]
        statement = insert(Usage).values(owner=owner, hour=THIS_HOUR, **added)
        self.session.execute(
            statement.on_conflict_do_update(
                index_elements=[Usage.owner, Usage.hour],
                set_={name: getattr(Usage, name) + value for name, value in added.items()},
            )
        )

    def worker_seconds(self, owner: str) -> float:
        """Returns the seconds that workers spent on a token's jobs in the last 24 hours, to the hour."""
        return self.session.scalar(select(func.sum(Usage.worker_seconds)).where(Usage.owner == owner, LATELY)) or 0.0

    def received_bytes(self, owner: str) -> int:
        """Returns the bytes that a token sent in the last 24 hours, to the hour."""
        return int(self.session.scalar(select(func.sum(Usage.received_bytes)).where(Usage.owner == owner, LATELY)) or 0)

    def purge(self) -> None:
        """Deletes what no limit counts anymore."""
        self.session.execute(delete(Usage).where(~LATELY))

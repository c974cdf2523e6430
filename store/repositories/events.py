"""Queries on jobs' events. They are numbered without gaps, so a listener can resume after the last one it has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from store.db.tables import Event, Job


@dataclass(frozen=True)
class NewEvent:
    kind: str
    data: dict[str, Any]


class EventRepository:
    def __init__(self, session: Session):
        self.session = session

    def add(self, job_id: str, events: Sequence[NewEvent]) -> None:
        """Adds events to the job; nothing if the job is gone.

        The job's row is locked while numbers are given, so whoever sees one event has seen all before it.
        """
        count = update(Job).where(Job.id == job_id).values(event_count=Job.event_count + len(events))
        last = self.session.scalar(count.returning(Job.event_count), execution_options={"synchronize_session": False})
        if last is not None:
            first = last - len(events) + 1
            self.session.add_all(
                Event(job_id=job_id, number=number, kind=event.kind, data=event.data)
                for number, event in enumerate(events, first)
            )

    def list_after(self, job_id: str, number: int, limit: int) -> Sequence[Event]:
        """Returns at most `limit` events with higher numbers, in their order."""
        query = select(Event).where(Event.job_id == job_id, Event.number > number).order_by(Event.number).limit(limit)
        return self.session.scalars(query).all()

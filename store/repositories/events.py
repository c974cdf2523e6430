"""Queries on what happened in jobs. Events are numbered without gaps, so that a listener can go on where it was."""

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
        """Nothing where the job is gone.

        Numbers are given under the lock of the job's row: who has seen one has seen all before it.
        """
        counted = update(Job).where(Job.id == job_id).values(events=Job.events + len(events)).returning(Job.events)
        last = self.session.scalar(counted, execution_options={"synchronize_session": False})
        if last is not None:
            first = last - len(events) + 1
            self.session.add_all(
                Event(job_id=job_id, number=number, kind=event.kind, data=event.data)
                for number, event in enumerate(events, first)
            )

    def after(self, job_id: str, number: int, limit: int) -> Sequence[Event]:
        """The first of those after `number`, in their order."""
        query = select(Event).where(Event.job_id == job_id, Event.number > number).order_by(Event.number).limit(limit)
        return self.session.scalars(query).all()

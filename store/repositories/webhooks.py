"""Queries on webhooks, and the outbox: what is to be told of jobs that ended, written as they end.

A message and the job's end are one transaction, so that none is lost and none is sent of what was not recorded.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import CursorResult, case, delete, func, insert, select, update
from sqlalchemy.orm import Session

from store.db.access import caller_of
from store.db.tables import Delivery, Job, Webhook, now
from store.ids import new_id

EVENTS = ("job.succeeded", "job.failed", "job.canceled")
SECRET_BYTES = 32
SECRET_PREFIX = "whsec_"  # as the Standard Webhooks specification has it
OF_ONE_OWNER = 4  # messages that are sent at once
KEPT_SECONDS = 30 * 86_400  # how long it can be seen what became of a message


@dataclass(frozen=True)
class Counts:
    """Of a webhook's messages."""

    waiting: int = 0
    delivered: int = 0
    given_up: int = 0


class WebhookRepository:
    def __init__(self, session: Session):
        self.session = session

    def create(self, url: str, events: Sequence[str]) -> Webhook:
        secret = SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
        owner = caller_of(self.session).token
        webhook = Webhook(id=new_id(), owner=owner, url=url, events=list(events), secret=secret)
        self.session.add(webhook)
        self.session.flush()
        return webhook

    def get(self, webhook_id: str) -> Webhook | None:
        return self.session.get(Webhook, webhook_id)

    def page(self, *, before: str | None, limit: int) -> Sequence[Webhook]:
        """The newest first, those older than `before`."""
        query = select(Webhook).order_by(Webhook.id.desc()).limit(limit)
        if before is not None:
            query = query.where(Webhook.id < before)
        return self.session.scalars(query).all()

    def number_of_own(self) -> int:
        own = Webhook.owner.is_not_distinct_from(caller_of(self.session).token)
        return self.session.scalar(select(func.count()).select_from(Webhook).where(own)) or 0

    def counts(self, webhook_ids: Sequence[str]) -> dict[str, Counts]:
        """By the webhook's id; those that have no messages are left out."""
        became = case(
            (Delivery.delivered.is_not(None), "delivered"), (Delivery.due.is_(None), "given_up"), else_="waiting"
        )
        query = (
            select(Delivery.webhook_id, became, func.count())
            .where(Delivery.webhook_id.in_(webhook_ids))
            .group_by(Delivery.webhook_id, became)
        )
        found: dict[str, dict[str, int]] = {}
        for webhook_id, what, number in self.session.execute(query):
            found.setdefault(webhook_id, {})[what] = number
        return {webhook_id: Counts(**numbers) for webhook_id, numbers in found.items()}

    def delete(self, webhook_id: str) -> None:
        """With its messages, sent or not."""
        self.session.execute(delete(Webhook).where(Webhook.id == webhook_id))


class Outbox:
    def __init__(self, session: Session):
        self.session = session

    def announce(self, job_ids: Sequence[str]) -> None:
        """A message about each of these jobs, which have just ended, for each webhook of its owner that wants it."""
        # The tables and not their classes: whoever ended the job may not see its owner's webhooks.
        jobs, hooks = Job.__table__, Webhook.__table__
        query = (
            select(jobs, hooks.c.id.label("webhook_id"), hooks.c.events.label("wanted"))
            .join(hooks, hooks.c.owner.is_not_distinct_from(jobs.c.owner))
            .where(jobs.c.id.in_(job_ids))
        )
        for row in self.session.execute(query).mappings().all():
            event = f"job.{row['status']}"
            if event in row["wanted"]:
                message = {
                    "id": new_id(),
                    "webhook_id": row["webhook_id"],
                    "job_id": row["id"],
                    "event": event,
                    "body": _body(event, dict(row)),
                    "attempts": 0,
                    "due": now(),
                    "created": now(),
                }
                self.session.execute(insert(Delivery.__table__).values(**message))  # type: ignore[arg-type]

    def page(self, webhook_id: str, *, before: str | None, limit: int) -> Sequence[Delivery]:
        """A webhook's messages, the newest first, those older than `before`."""
        query = select(Delivery).where(Delivery.webhook_id == webhook_id).order_by(Delivery.id.desc()).limit(limit)
        if before is not None:
            query = query.where(Delivery.id < before)
        return self.session.scalars(query).all()

    def take(self, limit: int, seconds: float) -> list[tuple[Delivery, Webhook]]:
        """Messages that are due, for this caller alone; who does not say in so many seconds what became of one, lets
        it be due again.
        """
        # Not all of one owner's, whose receivers may take their time, before those of others.
        place = func.row_number().over(partition_by=Webhook.owner, order_by=Delivery.due)
        due = select(Delivery.id, place.label("place")).join(Webhook).where(Delivery.due <= now()).subquery()
        query = select(Delivery, Webhook).join(Webhook).join(due, due.c.id == Delivery.id)
        query = query.where(due.c.place <= OF_ONE_OWNER).order_by(Delivery.due).limit(limit)
        rows = [(row.Delivery, row.Webhook) for row in self.session.execute(query)]
        # Another process may have been quicker with any of them.
        return [
            (delivery, webhook)
            for delivery, webhook in rows
            if self._update(delivery.id, delivery.attempts, attempts=delivery.attempts + 1, due=now() + seconds)
        ]

    def delivered(self, delivery_id: str, attempt: int, status: int) -> None:
        """The message was sent for the `attempt`th time, and taken."""
        self._update(delivery_id, attempt, due=None, delivered=now(), status=status, error=None)

    def failed(self, delivery_id: str, attempt: int, *, status: int | None, error: str, again_in: float | None) -> None:
        """It was not taken. `again_in` seconds it is sent again; None: never."""
        due = None if again_in is None else now() + again_in
        self._update(delivery_id, attempt, due=due, status=status, error=error)

    def forget_old(self) -> None:
        self.session.execute(delete(Delivery).where(Delivery.created < now() - KEPT_SECONDS))

    def _update(self, delivery_id: str, attempt: int, **changes: Any) -> bool:
        # Who took it holds the number of its attempt, and nobody else can say what became of that.
        one = (Delivery.id == delivery_id) & (Delivery.attempts == attempt) & Delivery.due.is_not(None)
        statement = update(Delivery).where(one).values(**changes)
        result = self.session.execute(statement, execution_options={"synchronize_session": False})
        assert isinstance(result, CursorResult)
        return bool(result.rowcount)


def _body(event: str, job: dict[str, Any]) -> str:
    """What is sent, the same however often."""
    data = {
        "id": job["id"],
        "kind": job["kind"],
        "status": job["status"],
        "dataset": job["dataset_id"],
        "model": job["model_id"],
        "counts": {"ok": job["ok"], "failed": job["failed"]},
        "error": job["error"],
        "links": {"self": f"/jobs/{job['id']}"},
    }
    time = datetime.fromtimestamp(job["finished"], UTC).isoformat().replace("+00:00", "Z")
    return json.dumps({"type": event, "timestamp": time, "data": data}, ensure_ascii=False, separators=(",", ":"))

"""Queries on webhooks, and the outbox: messages about ended jobs, written in the transaction that ends the job.

So no message is lost, and none is sent about an end that was not recorded.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import case, delete, func, insert, select, update
from sqlalchemy.orm import Session

from config.settings import settings
from store.db.access import caller_of
from store.db.statements import execute_counted, list_newest
from store.db.tables import Delivery, Job, Webhook, now
from store.ids import new_id

EVENTS = ("job.succeeded", "job.failed", "job.canceled")
SECRET_BYTES = 32
SECRET_PREFIX = "whsec_"  # of the Standard Webhooks specification
PER_OWNER_LIMIT = 4  # messages of one owner that are sent at once
RETENTION_SECONDS = 30 * 86_400  # how long deliveries can be listed


@dataclass(frozen=True)
class DeliveryCounts:
    """The number of a webhook's messages by their state."""

    waiting: int = 0
    delivered: int = 0
    abandoned: int = 0


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

    def list_newest(self, *, before: str | None, limit: int) -> Sequence[Webhook]:
        return list_newest(self.session, Webhook, before=before, limit=limit)

    def count_owned(self) -> int:
        owned = Webhook.owner.is_not_distinct_from(caller_of(self.session).token)
        return self.session.scalar(select(func.count()).select_from(Webhook).where(owned)) or 0

    def count_deliveries(self, webhook_ids: Sequence[str]) -> dict[str, DeliveryCounts]:
        """Returns counts by the webhook's id. Webhooks without messages are left out."""
        state = case(
            (Delivery.delivered_at.is_not(None), "delivered"),
            (Delivery.next_attempt_at.is_(None), "abandoned"),
            else_="waiting",
        )
        query = (
            select(Delivery.webhook_id, state, func.count())
            .where(Delivery.webhook_id.in_(webhook_ids))
            .group_by(Delivery.webhook_id, state)
        )
        counts: dict[str, dict[str, int]] = {}
        for webhook_id, name, count in self.session.execute(query):
            counts.setdefault(webhook_id, {})[name] = count
        return {webhook_id: DeliveryCounts(**by_state) for webhook_id, by_state in counts.items()}

    def delete(self, webhook_id: str) -> None:
        """Deletes the webhook and its messages, sent or not."""
        self.session.execute(delete(Webhook).where(Webhook.id == webhook_id))


class Outbox:
    def __init__(self, session: Session):
        self.session = session

    def enqueue(self, job_ids: Sequence[str]) -> None:
        """Adds a message about each of these ended jobs for each webhook of its owner that subscribes to the event."""
        # The tables and not their classes: whoever ended the job may not see its owner's webhooks.
        jobs, hooks = Job.__table__, Webhook.__table__
        query = (
            select(jobs, hooks.c.id.label("webhook_id"), hooks.c.events.label("subscribed"))
            .join(hooks, hooks.c.owner.is_not_distinct_from(jobs.c.owner))
            .where(jobs.c.id.in_(job_ids))
        )
        for row in self.session.execute(query).mappings().all():
            event = f"job.{row['status']}"
            if event in row["subscribed"]:
                message = {
                    "id": new_id(),
                    "webhook_id": row["webhook_id"],
                    "job_id": row["id"],
                    "event": event,
                    "body": _body(event, dict(row)),
                    "attempts": 0,
                    "next_attempt_at": now(),
                    "created_at": now(),
                }
                self.session.execute(insert(Delivery.__table__).values(**message))  # type: ignore[arg-type]

    def list_newest(self, webhook_id: str, *, before: str | None, limit: int) -> Sequence[Delivery]:
        return list_newest(self.session, Delivery, Delivery.webhook_id == webhook_id, before=before, limit=limit)

    def claim_due(self, limit: int, seconds: float) -> list[tuple[Delivery, Webhook]]:
        """Returns messages that are due, for this caller alone.

        A message is due again after `seconds`, unless its outcome is recorded before.
        """
        # Receivers of one owner may be slow, so at most a few of his messages go before those of others.
        place = func.row_number().over(partition_by=Webhook.owner, order_by=Delivery.next_attempt_at)
        due = select(Delivery.id, place.label("place")).join(Webhook).where(Delivery.next_attempt_at <= now())
        ranked = due.subquery()
        query = select(Delivery, Webhook).join(Webhook).join(ranked, ranked.c.id == Delivery.id)
        query = query.where(ranked.c.place <= PER_OWNER_LIMIT).order_by(Delivery.next_attempt_at).limit(limit)
        rows = [(row.Delivery, row.Webhook) for row in self.session.execute(query)]
        # Another process may have claimed some of them first.
        return [
            (delivery, webhook)
            for delivery, webhook in rows
            if self._update(
                delivery.id, delivery.attempts, attempts=delivery.attempts + 1, next_attempt_at=now() + seconds
            )
        ]

    def record_delivered(self, delivery_id: str, attempt: int, status: int) -> None:
        """Records that the receiver accepted this attempt with the HTTP status `status`."""
        self._update(delivery_id, attempt, next_attempt_at=None, delivered_at=now(), status=status, error=None)

    def record_failed(
        self, delivery_id: str, attempt: int, *, status: int | None, error: str, retry_in: float | None
    ) -> None:
        """Records that this attempt failed. The next one is due in `retry_in` seconds; None abandons the message."""
        next_attempt_at = None if retry_in is None else now() + retry_in
        self._update(delivery_id, attempt, next_attempt_at=next_attempt_at, status=status, error=error)

    def purge(self) -> None:
        """Deletes messages older than `RETENTION_SECONDS`."""
        self.session.execute(delete(Delivery).where(Delivery.created_at < now() - RETENTION_SECONDS))

    def _update(self, delivery_id: str, attempt: int, **changes: Any) -> bool:
        # The number of the attempt fences writes: nobody else can record its outcome.
        claimed = (Delivery.id == delivery_id) & (Delivery.attempts == attempt) & Delivery.next_attempt_at.is_not(None)
        return bool(execute_counted(self.session, update(Delivery).where(claimed).values(**changes)))


def _body(event: str, job: dict[str, Any]) -> str:
    """Returns the body of the message, the same for every attempt."""
    data = {
        "id": job["id"],
        "kind": job["kind"],
        "status": job["status"],
        "dataset": job["dataset_id"],
        "model": job["model_id"],
        "counts": {"ok": job["ok"], "failed": job["failed"]},
        "error": job["error"],
        "links": {"self": f"{settings().root_path}/jobs/{job['id']}"},
    }
    time = datetime.fromtimestamp(job["finished_at"], UTC).isoformat().replace("+00:00", "Z")
    return json.dumps({"type": event, "timestamp": time, "data": data}, ensure_ascii=False, separators=(",", ":"))

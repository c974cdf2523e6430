"""Webhook service."""

from __future__ import annotations

from http import HTTPStatus

from app.auth.revocation import require_valid
from app.http.problems import ProblemError, not_found
from app.http.schemas import Page, next_cursor
from app.webhooks.schemas import DeliveryRead, DeliveryStatus, Event, WebhookCreate, WebhookCreated, WebhookRead
from config.settings import Settings
from store.db.database import Session
from store.db.tables import Delivery, Webhook
from store.repositories.webhooks import DeliveryCounts, Outbox, WebhookRepository
from store.store import Store

MAX_WEBHOOKS = 20  # per token


def create(store: Store, settings: Settings, payload: WebhookCreate) -> WebhookCreated:
    """Raises `ProblemError` if webhooks are disabled or the token has too many."""
    if not settings.webhooks:
        raise ProblemError(
            HTTPStatus.FORBIDDEN, "webhooks_disabled", "Webhooks are disabled. Set PATINA_WEBHOOKS=true."
        )
    with store.database.write() as session:
        require_valid(session)  # a token that is revoked now must not leave a webhook
        webhooks = WebhookRepository(session)
        if webhooks.count_owned() >= MAX_WEBHOOKS:
            raise ProblemError(
                HTTPStatus.CONFLICT, "too_many_webhooks", f"You already have {MAX_WEBHOOKS} webhooks. Delete one first."
            )
        webhook = webhooks.create(str(payload.url), sorted(payload.events))
    return WebhookCreated(**_to_webhook_read(webhook, DeliveryCounts()).model_dump(), secret=webhook.secret)


def list_webhooks(store: Store, cursor: str | None, limit: int) -> Page[WebhookRead]:
    with store.database.read() as session:
        webhooks = WebhookRepository(session)
        rows = webhooks.list_newest(before=cursor, limit=limit)
        counts = webhooks.count_deliveries([row.id for row in rows])
    items = [_to_webhook_read(row, counts.get(row.id, DeliveryCounts())) for row in rows]
    return Page(items=items, next=next_cursor(rows, limit))


def list_deliveries(store: Store, webhook_id: str, cursor: str | None, limit: int) -> Page[DeliveryRead]:
    with store.database.read() as session:
        _require(session, webhook_id)
        rows = Outbox(session).list_newest(webhook_id, before=cursor, limit=limit)
    return Page(items=[_to_delivery_read(row) for row in rows], next=next_cursor(rows, limit))


def delete(store: Store, webhook_id: str) -> None:
    with store.database.write() as session:
        _require(session, webhook_id)
        WebhookRepository(session).delete(webhook_id)


def _require(session: Session, webhook_id: str) -> None:
    """Raises `ProblemError` (404) if there is no such webhook."""
    if WebhookRepository(session).get(webhook_id) is None:
        raise not_found("webhook", webhook_id)


def _to_webhook_read(row: Webhook, counts: DeliveryCounts) -> WebhookRead:
    return WebhookRead(
        id=row.id,
        url=row.url,
        events=[Event(event) for event in row.events],
        waiting=counts.waiting,
        delivered=counts.delivered,
        given_up=counts.abandoned,
        created=row.created_at,
    )


def _to_delivery_read(row: Delivery) -> DeliveryRead:
    status = DeliveryStatus.waiting
    if row.next_attempt_at is None:
        status = DeliveryStatus.given_up if row.delivered_at is None else DeliveryStatus.delivered
    return DeliveryRead(
        id=f"msg_{row.id}",
        job=row.job_id,
        event=Event(row.event),
        status=status,
        attempts=row.attempts,
        next_attempt=row.next_attempt_at,
        answer=row.status,
        error=row.error,
        created=row.created_at,
        delivered=row.delivered_at,
    )

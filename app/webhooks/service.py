"""What can be done with webhooks."""

from __future__ import annotations

from http import HTTPStatus

from app.auth.revocation import require_valid
from app.http.problems import ProblemError, not_found
from app.http.schemas import Page, next_cursor
from app.webhooks.schemas import DeliveryRead, DeliveryStatus, Event, WebhookCreated, WebhookCreate, WebhookRead
from config.settings import Settings
from store.db.tables import Delivery, Webhook
from store.repositories.webhooks import Counts, Outbox, WebhookRepository
from store.store import Store

MOST = 20  # of one token


def create(store: Store, settings: Settings, wanted: WebhookCreate) -> WebhookCreated:
    if not settings.webhooks:
        raise ProblemError(
            HTTPStatus.FORBIDDEN,
            "webhooks_off",
            "This service calls nobody. Who runs it may let it, with PATINA_WEBHOOKS=true.",
        )
    with store.database.write() as session:
        require_valid(session)  # or one would be left of a token that is revoked in this moment
        webhooks = WebhookRepository(session)
        if webhooks.number_of_own() >= MOST:
            raise ProblemError(
                HTTPStatus.CONFLICT, "too_many_webhooks", f"There are {MOST} webhooks of yours. Delete one first."
            )
        webhook = webhooks.create(str(wanted.url), sorted(wanted.events))
    return WebhookCreated(**_out(webhook, Counts()).model_dump(), secret=webhook.secret)


def page(store: Store, cursor: str | None, limit: int) -> Page[WebhookRead]:
    with store.database.read() as session:
        webhooks = WebhookRepository(session)
        rows = webhooks.page(before=cursor, limit=limit)
        counts = webhooks.counts([row.id for row in rows])
    items = [_out(row, counts.get(row.id, Counts())) for row in rows]
    return Page(items=items, next=next_cursor(rows, limit))


def deliveries(store: Store, webhook_id: str, cursor: str | None, limit: int) -> Page[DeliveryRead]:
    with store.database.read() as session:
        _require(WebhookRepository(session), webhook_id)
        rows = Outbox(session).page(webhook_id, before=cursor, limit=limit)
    return Page(items=[_delivery_out(row) for row in rows], next=next_cursor(rows, limit))


def delete(store: Store, webhook_id: str) -> None:
    with store.database.write() as session:
        webhooks = WebhookRepository(session)
        _require(webhooks, webhook_id)
        webhooks.delete(webhook_id)


def _require(webhooks: WebhookRepository, webhook_id: str) -> None:
    if webhooks.get(webhook_id) is None:
        raise not_found("webhook", webhook_id)


def _out(row: Webhook, counts: Counts) -> WebhookRead:
    return WebhookRead(
        id=row.id,
        url=row.url,
        events=[Event(event) for event in row.events],
        waiting=counts.waiting,
        delivered=counts.delivered,
        given_up=counts.given_up,
        created=row.created,
    )


def _delivery_out(row: Delivery) -> DeliveryRead:
    status = DeliveryStatus.waiting
    if row.due is None:
        status = DeliveryStatus.given_up if row.delivered is None else DeliveryStatus.delivered
    return DeliveryRead(
        id=f"msg_{row.id}",
        job=row.job_id,
        event=Event(row.event),
        status=status,
        attempts=row.attempts,
        next_attempt=row.due,
        answer=row.status,
        error=row.error,
        created=row.created,
        delivered=row.delivered,
    )

"""Webhook endpoints."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter

from app.http.dependencies import SettingsDep, StoreDep
from app.http.problems import problem_responses
from app.http.schemas import Cursor, Id, Limit, Page
from app.webhooks import service
from app.webhooks.schemas import DeliveryRead, WebhookCreate, WebhookCreated, WebhookRead

router = APIRouter(prefix="/webhooks", tags=["webhooks"])
NOT_FOUND = problem_responses(HTTPStatus.NOT_FOUND)


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    summary="Create a webhook",
    responses=problem_responses(HTTPStatus.FORBIDDEN, HTTPStatus.CONFLICT),
)
def create_webhook(payload: WebhookCreate, store: StoreDep, settings: SettingsDep) -> WebhookCreated:
    """Is called when a job of the same token ends. Messages are signed as https://www.standardwebhooks.com specifies.

    A message without a 2xx response is sent again, with growing pauses, for about a day.
    """
    return service.create(store, settings, payload)


@router.get("", summary="List webhooks, newest first")
def list_webhooks(store: StoreDep, cursor: Cursor = None, limit: Limit = 100) -> Page[WebhookRead]:
    return service.list_webhooks(store, cursor, limit)


@router.get("/{webhook_id}/deliveries", summary="List a webhook's deliveries", responses=NOT_FOUND)
def list_deliveries(webhook_id: Id, store: StoreDep, cursor: Cursor = None, limit: Limit = 100) -> Page[DeliveryRead]:
    """Newest first, for the last 30 days."""
    return service.list_deliveries(store, webhook_id, cursor, limit)


@router.delete("/{webhook_id}", status_code=HTTPStatus.NO_CONTENT, summary="Delete a webhook", responses=NOT_FOUND)
def delete_webhook(webhook_id: Id, store: StoreDep) -> None:
    """Waiting messages are dropped."""
    service.delete(store, webhook_id)

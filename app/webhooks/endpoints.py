"""Calls on webhooks."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter

from app.http.dependencies import SettingsDep, StoreDep
from app.http.problems import problem_responses
from app.http.schemas import Cursor, Id, Limit, Page
from app.webhooks import service
from app.webhooks.schemas import DeliveryRead, WebhookCreated, WebhookCreate, WebhookRead

router = APIRouter(prefix="/webhooks", tags=["webhooks"])
NOT_FOUND = problem_responses(HTTPStatus.NOT_FOUND)


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    summary="Be told of jobs that end",
    responses=problem_responses(HTTPStatus.FORBIDDEN, HTTPStatus.CONFLICT),
)
def create_webhook(wanted: WebhookCreate, store: StoreDep, settings: SettingsDep) -> WebhookCreated:
    """Of jobs of the same token. Messages are signed as https://www.standardwebhooks.com says.

    One that is not answered with 2xx is sent again, after pauses that grow, for about a day.
    """
    return service.create(store, settings, wanted)


@router.get("", summary="All webhooks, the newest first")
def list_webhooks(store: StoreDep, cursor: Cursor = None, limit: Limit = 100) -> Page[WebhookRead]:
    return service.page(store, cursor, limit)


@router.get("/{webhook_id}/deliveries", summary="What became of a webhook's messages", responses=NOT_FOUND)
def list_deliveries(webhook_id: Id, store: StoreDep, cursor: Cursor = None, limit: Limit = 100) -> Page[DeliveryRead]:
    """The newest first, of the last 30 days."""
    return service.deliveries(store, webhook_id, cursor, limit)


@router.delete(
    "/{webhook_id}", status_code=HTTPStatus.NO_CONTENT, summary="Be told of nothing more", responses=NOT_FOUND
)
def delete_webhook(webhook_id: Id, store: StoreDep) -> None:
    """Messages that are still to be sent are not sent."""
    service.delete(store, webhook_id)

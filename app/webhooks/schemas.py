"""Webhook request and response schemas."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, HttpUrl, JsonValue, UrlConstraints

from app.http.schemas import Timestamp

EXAMPLE: dict[str, JsonValue] = {
    "id": "01jd3vw1x2y3z4a5b6c7d8e9f0",
    "url": "https://example.com/patina",
    "events": ["job.succeeded", "job.failed", "job.canceled"],
    "waiting": 0,
    "delivered": 12,
    "given_up": 0,
    "created": "2026-01-31T12:00:00Z",
}


class Event(StrEnum):
    """Repeats `store.repositories.webhooks.EVENTS`."""

    succeeded = "job.succeeded"
    failed = "job.failed"
    canceled = "job.canceled"


def _reject_secrets(url: HttpUrl) -> HttpUrl:
    if url.username or url.password or url.fragment:
        raise ValueError("The URL must not have a user, a password or a fragment.")
    return url


Url = Annotated[HttpUrl, UrlConstraints(max_length=2000), AfterValidator(_reject_secrets)]


class WebhookCreate(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"url": "https://example.com/patina", "events": ["job.succeeded", "job.failed"]}},
    )

    url: Url = Field(description="Called by POST. Redirects are not followed.")
    events: set[Event] = Field(set(Event), min_length=1, description="Events that are sent to the webhook.")


class WebhookRead(BaseModel):
    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE})

    id: str
    url: str
    events: list[Event]
    waiting: int = Field(description="Messages waiting to be sent or retried.")
    delivered: int = Field(description="Messages of the last 30 days that got a 2xx response.")
    given_up: int = Field(description="Messages of the last 30 days that were abandoned after about a day.")
    created: Timestamp


class WebhookCreated(WebhookRead):
    model_config = ConfigDict(
        json_schema_extra={"example": EXAMPLE | {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}
    )

    secret: str = Field(description="Key that signs the messages. It is shown only once.")


class DeliveryStatus(StrEnum):
    waiting = "waiting"
    delivered = "delivered"
    given_up = "given_up"


class DeliveryRead(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "msg_01jd3vx1y2z3a4b5c6d7e8f9g0",
                "job": "01jd3vb7c8d9e0f1g2h3j4k5m6",
                "event": "job.succeeded",
                "status": "waiting",
                "attempts": 2,
                "next_attempt": "2026-01-31T12:00:25Z",
                "answer": 503,
                "error": "the response status was 503",
                "created": "2026-01-31T12:00:00Z",
                "delivered": None,
            }
        }
    )

    id: str = Field(description="The header `webhook-id`, the same for each attempt.")
    job: str
    event: Event
    status: DeliveryStatus
    attempts: int
    next_attempt: Timestamp | None
    answer: int | None = Field(description="HTTP status of the last response.")
    error: str | None
    created: Timestamp
    delivered: Timestamp | None

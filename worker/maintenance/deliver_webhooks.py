"""Delivers webhook messages from the outbox, following the Standard Webhooks specification.

A message is claimed for a limited time. If the process dies before it records the outcome, the message is due again.
So every message arrives at least once; receivers recognize a duplicate by its `webhook-id`.
"""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version

import httpcore
import structlog
from standardwebhooks import Webhook as Signature

from store.db.tables import Delivery, Webhook
from store.repositories.webhooks import Outbox
from worker.maintenance.duty import Duty
from worker.maintenance.ssrf_guard import AddressRefusedError, PublicOnlyBackend

CONCURRENCY = 16
MAX_ATTEMPTS = 11  # about a day with the default pauses
BACKOFF_FACTOR, MAX_BACKOFF_SECONDS, JITTER = 4, 6 * 3600, 0.2
MAX_RESPONSE_BYTES = 16 * 1024  # of a body that are read before the connection is closed
GONE = 410  # the receiver wants no more messages

log = structlog.get_logger()


class DeliveryFailed(Exception):
    """The receiver did not accept the message. `status` is the HTTP status of the response, if there was one."""

    def __init__(self, message: str, status: int | None = None):
        super().__init__(message)
        self.status = status


class DeliverWebhooks(Duty):
    """Sends due messages. A failed one is retried with exponential backoff."""

    def run(self) -> None:
        while self.deliver_due():
            pass

    def deliver_due(self) -> int:
        """Sends up to CONCURRENCY due messages at the same time. Returns their number."""
        with self.store.database.write() as session:
            due = Outbox(session).claim_due(CONCURRENCY, 2 * self.settings.webhook_timeout_seconds)
        with ThreadPoolExecutor(CONCURRENCY) as threads:
            for _ in threads.map(lambda message: self._deliver(*message), due):
                pass
        return len(due)

    def _deliver(self, delivery: Delivery, webhook: Webhook) -> None:
        attempt = delivery.attempts + 1
        try:
            status = self._send(delivery, webhook)
        except DeliveryFailed as error:
            retry_in = None if attempt >= MAX_ATTEMPTS or error.status == GONE else self._backoff(attempt)
            self._record_failure(delivery, attempt, error, retry_in)
        except Exception:
            log.exception("webhook delivery errored", webhook=webhook.id)
            failure = DeliveryFailed("internal error of the service")
            self._record_failure(delivery, attempt, failure, self._backoff(attempt))
        else:
            log.info("webhook delivered", webhook=webhook.id, job=delivery.job_id, attempt=attempt)
            with self.store.database.write() as session:
                Outbox(session).record_delivered(delivery.id, attempt, status)

    def _record_failure(self, delivery: Delivery, attempt: int, error: DeliveryFailed, retry_in: float | None) -> None:
        event = "webhook delivery abandoned" if retry_in is None else "webhook delivery failed, retrying"
        log.warning(event, webhook=delivery.webhook_id, job=delivery.job_id, attempt=attempt, error=str(error))
        with self.store.database.write() as session:
            Outbox(session).record_failed(
                delivery.id, attempt, status=error.status, error=str(error), retry_in=retry_in
            )

    def _backoff(self, attempt: int) -> float:
        """Returns the seconds until the next attempt, with jitter: messages that failed together retry apart."""
        pause: float = min(self.settings.webhook_retry_seconds * BACKOFF_FACTOR ** (attempt - 1), MAX_BACKOFF_SECONDS)
        return pause * random.uniform(1 - JITTER, 1 + JITTER)

    def _send(self, delivery: Delivery, webhook: Webhook) -> int:
        """Sends the message once and returns the response's 2xx status. Raises `DeliveryFailed`."""
        time, message_id = datetime.now(UTC), f"msg_{delivery.id}"
        headers: dict[bytes | str, bytes | str] = {
            "Content-Type": "application/json",
            "User-Agent": f"Patina/{version('patina')}",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(time.timestamp())),
            "webhook-signature": Signature(webhook.secret).sign(message_id, time, delivery.body),
        }
        timeout = self.settings.webhook_timeout_seconds
        backend = PublicOnlyBackend(allow_private=self.settings.webhook_private_addresses, timeout=timeout)
        try:
            with (
                httpcore.ConnectionPool(network_backend=backend) as pool,
                pool.stream("POST", webhook.url, headers=headers, content=delivery.body.encode()) as response,
            ):
                status = response.status
                with suppress(httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
                    _drain(response)
        except AddressRefusedError as error:
            raise DeliveryFailed(f"{error}. Set PATINA_WEBHOOK_PRIVATE_ADDRESSES=true to allow it.") from error
        except httpcore.TimeoutException as error:
            raise DeliveryFailed(f"no response within {timeout:g} s") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol, OSError) as error:
            raise DeliveryFailed(f"the connection failed: {error or type(error).__name__}") from error
        if not 200 <= status < 300:
            raise DeliveryFailed(f"the response status was {status}", status)
        return status


def _drain(response: httpcore.Response) -> None:
    """Reads the start of the body, so that most receivers can finish their response. Only the status counts."""
    read = 0
    for chunk in response.iter_stream():
        read += len(chunk)
        if read > MAX_RESPONSE_BYTES:
            return

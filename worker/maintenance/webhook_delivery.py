"""Sends what is in the outbox to webhooks, as the Standard Webhooks specification says, until it is taken.

A message is taken out of the outbox for a while and not for good: one that nobody says anything of, because its courier
died, is due again. So each arrives at least once; the receiver knows a second one by its `webhook-id`.
"""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version

import httpcore
import structlog
from standardwebhooks import Webhook as Signature

from config.settings import Settings
from store.db.tables import Delivery, Webhook
from store.repositories.webhooks import Outbox
from store.store import Store
from worker.maintenance.ssrf_guard import AddressRefusedError, CarefulConnections

AT_ONCE = 16
ATTEMPTS = 11  # with the pauses that the settings leave as they are, in about a day
GROWTH, LONGEST_PAUSE_SECONDS, JITTER = 4, 6 * 3600, 0.2
ANSWER_BYTES = 16 * 1024  # of an answer's body that are read before the connection is closed
GONE = 410  # the receiver wants no more

log = structlog.get_logger()


class NotTakenError(Exception):
    """The message was not taken; `status` is that of the answer, if there was one."""

    def __init__(self, message: str, status: int | None = None):
        super().__init__(message)
        self.status = status


class Courier:
    def __init__(self, store: Store, settings: Settings):
        self.store = store
        self.settings = settings

    def round(self) -> int:
        """Sends what is due, as much as goes at once; gives the number of messages."""
        with self.store.database.write() as session:
            due = Outbox(session).take(AT_ONCE, 2 * self.settings.webhook_timeout_seconds)
        with ThreadPoolExecutor(AT_ONCE) as threads:
            for _ in threads.map(lambda one: self._deliver(*one), due):
                pass
        return len(due)

    def _deliver(self, delivery: Delivery, webhook: Webhook) -> None:
        attempt = delivery.attempts + 1
        try:
            status = self._send(delivery, webhook)
        except NotTakenError as error:
            pause = None if attempt >= ATTEMPTS or error.status == GONE else self._pause(attempt)
            self._note_failure(delivery, attempt, error, pause)
        except Exception:
            log.exception("webhook not called", webhook=webhook.id)
            self._note_failure(delivery, attempt, NotTakenError("the service failed"), self._pause(attempt))
        else:
            log.info("webhook called", webhook=webhook.id, job=delivery.job_id, attempt=attempt)
            with self.store.database.write() as session:
                Outbox(session).delivered(delivery.id, attempt, status)

    def _note_failure(self, delivery: Delivery, attempt: int, error: NotTakenError, pause: float | None) -> None:
        event = "webhook given up" if pause is None else "webhook not taken"
        log.warning(event, webhook=delivery.webhook_id, job=delivery.job_id, attempt=attempt, error=str(error))
        with self.store.database.write() as session:
            Outbox(session).failed(delivery.id, attempt, status=error.status, error=str(error), again_in=pause)

    def _pause(self, attempt: int) -> float:
        """Seconds; not the same for all, or those that failed together would come back together."""
        pause: float = min(self.settings.webhook_retry_seconds * GROWTH ** (attempt - 1), LONGEST_PAUSE_SECONDS)
        return pause * random.uniform(1 - JITTER, 1 + JITTER)

    def _send(self, delivery: Delivery, webhook: Webhook) -> int:
        """The answer's status, a good one. Raises `NotTakenError`."""
        time, name = datetime.now(UTC), f"msg_{delivery.id}"
        headers: dict[bytes | str, bytes | str] = {
            "Content-Type": "application/json",
            "User-Agent": f"Patina/{version('patina')}",
            "webhook-id": name,
            "webhook-timestamp": str(int(time.timestamp())),
            "webhook-signature": Signature(webhook.secret).sign(name, time, delivery.body),
        }
        private, seconds = self.settings.webhook_private_addresses, self.settings.webhook_timeout_seconds
        connections = CarefulConnections(private=private, seconds=seconds)
        try:
            with (
                httpcore.ConnectionPool(network_backend=connections) as pool,
                pool.stream("POST", webhook.url, headers=headers, content=delivery.body.encode()) as answer,
            ):
                status = answer.status
                with suppress(httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
                    _read_some(answer)
        except AddressRefusedError as error:
            raise NotTakenError(f"{error}; PATINA_WEBHOOK_PRIVATE_ADDRESSES would allow it") from error
        except httpcore.TimeoutException as error:
            raise NotTakenError(f"no answer within {seconds:g} s") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol, OSError) as error:
            raise NotTakenError(f"the connection failed: {error or type(error).__name__}") from error
        if not 200 <= status < 300:
            raise NotTakenError(f"the answer was {status}", status)
        return status


def _read_some(answer: httpcore.Response) -> None:
    """So that most receivers can end what they say. It tells nothing: the status has said whether it was taken."""
    read = 0
    for piece in answer.iter_stream():
        read += len(piece)
        if read > ANSWER_BYTES:
            return


def deliver_until(leaving: threading.Event, store: Store, settings: Settings) -> None:
    """Rounds until `leaving` is set."""
    courier = Courier(store, settings)
    while not leaving.is_set():
        try:
            sent = courier.round()
        except Exception as error:  # the next round may find it mended
            log.warning("round failed", error=f"{type(error).__name__}: {error}")
            sent = 0
        if not sent:
            leaving.wait(settings.reap_every_seconds)

"""Webhooks with a real receiver that fails at first."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from config.settings import Settings
from store.db.access import Caller
from store.db.tables import Delivery
from store.deployment import bind_storage
from store.repositories.jobs import JobRepository
from store.repositories.tokens import TokenRepository
from store.repositories.webhooks import EVENTS, Outbox, WebhookRepository
from store.store import Store
from tests.support.api import Api, AuthApi, serve_api
from tests.support.store_factories import create_claimed_job, create_job
from worker.maintenance.deliver_webhooks import MAX_ATTEMPTS, DeliverWebhooks
from worker.maintenance.ssrf_guard import is_public

SECONDS = 30
SILENT, DRIPPING = 0, 1  # instead of a status: no response, and an endless one, byte by byte


@dataclass
class Receiver:
    """A server that responds with these statuses in turn, then with 204."""

    responses: list[int] = field(default_factory=list)
    received: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/patina"

    def until(self, count: int) -> None:
        deadline = time.monotonic() + SECONDS
        while len(self.received) < count:
            assert time.monotonic() < deadline, self.received
            time.sleep(0.02)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    created, closing = Receiver(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = created.responses.pop(0) if created.responses else 204
            created.received.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            if status in (SILENT, DRIPPING):
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: " if status == DRIPPING else b"")
                with suppress(OSError):  # the sender disconnects
                    while not closing.wait(0.1):
                        self.wfile.write(b"x" if status == DRIPPING else b"")
                return
            self.send_response(status)
            if status == 302:
                self.send_header("Location", f"{created.url}/elsewhere")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        created.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield created
        closing.set()
        server.shutdown()


@pytest.fixture
def api(tmp_path: Path, redis_url: str) -> Iterator[Api]:
    settings = Settings(
        data_dir=tmp_path,
        redis_url=redis_url,
        webhooks=True,
        webhook_private_addresses=True,
        webhook_timeout_seconds=2,
        webhook_retry_seconds=0.02,
    )
    with serve_api(settings) as api:
        yield api


def register(api: Api, url: str, **more: object) -> dict[str, Any]:
    response = api.http.post("/webhooks", json={"url": url, **more})
    assert response.status_code == 201, response.text
    return dict(response.json())


def ended_job(store: Store, status: str) -> str:
    with store.database.write() as session:
        job = create_claimed_job(session, "sr")
        error = {"code": "no_luck", "message": "None at all."} if status == "failed" else None
        JobRepository(session).finish(job.id, job.attempt, status, error)
    return job.id


def deliver(api: Api) -> None:
    """Delivers until nothing is waiting."""
    sender, deadline = DeliverWebhooks(api.store, api.settings), time.monotonic() + SECONDS
    while any(hook["waiting"] for hook in api.http.get("/webhooks").json()["items"]):
        assert time.monotonic() < deadline
        sender.deliver_due()
        time.sleep(0.01)


def test_a_message_is_retried_until_delivered_and_signed(api: Api, receiver: Receiver) -> None:
    hook = register(api, receiver.url)
    receiver.responses = [500, 302]
    job = ended_job(api.store, "failed")
    deliver(api)
    assert [path for path, _, _ in receiver.received] == ["/patina"] * 3, "a redirect is not followed"
    _, headers, body = receiver.received[-1]
    assert len({head["webhook-id"] for _, head, _ in receiver.received}) == 1
    assert {body for _, _, body in receiver.received} == {body}
    message = Webhook(hook["secret"]).verify(body, headers)
    assert message["type"] == "job.failed"
    assert message["data"]["id"] == job
    assert message["data"]["error"]["code"] == "no_luck"
    with pytest.raises(WebhookVerificationError):
        Webhook(hook["secret"]).verify(body + b" ", headers)
    # Also checked by hand as in the specification, because the same library signed it.
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(hook["secret"].removeprefix("whsec_"))
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < SECONDS
    (delivery,) = api.http.get(f"/webhooks/{hook['id']}/deliveries").json()["items"]
    assert delivery["id"] == headers["webhook-id"]
    assert (delivery["status"], delivery["attempts"], delivery["answer"], delivery["error"]) == (
        "delivered",
        3,
        204,
        None,
    )


def test_failing_deliveries_are_abandoned_and_410_ends_them(api: Api, receiver: Receiver) -> None:
    hook = register(api, receiver.url)
    settings = api.settings.model_copy(update={"webhook_retry_seconds": 1e-9})
    receiver.responses = [503] * MAX_ATTEMPTS + [410]
    for number in (MAX_ATTEMPTS, MAX_ATTEMPTS + 1):
        ended_job(api.store, "succeeded")
        deadline = time.monotonic() + 30  # the message may not be due yet in one of the cycles
        while len(receiver.received) < number and time.monotonic() < deadline:
            DeliverWebhooks(api.store, settings).deliver_due()
        for _ in range(MAX_ATTEMPTS):
            DeliverWebhooks(api.store, settings).deliver_due()
        assert len(receiver.received) == number
    (shown,) = api.http.get("/webhooks").json()["items"]
    assert (shown["waiting"], shown["delivered"], shown["given_up"]) == (0, 0, 2)
    gone, given_up = api.http.get(f"/webhooks/{hook['id']}/deliveries").json()["items"]
    assert (given_up["status"], given_up["attempts"], given_up["answer"]) == ("given_up", MAX_ATTEMPTS, 503)
    assert (gone["status"], gone["attempts"]) == ("given_up", 1)


def test_retries_back_off_for_about_a_day(api: Api) -> None:
    sender = DeliverWebhooks(api.store, api.settings.model_copy(update={"webhook_retry_seconds": 5.0}))
    pauses = [sender._backoff(attempt) for attempt in range(1, MAX_ATTEMPTS)]
    assert 3.9 < pauses[0] < 6.1
    assert 18 * 3600 < sum(pauses) < 32 * 3600
    assert len({sender._backoff(1) for _ in range(5)}) > 1


@pytest.mark.parametrize(
    "url", ["http://localhost:{port}/patina", "http://127.0.0.1:{port}/", "http://[::ffff:127.0.0.1]:{port}/"]
)
def test_a_loopback_address_is_not_called(api: Api, receiver: Receiver, url: str) -> None:
    hook = register(api, url.format(port=receiver.port))
    ended_job(api.store, "succeeded")
    DeliverWebhooks(api.store, api.settings.model_copy(update={"webhook_private_addresses": False})).deliver_due()
    (delivery,) = api.http.get(f"/webhooks/{hook['id']}/deliveries").json()["items"]
    assert "may not be called" in delivery["error"]
    assert (delivery["status"], delivery["answer"]) == ("waiting", None)
    assert receiver.received == []


def test_the_host_name_stays_in_the_request(api: Api, receiver: Receiver) -> None:
    register(api, f"http://localhost:{receiver.port}/patina")
    ended_job(api.store, "succeeded")
    deliver(api)
    assert receiver.received[0][1]["host"] == f"localhost:{receiver.port}"


PUBLIC = ("93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34")
NOT_PUBLIC = """
    127.0.0.1 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 239.1.1.1 255.255.255.255
    240.0.0.1 192.0.2.1 198.18.0.1 ::1 :: fe80::1 fe80::1%eth0 fc00::1 fd00:ec2::254 ff02::1 ff0e::1 ::ffff:10.0.0.1
    64:ff9b::a00:1 2002:a00:1:: 2001:0:a00:1:: 2001:db8::1 fec0::1
"""


def test_only_internet_addresses_are_public() -> None:
    assert [address for address in PUBLIC if not is_public(ip_address(address))] == []
    assert [address for address in NOT_PUBLIC.split() if is_public(ip_address(address))] == []


@pytest.mark.parametrize("status", [SILENT, DRIPPING])
def test_a_receiver_that_does_not_respond_times_out(api: Api, receiver: Receiver, status: int) -> None:
    hook = register(api, receiver.url)
    receiver.responses = [status]
    ended_job(api.store, "succeeded")
    started = time.monotonic()
    DeliverWebhooks(api.store, api.settings).deliver_due()
    assert time.monotonic() - started < 10
    (delivery,) = api.http.get(f"/webhooks/{hook['id']}/deliveries").json()["items"]
    assert delivery["error"] == "no response within 2 s"


def test_only_selected_events_are_sent(api: Api, receiver: Receiver) -> None:
    hook = register(api, receiver.url, events=["job.canceled"])
    ended_job(api.store, "succeeded")
    with api.store.database.write() as session:
        queued = JobRepository(session).create("sr", dataset_id=None, model_id=None, parameters={}, unit="", total=1)
    api.http.post(f"/jobs/{queued.id}/cancel")
    api.http.post(f"/jobs/{queued.id}/cancel")
    deliver(api)
    assert [json.loads(body)["data"]["id"] for _, _, body in receiver.received] == [queued.id]
    assert api.http.delete(f"/webhooks/{hook['id']}").status_code == 204
    assert api.http.get(f"/webhooks/{hook['id']}/deliveries").json()["code"] == "webhook_not_found"
    assert api.http.get("/webhooks").json()["items"] == []


@pytest.mark.parametrize(
    "body",
    [
        {"url": "ftp://example.com/"},
        {"url": "https://alice:secret@example.com/"},
        {"url": "https://example.com/", "events": []},
        {"url": "https://example.com/", "events": ["job.started"]},
        {"url": "https://example.com/" + "a" * 2000},
        {},
    ],
)
def test_an_invalid_webhook_is_rejected(api: Api, body: dict[str, object]) -> None:
    assert api.http.post("/webhooks", json=body).json()["code"] == "invalid_request"
    assert api.http.get("/webhooks").json()["items"] == []


def test_at_most_twenty_webhooks(api: Api) -> None:
    hooks = [register(api, f"https://example.com/{number}") for number in range(20)]
    response = api.http.post("/webhooks", json={"url": "https://example.com/20"})
    assert (response.status_code, response.json()["code"]) == (409, "too_many_webhooks")
    api.http.delete(f"/webhooks/{hooks[0]['id']}")
    register(api, "https://example.com/20")


def test_webhooks_are_disabled_by_default(tmp_path: Path, redis_url: str) -> None:
    with serve_api(Settings(data_dir=tmp_path, redis_url=redis_url)) as api:
        response = api.http.post("/webhooks", json={"url": "https://example.com/"})
        assert (response.status_code, response.json()["code"]) == (403, "webhooks_disabled")


@pytest.mark.parametrize("end", ["finish", "cancel", "give back", "worker died", "canceled worker died"])
def test_every_end_of_a_job_creates_a_message(store: Store, end: str) -> None:
    with store.database.write() as session:
        hook = WebhookRepository(session).create("https://example.com/", EVENTS).id
        job = create_job(session, "sr")
    with store.database.write() as session:
        jobs = JobRepository(session)
        if end != "cancel":
            claimed = jobs.claim(job.id, "a worker", -1)
            assert claimed is not None
        if end == "finish":
            jobs.finish(job.id, 1, "succeeded")
        if end in ("cancel", "give back", "canceled worker died"):
            jobs.request_cancel(job.id)
        if end == "give back":
            jobs.release(job.id, 1)
        if "died" in end:
            jobs.requeue_expired_leases(max_crashes=1)
    with store.database.read() as session:
        (message,) = Outbox(session).list_newest(hook, before=None, limit=10)
        ended = jobs.get(job.id)
    expected = {"finish": "job.succeeded", "worker died": "job.failed"}.get(end, "job.canceled")
    assert message.event == expected
    assert ended is not None
    assert json.loads(message.body)["data"]["status"] == expected.removeprefix("job.")


def test_two_senders_never_claim_the_same_message(store: Store) -> None:
    with store.database.write() as session:
        WebhookRepository(session).create("https://example.com/", EVENTS)
    ended_job(store, "succeeded")
    with store.database.write() as session:
        ((message, _),) = Outbox(session).claim_due(8, 1)
        assert Outbox(session).claim_due(8, 1) == []
    time.sleep(1.1)
    with store.database.write() as session:
        ((again, _),) = Outbox(session).claim_due(8, 60)
        assert again.id == message.id
        Outbox(session).record_failed(message.id, 1, status=None, error="too late", retry_in=None)
    with store.database.read() as session:
        assert session.get_one(Delivery, message.id).error is None


def test_one_owner_cannot_delay_the_messages_of_others(store: Store) -> None:
    """Receivers may be slow, or not respond on purpose."""
    hooks = []
    for name, ended in (("many", 30), ("one", 1)):
        with store.database.write() as session:
            token = TokenRepository(session).create(name, "submit").token.id
        own = store.as_caller(Caller(token, is_admin=False))
        with own.database.write() as session:
            hooks.append(WebhookRepository(session).create("https://example.com/", EVENTS).id)
        for _ in range(ended):
            ended_job(own, "succeeded")
    with store.database.write() as session:
        claimed_ids = [webhook.id for _, webhook in Outbox(session).claim_due(16, 60)]
    assert hooks[1] in claimed_ids
    assert 1 < claimed_ids.count(hooks[0]) < 10


def test_a_webhook_belongs_to_its_token(auth_api: AuthApi) -> None:
    store = auth_api.store
    for who in ("alice", "bob"):
        auth_api.get_token(who)
    with store.database.read() as session:
        tokens = {token.name: token.id for token in TokenRepository(session).list_all()}
    hooks = {}
    for who, token in tokens.items():
        with store.as_caller(Caller(token, is_admin=False)).database.write() as session:
            hooks[who] = WebhookRepository(session).create("https://example.com/", EVENTS).id
    ended_job(store.as_caller(Caller(tokens["alice"], is_admin=False)), "succeeded")
    (shown,) = auth_api.call("alice", "GET", "/webhooks").json()["items"]
    assert (shown["id"], shown["waiting"], "secret" in shown) == (hooks["alice"], 1, False)
    (shown,) = auth_api.call("bob", "GET", "/webhooks").json()["items"]
    assert (shown["id"], shown["waiting"]) == (hooks["bob"], 0)
    for method, path in (("GET", "/deliveries"), ("DELETE", "")):
        assert auth_api.call("bob", method, f"/webhooks/{hooks['alice']}{path}").status_code == 404
    with store.database.write() as session:
        TokenRepository(session).revoke(tokens["alice"])
        assert Outbox(session).claim_due(8, 1) == []


def test_a_message_survives_a_killed_sender(api: Api, receiver: Receiver) -> None:
    register(api, receiver.url)
    receiver.responses = [SILENT]
    job = ended_job(api.store, "succeeded")
    environment = {
        "PATINA_DATA_DIR": str(api.settings.data_dir),
        "PATINA_REDIS_URL": str(api.settings.redis_url),
        "PATINA_WEBHOOKS": "true",
        "PATINA_WEBHOOK_PRIVATE_ADDRESSES": "true",
        "PATINA_WEBHOOK_TIMEOUT_SECONDS": "2",
        "PATINA_REAP_EVERY_SECONDS": "0.1",
    }
    bind_storage(api.store.blobs, api.store.database)
    command = [sys.executable, "-P", "-m", "worker.maintenance"]
    for count in (1, 2):
        process = subprocess.Popen(command, env=os.environ | environment)
        try:
            receiver.until(count)
            if count == 2:
                deadline = time.monotonic() + SECONDS
                while api.http.get("/webhooks").json()["items"][0]["delivered"] == 0:
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
        finally:
            process.kill()
            process.wait()
    (_, first, _), *_, (_, second, body) = receiver.received
    assert first["webhook-id"] == second["webhook-id"]
    assert json.loads(body)["data"]["id"] == job

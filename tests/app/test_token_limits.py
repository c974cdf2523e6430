"""What one token may queue, send and use, which priority it may ask for, and what a waiting job says of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store.repositories.jobs import JobRepository
from store.repositories.tokens import TokenRepository
from store.repositories.usage import UsageRepository
from tests.support.api import AuthApi, as_parts, serve_auth_api
from tests.support.images import make_png
from tests.support.store_factories import create_model

LIMITS = {
    "token_max_queued_jobs": 2,
    "token_max_running": 1,
    "token_worker_seconds_per_day": 100.0,
    "token_bytes_per_day": 100_000,
}


@pytest.fixture
def limited(redis_url: str, tmp_path: Path) -> Iterator[AuthApi]:
    with serve_auth_api(f"sqlite:///{tmp_path / 'patina.sqlite'}", redis_url, tmp_path, **LIMITS) as api:
        yield api


@pytest.fixture
def dataset(limited: AuthApi) -> str:
    """Alice's dataset, which everybody may use."""
    dataset = limited.create_dataset("alice")
    limited.call("alice", "PATCH", f"/datasets/{dataset}", json={"shared": True})
    photo = as_parts({"a_png": make_png(128, 128)})
    assert limited.call("alice", "POST", f"/datasets/{dataset}/images?role=hr", files=photo).status_code == 200
    with limited.store.database.write() as session:
        create_model(session, dataset)
    return dataset


def degrade(api: AuthApi, who: str, dataset: str, **fields: object) -> Any:
    return api.call(who, "POST", f"/datasets/{dataset}/degrade", data={"source": dataset, **fields})


def test_queued_jobs_of_one_token_are_limited(limited: AuthApi, dataset: str) -> None:
    jobs = [degrade(limited, "alice", dataset) for _ in range(3)]
    assert [job.status_code for job in jobs] == [202, 202, 429]
    assert jobs[2].json()["code"] == "token_queue_full"
    assert int(jobs[2].headers["retry-after"]) > 0
    assert degrade(limited, "bob", dataset).status_code == 202
    limited.call("alice", "POST", f"/jobs/{jobs[0].json()['id']}/cancel")
    assert degrade(limited, "alice", dataset).status_code == 202


def test_used_seconds_of_workers_are_limited(limited: AuthApi, dataset: str) -> None:
    waiting = degrade(limited, "alice", dataset).json()["id"]
    with limited.store.database.write() as session:
        UsageRepository(session).add(limited.get_token_id("alice"), worker_seconds=100.5)
    refused = degrade(limited, "alice", dataset)
    assert (refused.status_code, refused.json()["code"]) == (429, "token_seconds_used")
    heartbeat = limited.store.queue.heartbeat("warm", "worker")
    heartbeat.ping()
    assert limited.call("alice", "GET", f"/jobs/{waiting}").json()["wait"]["reason"] == "token_seconds"
    heartbeat.close()
    assert degrade(limited, "bob", dataset).status_code == 202


def test_bytes_that_a_token_sends_are_limited(limited: AuthApi, dataset: str) -> None:
    def send() -> Any:
        photo = as_parts({"b_png": make_png(150, 150)})
        return limited.call("bob", "POST", f"/datasets/{own}/images?role=hr", files=photo)

    own = limited.create_dataset("bob")
    statuses = [send().status_code for _ in range(4)]
    assert statuses[0] == 200
    assert statuses[-1] == 429
    assert limited.call("bob", "GET", f"/datasets/{own}").status_code == 200, "reading sends nothing"
    assert degrade(limited, "bob", dataset).json()["code"] == "token_bytes_used"
    assert degrade(limited, "alice", dataset).status_code == 202


def test_a_priority_must_be_allowed(limited: AuthApi, dataset: str) -> None:
    with limited.store.database.write() as session:
        limited.tokens["carol"] = TokenRepository(session).create("carol", "submit", 5).secret
    assert degrade(limited, "alice", dataset, priority=1).json()["code"] == "priority_not_allowed"
    assert degrade(limited, "alice", dataset, priority=-3).json()["priority"] == -3
    assert degrade(limited, "carol", dataset, priority=5).json()["priority"] == 5
    assert degrade(limited, "carol", dataset, priority=6).status_code == 403
    limited.get_token("boss", "admin")
    assert degrade(limited, "boss", dataset, priority=10).status_code == 202
    assert degrade(limited, "boss", dataset, priority=11).status_code == 422


def test_a_waiting_job_says_its_place_and_why(limited: AuthApi, dataset: str) -> None:
    first, second, other = (degrade(limited, who, dataset).json()["id"] for who in ("alice", "alice", "bob"))

    def wait(who: str, job: str) -> tuple[int, str]:
        found = limited.call(who, "GET", f"/jobs/{job}").json()["wait"]
        return found["place"], found["reason"]

    assert wait("alice", first) == (1, "no_worker")
    heartbeat = limited.store.queue.heartbeat("warm", "worker")
    heartbeat.ping()
    assert wait("alice", first) == (1, "next")
    assert wait("bob", other) == (2, "others_first")
    assert wait("alice", second) == (3, "others_first")
    with limited.store.database.write() as session:
        JobRepository(session).claim(first, "a worker", 60)
    assert limited.call("alice", "GET", f"/jobs/{first}").json()["wait"] is None, "it runs"
    assert wait("alice", second)[1] == "token_running"
    heartbeat.close()

"""Batched reads of jobs, and the watcher; on both databases."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event

from app.http.problems import ProblemError
from app.jobs import lifecycle, service, watcher
from app.jobs.batching import JobLoader, JobLoaders
from app.jobs.schemas import JobRead
from store.db.access import LOCAL, Caller
from store.repositories.tokens import TokenRepository
from store.store import Store
from tests.support.store_factories import create_job


def new_job(store: Store) -> str:
    with store.database.write() as session:
        return create_job(session, "degrade").id


@pytest.fixture
def queries(store: Store) -> Iterator[list[str]]:
    """The SELECT statements that are sent to the database."""
    statements: list[str] = []

    @event.listens_for(store.database.engine, "before_cursor_execute")
    def record(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT"):
            statements.append(statement)

    yield statements
    event.remove(store.database.engine, "before_cursor_execute", record)


def test_concurrent_requests_share_few_queries(store: Store, queries: list[str]) -> None:
    job_ids = [new_job(store) for _ in range(3)]
    queries.clear()

    async def request() -> list[object]:
        loader = JobLoader(store)
        requested = [*job_ids, "no-such"] * 50
        canceled = asyncio.create_task(loader.get(job_ids[0]))  # a disconnected client must not affect the others
        await asyncio.sleep(0)
        canceled.cancel()
        return await asyncio.gather(*(loader.get(job_id) for job_id in requested), return_exceptions=True)

    responses = asyncio.run(request())
    assert len(queries) <= 2
    found = [response.code if isinstance(response, ProblemError) else response.id for response in responses]  # type: ignore[attr-defined]
    assert found == [*job_ids, "job_not_found"] * 50


def test_a_response_is_never_older_than_its_request(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    job, get_many = new_job(store), service.get_many
    read, return_result = threading.Event(), threading.Event()

    def get_slowly(*arguments: Any) -> dict[str, JobRead]:
        jobs = get_many(*arguments)
        read.set()
        assert return_result.wait(20)
        return jobs

    monkeypatch.setattr(service, "get_many", get_slowly)

    async def request() -> list[str]:
        loader = JobLoader(store)
        before = asyncio.create_task(loader.get(job))
        assert await asyncio.to_thread(read.wait, 20)
        await asyncio.to_thread(lifecycle.cancel, store, job)
        after = asyncio.create_task(loader.get(job))
        await asyncio.sleep(0)
        return_result.set()
        return [(await response).status for response in (before, after)]

    assert asyncio.run(request()) == ["queued", "canceled"]


def test_each_caller_reads_only_visible_jobs(store: Store) -> None:
    with store.database.write() as session:
        token = TokenRepository(session).create("one", "submit").token.id
    job = new_job(store)

    async def request() -> tuple[str, str]:
        loaders = JobLoaders(store)
        mine, theirs = await asyncio.gather(
            loaders.get(LOCAL).get(job), loaders.get(Caller(token, is_admin=False)).get(job), return_exceptions=True
        )
        assert not isinstance(mine, BaseException)
        assert isinstance(theirs, ProblemError)
        return mine.id, theirs.code

    assert asyncio.run(request()) == (job, "job_not_found")


def test_the_watcher_remembers_the_latest_changes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "MAX_REMEMBERED", 2)

    async def listen() -> None:
        job_watcher, job_ids = watcher.JobWatcher(store), []
        for _ in range(4):
            job_ids.append(new_job(store))
            await job_watcher._poll()
            await asyncio.sleep(0.2)  # longer than the clock's resolution
        assert await job_watcher.any_changed(4, seconds=0.01) == []
        assert await job_watcher.any_changed(0, seconds=1) == job_ids[2:]

    asyncio.run(listen())

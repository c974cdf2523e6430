"""Jobs that many ask for at once; on both databases."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event

from app.http.problems import ProblemError
from app.jobs import service
from app.jobs import watcher as watching
from app.jobs.batching import JobLoader, JobLoaders
from app.jobs.schemas import JobRead
from store.db.access import LOCAL, Caller
from store.repositories.jobs import JobRepository
from store.repositories.tokens import TokenRepository
from store.store import Store


def new_job(store: Store) -> str:
    with store.database.write() as session:
        jobs = JobRepository(session)
        return jobs.create("degrade", dataset_id=None, model_id=None, parameters={}, unit="samples", total=1).id


@pytest.fixture
def queries(store: Store) -> Iterator[list[str]]:
    """The statements that the database is sent."""
    sent: list[str] = []

    @event.listens_for(store.database.engine, "before_cursor_execute")
    def _note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT"):
            sent.append(statement)

    yield sent
    event.remove(store.database.engine, "before_cursor_execute", _note)


def test_many_who_ask_at_once_cost_few_queries_and_get_their_own_answers(store: Store, queries: list[str]) -> None:
    made = [new_job(store) for _ in range(3)]
    queries.clear()

    async def ask() -> list[object]:
        reader = JobLoader(store)
        wanted = [*made, "no-such"] * 50
        gone = asyncio.create_task(reader.get(made[0]))  # a client that hangs up takes nobody's answer along
        await asyncio.sleep(0)
        gone.cancel()
        return await asyncio.gather(*(reader.get(job) for job in wanted), return_exceptions=True)

    answers = asyncio.run(ask())
    assert len(queries) <= 2
    found = [answer.code if isinstance(answer, ProblemError) else answer.id for answer in answers]  # type: ignore[attr-defined]
    assert found == [*made, "job_not_found"] * 50


def test_an_answer_is_never_older_than_its_question(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    job, read, told, get_all = new_job(store), threading.Event(), threading.Event(), service.get_all

    def slowly(*asked: Any) -> dict[str, JobRead]:
        found = get_all(*asked)
        read.set()
        assert told.wait(20)
        return found

    monkeypatch.setattr(service, "get_all", slowly)

    async def ask() -> list[str]:
        reader = JobLoader(store)
        before = asyncio.create_task(reader.get(job))
        assert await asyncio.to_thread(read.wait, 20)
        await asyncio.to_thread(service.cancel, store, job)
        after = asyncio.create_task(reader.get(job))
        await asyncio.sleep(0)
        told.set()
        return [(await answer).status for answer in (before, after)]

    assert asyncio.run(ask()) == ["queued", "canceled"]


def test_each_caller_reads_what_it_may_see(store: Store) -> None:
    with store.database.write() as session:
        token = TokenRepository(session).create("one", "submit").token.id
    job = new_job(store)

    async def ask() -> tuple[str, str]:
        readers = JobLoaders(store)
        mine, theirs = await asyncio.gather(
            readers.of(LOCAL).get(job), readers.of(Caller(token, sees_all=False)).get(job), return_exceptions=True
        )
        assert not isinstance(mine, BaseException)
        assert isinstance(theirs, ProblemError)
        return mine.id, theirs.code

    assert asyncio.run(ask()) == (job, "job_not_found")


def test_of_more_changes_than_are_remembered_the_last_ones_are_told(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "MOST_REMEMBERED", 2)

    async def listen() -> None:
        watcher, made = watching.JobWatcher(store), []
        for _ in range(4):
            made.append(new_job(store))
            await watcher._look()
            await asyncio.sleep(0.2)  # older than what counts as changed in any case
        assert await watcher.any_changed(4, seconds=0.01) == []
        assert await watcher.any_changed(0, seconds=1) == made[2:]

    asyncio.run(listen())

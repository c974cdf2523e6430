"""Jobs that are asked for at the same time are read at once: hundreds who wait cost little more than one."""

from __future__ import annotations

import asyncio

from anyio import to_thread

from app.http.problems import not_found
from app.jobs import service
from app.jobs.schemas import JobRead
from store.db.access import Caller
from store.store import Store


class JobLoader:
    """Reads jobs for one caller, one query after the other. Whoever asks meanwhile is served by the next.

    So an answer is never older than its question.
    """

    def __init__(self, store: Store):
        self._store = store
        self._asked: dict[str, asyncio.Future[JobRead | None]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def get(self, job_id: str) -> JobRead:
        """Raises `ProblemError` where there is no such job."""
        loop = asyncio.get_running_loop()
        answer = self._asked.setdefault(job_id, loop.create_future())
        if self._reading is None:
            self._reading = loop.create_task(self._read())
        job = await asyncio.shield(answer)  # others may wait for it when this one has gone
        if job is None:
            raise not_found("job", job_id)
        return job

    async def _read(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, {}
                try:
                    found = await to_thread.run_sync(service.get_all, self._store, list(asked))
                except Exception as error:  # it is the askers' to raise
                    for answer in asked.values():
                        answer.set_exception(error)
                else:
                    for job_id, answer in asked.items():
                        answer.set_result(found.get(job_id))
        finally:
            self._reading = None


class JobLoaders:
    """A reader for each caller, who see different jobs."""

    def __init__(self, store: Store):
        self._store = store
        self._readers: dict[Caller, JobLoader] = {}

    def of(self, caller: Caller) -> JobLoader:
        if caller not in self._readers:
            self._readers[caller] = JobLoader(self._store.seen_by(caller))
        return self._readers[caller]

"""Reads jobs in batches: one query answers all requests that arrived during the previous one."""

from __future__ import annotations

import asyncio

from anyio import to_thread

from app.http.problems import not_found
from app.jobs import service
from app.jobs.schemas import JobRead
from store.db.access import Caller
from store.store import Store


class JobLoader:
    """Reads jobs for one caller, with one query at a time. Requests that arrive during a query wait for the next.

    A response is therefore never older than its request.
    """

    def __init__(self, store: Store):
        self.closed = False  # whether requests that wait for a change must answer now
        self._store = store
        self._pending: dict[str, asyncio.Future[JobRead | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def get(self, job_id: str) -> JobRead:
        """Raises `ProblemError` (404) if there is no such job."""
        loop = asyncio.get_running_loop()
        future = self._pending.setdefault(job_id, loop.create_future())
        if self._task is None:
            self._task = loop.create_task(self._load())
        job = await asyncio.shield(future)  # others may still wait for it if this request is canceled
        if job is None:
            raise not_found("job", job_id)
        return job

    async def _load(self) -> None:
        try:
            while self._pending:
                batch, self._pending = self._pending, {}
                try:
                    jobs = await to_thread.run_sync(service.get_many, self._store, list(batch))
                except Exception as error:  # every waiting request raises it
                    for future in batch.values():
                        future.set_exception(error)
                else:
                    for job_id, future in batch.items():
                        future.set_result(jobs.get(job_id))
        finally:
            self._task = None


class JobLoaders:
    """One loader for each caller, because callers see different jobs."""

    def __init__(self, store: Store):
        self._store = store
        self._loaders: dict[Caller, JobLoader] = {}

    def close(self) -> None:
        """Releases the requests that wait for a change of a job."""
        for loader in self._loaders.values():
            loader.closed = True

    def get(self, caller: Caller) -> JobLoader:
        if caller not in self._loaders:
            self._loaders[caller] = JobLoader(self._store.as_caller(caller))
        return self._loaders[caller]

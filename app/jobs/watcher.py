"""Notifies waiting requests of changed jobs. It runs one query per poll, for any number of requests and jobs."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from anyio import Event, current_time, move_on_after, sleep, to_thread

from store.repositories.jobs import JobRepository
from store.store import Store

POLL_SECONDS = 0.05
# A change becomes visible when its transaction ends, which is later than its time. Two changes may also have the same
# time, so a change younger than the clock's resolution counts as new even if its time is known.
COMMIT_LAG_SECONDS, CLOCK_RESOLUTION_SECONDS = 2.0, 0.05
MAX_REMEMBERED = 10_000

log = structlog.get_logger()


class JobWatcher:
    """`run` polls while a request waits; `close` releases all waiting requests."""

    def __init__(self, store: Store):
        self.store = store
        self.closed = False
        self.round = 0
        self._changed_in: dict[str, int] = {}  # job id → the round of its last change
        self._updated: dict[str, float] = {}  # job id → time of its last known change
        self._polled: float | None = None
        self._next = Event()
        self._waiting = 0

    async def run(self) -> None:
        while not self.closed:
            await sleep(POLL_SECONDS)
            if not self._waiting:
                self._polled = None
                continue
            try:
                await self._poll()
            except Exception as error:  # the database may come back
                log.warning("job watcher poll failed", error=str(error))

    def close(self) -> None:
        self.closed = True
        self._notify()

    async def changed(self, job_id: str, since: int, seconds: float) -> bool:
        """Waits until the job has changed after round `since`. Returns False if it has not within `seconds`."""
        await self._wait(lambda: self._changed_in.get(job_id, 0) > since, seconds)
        return self._changed_in.get(job_id, 0) > since

    async def any_changed(self, since: int, seconds: float) -> list[str]:
        """Waits until jobs have changed after round `since`, at most `seconds`. Returns their ids."""
        await self._wait(lambda: self.round > since, seconds)
        return [job_id for job_id, changed in self._changed_in.items() if changed > since]

    async def _wait(self, condition: Callable[[], bool], seconds: float) -> None:
        self._waiting += 1
        try:
            with move_on_after(seconds):
                while not (condition() or self.closed):
                    await self._next.wait()
        finally:
            self._waiting -= 1

    async def _poll(self) -> None:
        started = current_time()
        pause = COMMIT_LAG_SECONDS if self._polled is None else started - self._polled
        time, updates = await to_thread.run_sync(self._read_updates, COMMIT_LAG_SECONDS + pause)
        recent = time - pause - CLOCK_RESOLUTION_SECONDS
        changed = [job_id for job_id, at in updates.items() if at > recent or self._updated.get(job_id) != at]
        self._polled, self._updated = started, updates
        if changed:
            self.round += 1
            for job_id in changed:  # keeps the order of last change
                self._changed_in.pop(job_id, None)
                self._changed_in[job_id] = self.round
            while len(self._changed_in) > MAX_REMEMBERED:
                del self._changed_in[next(iter(self._changed_in))]
            self._notify()

    def _read_updates(self, seconds: float) -> tuple[float, dict[str, float]]:
        with self.store.database.read() as session:
            return JobRepository(session).list_updated(seconds)

    def _notify(self) -> None:
        self._next.set()
        self._next = Event()

"""Tells those who wait that jobs have changed: one query a moment, however many wait for however many jobs."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from anyio import Event, current_time, move_on_after, sleep, to_thread

from store.repositories.jobs import JobRepository
from store.store import Store

LOOK_EVERY_SECONDS = 0.05
# A change may become visible later than the time it bears: its transaction has to end first. And two changes may bear
# the same time, so that what is as young as this counts as changed whether its time is new or not.
LATE_SECONDS, YOUNG_SECONDS = 2.0, 0.05
MOST_REMEMBERED = 10_000

log = structlog.get_logger()


class JobWatcher:
    """`run` looks while anybody waits; `close` lets all go who do."""

    def __init__(self, store: Store):
        self.store = store
        self.closed = False
        self.round = 0
        self._changed_in: dict[str, int] = {}  # job id → the round in which it was last seen to have changed
        self._seen: dict[str, float] = {}  # job id → the time that its last change bears
        self._looked: float | None = None
        self._next = Event()
        self._waiting = 0

    async def run(self) -> None:
        while not self.closed:
            await sleep(LOOK_EVERY_SECONDS)
            if not self._waiting:
                self._looked = None
                continue
            try:
                await self._look()
            except Exception as error:  # the database may come back
                log.warning("cannot look for changed jobs", error=str(error))

    def close(self) -> None:
        self.closed = True
        self._wake()

    async def changed(self, job_id: str, since: int, seconds: float) -> bool:
        """Waits until the job has changed after round `since`. False if it has not within so many seconds."""
        await self._until(lambda: self._changed_in.get(job_id, 0) > since, seconds)
        return self._changed_in.get(job_id, 0) > since

    async def any_changed(self, since: int, seconds: float) -> list[str]:
        """The ids of all jobs that have changed after round `since`, as soon as there are any."""
        await self._until(lambda: self.round > since, seconds)
        return [job_id for job_id, seen in self._changed_in.items() if seen > since]

    async def _until(self, enough: Callable[[], bool], seconds: float) -> None:
        self._waiting += 1
        try:
            with move_on_after(seconds):
                while not (enough() or self.closed):
                    await self._next.wait()
        finally:
            self._waiting -= 1

    async def _look(self) -> None:
        started = current_time()
        pause = LATE_SECONDS if self._looked is None else started - self._looked
        time, updates = await to_thread.run_sync(self._updates, LATE_SECONDS + pause)
        young = time - pause - YOUNG_SECONDS
        changed = [job_id for job_id, at in updates.items() if at > young or self._seen.get(job_id) != at]
        self._looked, self._seen = started, updates
        if changed:
            self.round += 1
            for job_id in changed:  # last those that changed last
                self._changed_in.pop(job_id, None)
                self._changed_in[job_id] = self.round
            while len(self._changed_in) > MOST_REMEMBERED:
                del self._changed_in[next(iter(self._changed_in))]
            self._wake()

    def _updates(self, seconds: float) -> tuple[float, dict[str, float]]:
        with self.store.database.read() as session:
            return JobRepository(session).updates(seconds)

    def _wake(self) -> None:
        self._next.set()
        self._next = Event()

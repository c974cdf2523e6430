"""Streams of server-sent events: what happens in one job, and changes of all."""

from __future__ import annotations

from collections.abc import AsyncIterator

from anyio import sleep, to_thread
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from app.http.problems import ProblemError
from app.jobs import service
from app.jobs.schemas import JobRead
from app.jobs.watcher import JobWatcher
from store.store import Store

HEARTBEAT_SECONDS = 10.0
LAST_LINES_SECONDS = 1.0  # a worker writes its log lines down a moment after what they tell of
EVENTS_AT_ONCE = 500
END = "end"


async def events_of(store: Store, watcher: JobWatcher, job_id: str, after: int) -> AsyncIterator[bytes]:
    """All events of a job after number `after`, and the job whenever it changes, until it has ended."""
    told: JobRead | None = None
    waited_for_last_lines = False
    while not watcher.closed:
        seen = watcher.round  # before the job is read, so that no change falls between
        try:
            job, events = await to_thread.run_sync(service.news, store, job_id, after, EVENTS_AT_ONCE)
        except ProblemError:  # it was deleted, or the listener's token revoked, meanwhile
            break
        for event in events:
            after = event.number
            data = event.model_dump_json(exclude={"kind"})
            yield format_sse_event(event=event.kind, id=str(after), data_str=data)
        if len(events) == EVENTS_AT_ONCE:
            continue
        if job != told:
            told = job
            yield _job(job)
        if job.status.is_final and waited_for_last_lines:
            break
        if job.status.is_final:
            waited_for_last_lines = True
            await sleep(LAST_LINES_SECONDS)
        elif not await watcher.changed(job_id, seen, HEARTBEAT_SECONDS):
            yield KEEPALIVE_COMMENT
    if not watcher.closed:
        yield format_sse_event(event=END, id=f"{after}-{END}", data_str="{}")


async def all_changes(store: Store, watcher: JobWatcher) -> AsyncIterator[bytes]:
    """Every job that changes from now on."""
    seen = watcher.round
    yield KEEPALIVE_COMMENT  # so that a browser knows at once that it is connected
    while not watcher.closed:
        changed = await watcher.any_changed(seen, HEARTBEAT_SECONDS)
        seen = watcher.round
        if not changed:
            yield KEEPALIVE_COMMENT
        try:
            jobs = await to_thread.run_sync(service.news_of_all, store, changed)
        except ProblemError:
            break
        for _, job in sorted(jobs.items()):
            yield _job(job)


def _job(job: JobRead) -> bytes:
    return format_sse_event(event="job", data_str=job.model_dump_json())

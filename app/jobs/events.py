"""Server-sent events: the events of one job, and the changes of all jobs."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

from anyio import sleep, to_thread
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from app.http.problems import ProblemError
from app.jobs import service
from app.jobs.schemas import JobRead
from app.jobs.watcher import JobWatcher
from store.store import Store

HEARTBEAT_SECONDS = 10.0
LAST_LINES_SECONDS = 1.0  # a worker stores its log lines with this delay
EVENTS_BATCH = 500
RETRY_MILLISECONDS = 500, 2500
END = "end"


async def stream_events(store: Store, watcher: JobWatcher, job_id: str, after: int) -> AsyncIterator[bytes]:
    """Yields a job's events after number `after`, and the job each time it changes, until it has ended.

    The id of an event is its number. A client that reconnects sends it as `Last-Event-ID`, and the stream resumes after
    it. The last event is `end` with the id `N-end`, where N is the number before it. That distinguishes a client
    that has seen the end, which gets 204, from one that was interrupted after event N. If the job was retried
    meanwhile, the stream resumes after N.
    """
    last_sent: JobRead | None = None
    waited_for_last_lines = False
    while not watcher.closed:
        seen = watcher.round  # read before the job, so that no change is missed
        try:
            job, events = await to_thread.run_sync(service.get_updates, store, job_id, after, EVENTS_BATCH)
        except ProblemError:  # the job was deleted or the token revoked
            break
        for event in events:
            after = event.number
            data = event.model_dump_json(exclude={"kind"})
            yield format_sse_event(event=event.kind, id=str(after), data_str=data)
        if len(events) == EVENTS_BATCH:
            continue
        if job != last_sent:
            last_sent = job
            yield _format_job(job)
        if job.status.is_final and waited_for_last_lines:
            break
        if job.status.is_final:
            waited_for_last_lines = True
            await sleep(LAST_LINES_SECONDS)
        elif not await watcher.changed(job_id, seen, HEARTBEAT_SECONDS):
            yield KEEPALIVE_COMMENT
    if watcher.closed:
        yield _format_retry()
    else:
        yield format_sse_event(event=END, id=f"{after}-{END}", data_str="{}")


async def stream_all(store: Store, watcher: JobWatcher) -> AsyncIterator[bytes]:
    """Yields every job that changes from now on."""
    seen = watcher.round
    yield KEEPALIVE_COMMENT  # a browser sees at once that it is connected
    while not watcher.closed:
        changed = await watcher.any_changed(seen, HEARTBEAT_SECONDS)
        seen = watcher.round
        if not changed:
            yield KEEPALIVE_COMMENT
        try:
            jobs = await to_thread.run_sync(service.get_changed, store, changed)
        except ProblemError:
            break
        for _, job in sorted(jobs.items()):
            yield _format_job(job)
    if watcher.closed:
        yield _format_retry()


def _format_retry() -> bytes:
    """Tells the client when to reconnect. Not all at once: another API gets the streams of one that ends."""
    return format_sse_event(retry=random.randint(*RETRY_MILLISECONDS))


def _format_job(job: JobRead) -> bytes:
    return format_sse_event(event="job", data_str=job.model_dump_json())

"""The process that takes ids from a queue and runs the jobs; what it has loaded stays loaded between them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType

import structlog
from redis import RedisError
from rq import SimpleWorker
from rq.serializers import JSONSerializer

from config.settings import Settings
from store.ids import new_id
from store.queue import PRESENCE_SECONDS, TRAIN, JobQueue
from store.store import Store

log = structlog.get_logger()


@dataclass(frozen=True)
class WorkerContext:
    """What every job of this process is given."""

    store: Store
    settings: Settings
    name: str = field(default_factory=lambda: f"{socket.gethostname()}-{new_id()}")
    leaving: threading.Event = field(default_factory=threading.Event)


# RQ calls the job's function by its name, with the job's id and nothing else; this is where it finds the rest.
_context: WorkerContext | None = None


def current_context() -> WorkerContext:
    assert _context is not None, "jobs run inside of work()"
    return _context


def work(settings: Settings, queue: str) -> None:
    """Runs the jobs of one queue until SIGTERM or SIGINT. The job at hand is then given back."""
    global _context  # noqa: PLW0603 - one worker a process, set once before its first job
    _context = context = WorkerContext(Store.open(settings), settings)
    if queue != TRAIN:
        # Before the first job comes, so that a small one is done at once; the train worker never imports torch.
        from worker.networks import prepare  # noqa: PLC0415

        prepare(settings)
    left = _announce_until_left(context.store.queue, queue, context.name)
    log.info("worker ready", queue=queue, worker=context.name)
    worker = _Worker(
        [queue],
        connection=context.store.queue.listening_connection(),
        serializer=JSONSerializer,
        name=context.name,
        log_job_description=False,
    )
    worker.leaving = context.leaving
    worker.work(logging_level="WARNING")
    left()
    context.store.close()


class _Worker(SimpleWorker):
    """RQ's worker without a process for each job; a signal to stop also reaches the job at hand."""

    max_connection_wait_time = 2.0  # a queue that comes back shall not wait a minute for us
    leaving: threading.Event

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        self.leaving.set()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]


def _announce_until_left(queue: JobQueue, name: str, worker: str) -> Callable[[], None]:
    """Announces this worker from a thread; what is given back ends that and takes the announcement back."""
    gone = threading.Event()

    def announce() -> None:
        while not gone.is_set():
            try:
                queue.announce(name, worker)
            except RedisError as error:
                log.warning("queue unreachable", error=str(error))
            gone.wait(PRESENCE_SECONDS / 4)

    def leave() -> None:
        gone.set()
        thread.join()
        with suppress(RedisError):  # then it is forgotten by itself
            queue.leave(name, worker)

    thread = threading.Thread(target=announce, name="presence", daemon=True)
    thread.start()
    return leave

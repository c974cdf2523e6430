"""The process that takes ids from a queue and runs the jobs; what it has loaded stays loaded between them."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType

import structlog
from redis import RedisError
from rq import SimpleWorker
from rq.exceptions import StopRequested
from rq.serializers import JSONSerializer

from config.settings import Settings
from store.db.schema import wait_until_current
from store.ids import new_id
from store.queue import PRESENCE_SECONDS, TRAIN, JobQueue
from store.store import Store
from worker.runtime.gpu import gpu_memory

PAUSE_SECONDS = 0.5  # before a queue that broke off is asked again
NICE = 5  # hours of work let the API answer first, and whatever else people do on this computer

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
    if queue != TRAIN:
        # Before the first job comes, so that a small one is done at once; the train worker never imports torch.
        from worker.runtime.model_cache import prepare  # noqa: PLC0415

        prepare(settings)
    _context = context = WorkerContext(Store.open(settings), settings)
    if queue != TRAIN:
        context.store.decoders.prepare()
    wait_until_current(context.store.database)
    os.nice(NICE)
    left = _announce_until_left(context.store.queue, queue, context.name)
    log.info("worker ready", queue=queue, worker=context.name)
    while not context.leaving.is_set():
        _take_jobs(context, queue)
        with suppress(StopRequested):  # by a signal in this moment
            context.leaving.wait(PAUSE_SECONDS)
    left()
    context.store.close()


def _take_jobs(context: WorkerContext, queue: str) -> None:
    """Until it shall leave; or until RQ gives up, as it does when the queue breaks off. What is loaded stays loaded."""
    try:
        worker = _Worker(
            [queue],
            connection=context.store.queue.listening_connection(),
            serializer=JSONSerializer,
            name=new_id(),  # RQ lets none come back under its name
            log_job_description=False,
        )
        worker.leaving = context.leaving
        worker.work(logging_level="WARNING")
    except RedisError as error:
        log.warning("queue unreachable", error=str(error))


class _Worker(SimpleWorker):
    """RQ's worker without a process for each job; a signal to stop also reaches the job at hand."""

    max_connection_wait_time = 2.0  # a queue that comes back shall not wait a minute for us
    leaving: threading.Event

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        self.leaving.set()
        # Where the queue is away RQ fails to note there that this worker leaves; that must not break the job at hand.
        with suppress(RedisError):
            super().request_stop(signum, frame)  # type: ignore[no-untyped-call]


def _announce_until_left(queue: JobQueue, name: str, worker: str) -> Callable[[], None]:
    """Announces this worker from a thread; what is given back ends that."""
    presence, gone = queue.presence(name, worker), threading.Event()

    def announce() -> None:
        while not gone.is_set():
            try:
                presence.announce()
                if memory := gpu_memory():
                    queue.report_gpu_memory(socket.gethostname(), memory)
            except RedisError as error:
                log.warning("queue unreachable", error=str(error))
            gone.wait(PRESENCE_SECONDS / 4)

    def leave() -> None:
        gone.set()
        thread.join()
        presence.leave()

    thread = threading.Thread(target=announce, name="presence", daemon=True)
    thread.start()
    return leave

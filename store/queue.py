"""The queue wakes workers and shows which of them are alive. The database remains the source of truth.

An entry is a doorbell: it says that a shard waits in the database, where its worker then finds the one to take next.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import structlog
from redis import Redis, RedisError
from rq import Queue, SimpleWorker
from rq.exceptions import StopRequested
from rq.job import Job as QueueEntry
from rq.serializers import JSONSerializer
from rq.worker import WorkerStatus

from store.errors import DatabaseUnavailable, QueueUnavailable
from store.ids import new_id
from store.keepalive import redis_options

INFERENCE, TRAIN = "warm", "train"  # names of queues on the server
QUEUES = (INFERENCE, TRAIN)
QUEUE_OF_KIND = {"degrade": INFERENCE, "sr": INFERENCE, "train": TRAIN}
HEARTBEAT_TIMEOUT = 10  # seconds of silence after which a worker counts as dead
GPU_KEY, DECODER_KEY, STORED_KEY = "patina:gpu:", "patina:decoder:", "patina:stored-bytes"
SEPARATOR = "_"  # in an entry's id, between its job and what distinguishes it from the job's other entries
# RQ's tools show this name. Workers read the id alone, so entries of earlier versions run as well.
ENTRY_FUNCTION = "patina.execute_job"
# A request must not hang when the queue is down; maintenance enqueues the job later.
TIMEOUTS = {"socket_connect_timeout": 2, "socket_timeout": 5}
RECONNECT_SECONDS = 0.5

log = structlog.get_logger()


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise QueueUnavailable(str(error)) from error


class WorkerHeartbeat:
    """A worker is alive while its connection is open. The kernel closes the connection when the process dies.

    A worker that is frozen or cut off goes silent instead, so it must `ping` within `HEARTBEAT_TIMEOUT` seconds.
    """

    def __init__(self, connection: Redis):
        self._connection = connection

    @_translate_errors()
    def ping(self) -> None:
        """Raises `QueueUnavailable`."""
        self._connection.ping()

    def close(self) -> None:
        self._connection.close()


class JobQueue:
    """RQ on Redis or Valkey. An entry is JSON and names its job alone.

    All methods raise `QueueUnavailable` if the server cannot be reached.
    """

    def __init__(self, url: str):
        self._url = url
        self._options = redis_options(url)
        self.redis = self._connect(**TIMEOUTS)

    def close(self) -> None:
        self.redis.close()

    @_translate_errors()
    def enqueue(self, job_id: str, kind: str) -> None:
        """Wakes a worker. A kind of a newer version goes to the warm workers, which leave it."""
        # An id of its own: RQ deletes an entry by its id when its worker is done, and the worker may add the next one.
        entry = f"{job_id}{SEPARATOR}{new_id()}"
        self._queue(QUEUE_OF_KIND.get(kind, INFERENCE)).enqueue(
            ENTRY_FUNCTION, args=(job_id,), job_id=entry, job_timeout=-1, result_ttl=0, failure_ttl=0
        )

    @_translate_errors()
    def queued_ids(self, queues: Sequence[str] = QUEUES) -> set[str]:
        """Returns the ids of all jobs in these queues. A damaged entry yields text that is no job's id."""
        entries = (entry for name in queues for entry in self.redis.lrange(self._queue(name).key, 0, -1))
        return {_job_of(entry if isinstance(entry, str) else entry.decode(errors="replace")) for entry in entries}

    @_translate_errors()
    def ping(self) -> None:
        self.redis.ping()

    def report_gpus(self, host: str, gpus: dict[str, dict[str, int]]) -> None:
        """Publishes, by GPU, bytes `used` and `total` and the `utilization` in percent."""
        self._publish(f"{GPU_KEY}{host}", gpus)

    def gpus(self) -> dict[str, dict[str, dict[str, int]]]:
        """Returns what workers reported, by host and GPU."""
        return self._published(GPU_KEY)

    def report_decoder_crashes(self, worker: str, crashes: int) -> None:
        """Publishes how many decoder processes of a worker have died since its start."""
        self._publish(f"{DECODER_KEY}{worker}", crashes)

    def decoder_crashes(self) -> dict[str, int]:
        """Returns what workers reported, by worker."""
        return self._published(DECODER_KEY)

    def report_stored_bytes(self, size: int, *, seconds: float) -> None:
        """Publishes the size of all stored files. It is forgotten after `seconds`."""
        self._publish(STORED_KEY, size, seconds)

    @_translate_errors()
    def stored_bytes(self) -> int | None:
        """Returns what the reaper reported; None if it has not, or stopped."""
        report = self.redis.get(STORED_KEY)
        return None if report is None else int(report)

    @_translate_errors()
    def _publish(self, key: str, report: Any, seconds: float = 2 * HEARTBEAT_TIMEOUT) -> None:
        self.redis.set(key, json.dumps(report), px=round(1000 * seconds))

    @_translate_errors()
    def _published(self, prefix: str) -> dict[str, Any]:
        keys = list(self.redis.scan_iter(f"{prefix}*", count=1000))
        reports = zip(keys, self.redis.mget(keys), strict=True) if keys else []
        return {key.decode().removeprefix(prefix): json.loads(report) for key, report in reports if report}

    def heartbeat(self, queue: str, worker: str) -> WorkerHeartbeat:
        """Returns a connection that shows others that the worker is alive."""
        return WorkerHeartbeat(self._connect(client_name=_client_name(queue, worker), **TIMEOUTS))

    @_translate_errors()
    def workers(self, queue: str, timeout: int = HEARTBEAT_TIMEOUT) -> list[str]:
        """Returns the names of workers that are connected and sent a heartbeat within `timeout` seconds.

        Only of this database of the server: another deployment may use another one.
        """
        prefix, db = _client_name(queue, ""), str(self.redis.get_connection_kwargs().get("db", 0))
        clients = [
            client for client in self.redis.client_list() if client["name"].startswith(prefix) and client["db"] == db
        ]
        return [client["name"].removeprefix(prefix) for client in clients if int(client["idle"]) < timeout]

    def count_workers(self, queue: str, timeout: int = HEARTBEAT_TIMEOUT) -> int:
        """Returns the number of `workers`."""
        return len(self.workers(queue, timeout))

    def consume(self, queue: str, handle: Callable[[str], None], shutdown: threading.Event) -> None:
        """Calls `handle` with the job of one entry after another until `shutdown` is set.

        SIGTERM and SIGINT set `shutdown`; `handle` must then return soon. It runs in this thread, the main one. If the
        server is unreachable, this method waits for it.
        """
        while not shutdown.is_set():
            try:
                worker = _Worker(
                    [queue],
                    # RQ sets the timeout of this connection, which waits for minutes on an empty queue.
                    connection=self._connect(socket_connect_timeout=2),
                    serializer=JSONSerializer,
                    name=new_id(),  # RQ lets no worker come back under its name
                    log_job_description=False,
                )
                worker.shutdown, worker.handle = shutdown, handle
                worker.work(logging_level="WARNING")
            except RedisError as error:
                log.warning("queue unavailable", error=str(error))
            with suppress(StopRequested):  # by a signal in this moment
                shutdown.wait(RECONNECT_SECONDS)

    def _connect(self, **options: Any) -> Redis:
        return Redis.from_url(self._url, **self._options, **options)

    def _queue(self, name: str) -> Queue:
        return Queue(name, connection=self.redis, serializer=JSONSerializer)


class _Worker(SimpleWorker):
    """RQ's worker without a process for each job. A signal also reaches the job that runs."""

    max_connection_wait_time = 2.0  # seconds; RQ would wait a minute for a server that is back
    shutdown: threading.Event
    handle: Callable[[str], None]

    def execute_job(self, job: QueueEntry, queue: Queue) -> None:
        """Deletes the entry, then calls `handle`.

        RQ would keep it to the end. If the worker was killed or the server lost meanwhile, it would stay forever.
        """
        with suppress(RedisError):  # `request_stop` knows the state all the same
            self.set_state(WorkerStatus.BUSY)
        with self.connection.pipeline() as pipeline:
            pipeline.lrem(queue.intermediate_queue_key, 1, job.id)
            pipeline.delete(QueueEntry.key_for(job.id))
            pipeline.execute()
        try:
            self.handle(_job_of(job.id))
        except DatabaseUnavailable as error:  # maintenance wakes a worker again
            log.warning("could not claim job", job=_job_of(job.id), error=str(error))
        except Exception:
            log.exception("could not run job", job=_job_of(job.id))
        self.set_state(WorkerStatus.IDLE)

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        self.shutdown.set()
        # RQ also notes the stop on the server. Its failure must not break the job that runs.
        with suppress(RedisError):
            super().request_stop(signum, frame)  # type: ignore[no-untyped-call]


def _job_of(entry: str) -> str:
    return entry.partition(SEPARATOR)[0]


def _client_name(queue: str, worker: str) -> str:
    return f"patina:{queue}:{worker}"

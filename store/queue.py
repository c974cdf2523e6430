"""The queue: job ids on their way to workers, and which workers are there. It may be lost whole; the rows remain."""

from __future__ import annotations

from contextlib import suppress

from redis import Redis
from rq import Queue
from rq.exceptions import NoSuchJobError
from rq.job import Job as QueueEntry
from rq.serializers import JSONSerializer

WARM, TRAIN = "warm", "train"
QUEUE_OF_KIND = {"degrade": WARM, "sr": WARM, "train": TRAIN}
PRESENCE_SECONDS = 10


class JobQueue:
    """RQ on Redis or Valkey. Entries are JSON and hold the job's id alone."""

    def __init__(self, url: str):
        # Short timeouts: a request must not hang because the queue is away; the reaper makes up for it.
        self.redis = Redis.from_url(url, socket_connect_timeout=2, socket_timeout=5)
        self._url = url

    def listening_connection(self) -> Redis:
        """For a worker, which waits for minutes on an empty queue; RQ sets the timeout that goes with that."""
        return Redis.from_url(self._url, socket_connect_timeout=2)

    def queue(self, name: str) -> Queue:
        return Queue(name, connection=self.redis, serializer=JSONSerializer)

    def enqueue(self, job_id: str, kind: str) -> None:
        """Raises redis.RedisError where the queue cannot be reached."""
        self._forget(job_id)
        self.queue(QUEUE_OF_KIND[kind]).enqueue(
            "worker.run.run", args=(job_id,), job_id=job_id, job_timeout=-1, result_ttl=0, failure_ttl=0
        )

    def waiting(self) -> set[str]:
        """The ids of all jobs that wait in a queue."""
        return {job_id for name in (WARM, TRAIN) for job_id in self.queue(name).job_ids}

    def ping(self) -> None:
        """Raises redis.RedisError where the queue cannot be reached."""
        self.redis.ping()

    def announce(self, queue: str, worker: str) -> None:
        """Tells that a worker is there; to be repeated within `PRESENCE_SECONDS`."""
        self.redis.set(f"patina:worker:{queue}:{worker}", "1", ex=PRESENCE_SECONDS)

    def leave(self, queue: str, worker: str) -> None:
        """Tells that a worker is gone; one that is killed is forgotten after `PRESENCE_SECONDS`."""
        self.redis.delete(f"patina:worker:{queue}:{worker}")

    def workers(self, queue: str) -> int:
        return sum(1 for _ in self.redis.scan_iter(f"patina:worker:{queue}:*", count=1000))

    def _forget(self, job_id: str) -> None:
        # The entry of a worker that died, in the way of a new one under the same id.
        with suppress(NoSuchJobError):
            QueueEntry.fetch(job_id, connection=self.redis, serializer=JSONSerializer).delete()

"""The queue: job ids on their way to workers, and which workers are there. It may be lost whole; the rows remain."""

from __future__ import annotations

import json

from redis import Redis, RedisError
from rq import Queue
from rq.exceptions import NoSuchJobError
from rq.job import Job as QueueEntry
from rq.serializers import JSONSerializer

WARM, TRAIN = "warm", "train"
QUEUE_OF_KIND = {"degrade": WARM, "sr": WARM, "train": TRAIN}
PRESENCE_SECONDS = 10
GPU_KEY = "patina:gpu:"
# A request must not hang because the queue is away; the reaper makes up for it.
TIMEOUTS = {"socket_connect_timeout": 2, "socket_timeout": 5}


class Presence:
    """A worker is there as long as its connection is, which the kernel closes when the process dies.

    One that is frozen, or cut off, is told by its silence: it must `announce` itself within `PRESENCE_SECONDS`.
    """

    def __init__(self, connection: Redis):
        self._connection = connection

    def announce(self) -> None:
        """Raises redis.RedisError where the queue cannot be reached."""
        self._connection.ping()

    def leave(self) -> None:
        self._connection.close()


class JobQueue:
    """RQ on Redis or Valkey. Entries are JSON and hold the job's id alone."""

    def __init__(self, url: str):
        self.redis = Redis.from_url(url, **TIMEOUTS)
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
            "worker.runtime.execute.run", args=(job_id,), job_id=job_id, job_timeout=-1, result_ttl=0, failure_ttl=0
        )

    def waiting(self) -> set[str]:
        """The ids of all jobs that wait in a queue; what a damaged file has made of others is no id of any."""
        entries = (entry for name in (WARM, TRAIN) for entry in self.redis.lrange(self.queue(name).key, 0, -1))
        return {entry if isinstance(entry, str) else entry.decode(errors="replace") for entry in entries}

    def ping(self) -> None:
        """Raises redis.RedisError where the queue cannot be reached."""
        self.redis.ping()

    def depth(self, queue: str) -> int:
        """The number of jobs that wait in it."""
        return int(self.queue(queue).count)

    def report_gpu_memory(self, host: str, memory: dict[str, dict[str, int]]) -> None:
        """Tells how much of each GPU is `used` and how much there is in `total`, in bytes; for a short while."""
        self.redis.set(f"{GPU_KEY}{host}", json.dumps(memory), ex=2 * PRESENCE_SECONDS)

    def gpu_memory(self) -> dict[str, dict[str, dict[str, int]]]:
        """By host and GPU, what workers reported."""
        keys = list(self.redis.scan_iter(f"{GPU_KEY}*", count=1000))
        found = zip(keys, self.redis.mget(keys), strict=True) if keys else []
        return {key.decode().removeprefix(GPU_KEY): json.loads(said) for key, said in found if said}

    def presence(self, queue: str, worker: str) -> Presence:
        """The connection by which others see that the worker is there."""
        return Presence(Redis.from_url(self._url, client_name=_presence_name(queue, worker), **TIMEOUTS))

    def workers(self, queue: str, silent_seconds: int = PRESENCE_SECONDS) -> int:
        """The number of workers that are connected and were not silent for so long."""
        here = [client for client in self.redis.client_list() if client["name"].startswith(_presence_name(queue, ""))]
        return sum(int(client["idle"]) < silent_seconds for client in here)

    def _forget(self, job_id: str) -> None:
        # The entry of a worker that died, in the way of a new one under the same id.
        try:
            QueueEntry.fetch(job_id, connection=self.redis, serializer=JSONSerializer).delete()
        except NoSuchJobError:
            pass
        except RedisError:
            raise
        except Exception:  # half of one, as a worker leaves that ends a job which the queue has lost meanwhile
            self.redis.delete(QueueEntry.key_for(job_id))


def _presence_name(queue: str, worker: str) -> str:
    return f"patina:{queue}:{worker}"

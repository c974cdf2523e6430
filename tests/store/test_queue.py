"""The queue wakes a worker for each entry, survives damage, and shows which workers are alive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest
from rq import Queue
from rq.serializers import JSONSerializer

from store.errors import QueueUnavailable
from store.queue import INFERENCE, TRAIN, JobQueue
from tests.support.wait_until import wait_until


def test_each_entry_wakes_one_worker(redis_url: str) -> None:
    queue = JobQueue(redis_url)
    for _ in range(2):
        queue.enqueue("job-1", "degrade")
    queue.enqueue("job-2", "train")
    assert [queue.queued_ids([INFERENCE]), queue.queued_ids([TRAIN])] == [{"job-1"}, {"job-2"}]
    assert [queue.redis.llen(f"rq:queue:{name}") for name in (INFERENCE, TRAIN)] == [2, 1]
    assert queue.queued_ids() == {"job-1", "job-2"}


def test_damaged_entry_is_ignored(redis_url: str) -> None:
    queue = JobQueue(redis_url)
    queue.enqueue("job-1", "degrade")
    queue.redis.lpush("rq:queue:warm", b"\xff\xfe")
    assert "job-1" in queue.queued_ids()
    assert len(queue.queued_ids()) == 2


def test_half_an_entry_does_not_block_others(redis_url: str) -> None:
    queue = JobQueue(redis_url)
    queue.redis.hset("rq:job:job-1", mapping={"ended_at": "never", "created_at": "x"})
    queue.redis.rpush("rq:queue:warm", "job-1")
    queue.enqueue("job-2", "degrade")
    handled: list[str] = []

    def handle(job_id: str) -> None:
        handled.append(job_id)
        os.kill(os.getpid(), signal.SIGTERM)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        queue.consume(INFERENCE, handle, threading.Event())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert handled == ["job-2"]


def test_consume_handles_jobs_until_shutdown(redis_url: str) -> None:
    """Entries of earlier versions name another function; the id is all that counts. An error ends one job alone."""
    queue, shutdown, handled = JobQueue(redis_url), threading.Event(), list[str]()
    earlier = Queue(INFERENCE, connection=queue.redis, serializer=JSONSerializer)
    earlier.enqueue("worker.run.run", args=("job-1",), job_id="job-1", job_timeout=-1, result_ttl=0, failure_ttl=0)
    queue.enqueue("job-2", "degrade")
    queue.enqueue("job-3", "sr")

    def handle(job_id: str) -> None:
        handled.append(job_id)
        if job_id == "job-2":
            raise RuntimeError("this job breaks")
        if job_id == "job-3":
            os.kill(os.getpid(), signal.SIGTERM)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        queue.consume(INFERENCE, handle, shutdown)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert shutdown.is_set()
    assert handled == ["job-1", "job-2", "job-3"]
    assert queue.queued_ids() == set()


def test_unreachable_server_raises_queue_unavailable() -> None:
    queue = JobQueue("unix:///nowhere")
    for call in (queue.ping, queue.queued_ids, queue.gpus, queue.heartbeat(INFERENCE, "one").ping):
        with pytest.raises(QueueUnavailable):
            call()
    with pytest.raises(QueueUnavailable):
        queue.enqueue("job-1", "sr")


def test_workers_are_counted_until_they_close_or_go_silent(redis_url: str) -> None:
    queue = JobQueue(redis_url)
    heartbeats = {
        name: queue.heartbeat(at, name) for at, name in ((INFERENCE, "one"), (INFERENCE, "two"), (TRAIN, "3"))
    }
    for heartbeat in heartbeats.values():
        heartbeat.ping()
    assert (queue.count_workers(INFERENCE), queue.count_workers(TRAIN)) == (2, 1)
    assert sorted(queue.workers(INFERENCE)) == ["one", "two"]
    heartbeats["one"].close()
    assert wait_until(lambda: queue.count_workers(INFERENCE) == 1)
    assert wait_until(lambda: queue.count_workers(INFERENCE, timeout=1) == 0)
    heartbeats["two"].ping()
    assert queue.count_workers(INFERENCE, timeout=1) == 1


def test_workers_of_another_deployment_do_not_count(redis_url: str) -> None:
    """One server may have several databases, and it lists the connections of all."""
    elsewhere = JobQueue(f"{redis_url}?db=15")
    heartbeat = elsewhere.heartbeat(INFERENCE, "one")
    heartbeat.ping()
    assert (elsewhere.count_workers(INFERENCE), JobQueue(redis_url).count_workers(INFERENCE)) == (1, 0)


def test_killed_worker_disappears_at_once(redis_url: str) -> None:
    code = f"from store.queue import JobQueue as Q; h = Q({redis_url!r}).heartbeat('warm', 'w'); h.ping(); input()"
    worker = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    queue = JobQueue(redis_url)
    assert wait_until(lambda: queue.count_workers(INFERENCE) == 1)
    worker.kill()
    worker.communicate()
    assert wait_until(lambda: queue.count_workers(INFERENCE) == 0, seconds=1)


def test_a_killed_worker_leaves_nothing_in_the_queue(redis_url: str) -> None:
    code = f"""
import os, signal, threading
from store.queue import JobQueue
JobQueue({redis_url!r}).consume("warm", lambda _: os.kill(os.getpid(), signal.SIGKILL), threading.Event())
"""
    queue = JobQueue(redis_url)
    queue.enqueue("job-1", "degrade")
    queue.enqueue("job-2", "train")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    keys = {key.decode() for key in queue.redis.scan_iter("rq:*") if queue.redis.ttl(key) < 0}
    waiting = {key.decode() for key in queue.redis.scan_iter("rq:job:job-2*")}
    assert keys - {"rq:workers", "rq:workers:warm"} == {"rq:queues", "rq:queue:train", *waiting}
    assert queue.queued_ids() == {"job-2"}

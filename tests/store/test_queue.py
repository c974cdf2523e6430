"""The queue carries ids, may be told the same twice, and knows which workers are there."""

from __future__ import annotations

import subprocess
import sys

from store.queue import TRAIN, WARM, JobQueue
from tests.wait_until import soon


def test_a_job_that_is_enqueued_twice_waits_once(redis_url: str) -> None:
    queue = JobQueue(redis_url)
    for _ in range(2):
        queue.enqueue("job-1", "degrade")
    queue.enqueue("job-2", "train")
    assert queue.queue(WARM).job_ids == ["job-1"]
    assert queue.queue(TRAIN).job_ids == ["job-2"]
    assert queue.waiting() == {"job-1", "job-2"}


def test_what_a_damaged_file_left_in_it_is_in_nobodys_way(redis_url: str) -> None:
    queue = JobQueue(redis_url)
    queue.enqueue("job-1", "degrade")
    queue.redis.lpush(queue.queue(WARM).key, b"\xff\xfe")
    assert "job-1" in queue.waiting()


def test_half_an_entry_does_not_keep_its_job_off_the_queue(redis_url: str) -> None:
    queue = JobQueue(redis_url)
    queue.redis.hset("rq:job:job-1", mapping={"ended_at": "never", "created_at": "x"})
    queue.enqueue("job-1", "degrade")
    assert queue.waiting() == {"job-1"}


def test_workers_are_counted_until_they_leave_or_fall_silent(redis_url: str) -> None:
    queue = JobQueue(redis_url)
    here = {name: queue.presence(at, name) for at, name in ((WARM, "one"), (WARM, "two"), (TRAIN, "three"))}
    for presence in here.values():
        presence.announce()
    assert (queue.workers(WARM), queue.workers(TRAIN)) == (2, 1)
    here["one"].leave()
    assert soon(lambda: queue.workers(WARM) == 1)
    assert soon(lambda: queue.workers(WARM, silent_seconds=1) == 0)
    here["two"].announce()
    assert queue.workers(WARM, silent_seconds=1) == 1


def test_a_worker_that_is_killed_is_gone_at_once(redis_url: str) -> None:
    code = f"from store.queue import JobQueue as Q; p = Q({redis_url!r}).presence('warm', 'w'); p.announce(); input()"
    worker = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    queue = JobQueue(redis_url)
    assert soon(lambda: queue.workers(WARM) == 1)
    worker.kill()
    worker.communicate()
    assert soon(lambda: queue.workers(WARM) == 0, seconds=1)

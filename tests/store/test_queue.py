"""The queue carries ids, may be told the same twice, and knows which workers are there."""

from __future__ import annotations

from store.queue import TRAIN, WARM, JobQueue


def test_a_job_that_is_enqueued_twice_waits_once(redis_url: str) -> None:
    queue = JobQueue(redis_url)
    for _ in range(2):
        queue.enqueue("job-1", "degrade")
    queue.enqueue("job-2", "train")
    assert queue.queue(WARM).job_ids == ["job-1"]
    assert queue.queue(TRAIN).job_ids == ["job-2"]
    assert queue.waiting() == {"job-1", "job-2"}


def test_workers_are_counted_until_they_leave(redis_url: str) -> None:
    queue = JobQueue(redis_url)
    queue.announce(WARM, "one")
    queue.announce(WARM, "two")
    queue.announce(TRAIN, "three")
    assert (queue.workers(WARM), queue.workers(TRAIN)) == (2, 1)
    queue.leave(WARM, "one")
    assert queue.workers(WARM) == 1

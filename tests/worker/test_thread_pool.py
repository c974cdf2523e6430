"""The thread pool: every task is done, an error ends all threads, and the budget is kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from worker.runtime.thread_pool import Budget, OrderedThreadPool


def test_every_result_arrives_once_in_the_callers_thread() -> None:
    results: list[tuple[int, int]] = []
    threads: set[threading.Thread] = set()

    def work(task: int, thread: int) -> Iterator[tuple[int, int]]:
        threads.add(threading.current_thread())
        for part in range(3):
            time.sleep(0.001)
            yield task, part

    def on_result(result: tuple[int, int]) -> None:
        assert threading.current_thread() is threading.main_thread()
        results.append(result)

    OrderedThreadPool(4, work).run(range(50), on_result, lambda: None)
    assert sorted(results) == [(task, part) for task in range(50) for part in range(3)]
    assert len(threads) == 4
    assert not any(thread.is_alive() for thread in threads)


def test_threads_work_at_the_same_time() -> None:
    barrier = threading.Barrier(3)

    def work(task: int, thread: int) -> Iterator[int]:
        barrier.wait(10)  # fails unless all three threads arrive
        yield task

    results: list[int] = []
    OrderedThreadPool(3, work).run([0, 1, 2], results.append, lambda: None)
    assert sorted(results) == [0, 1, 2]


@pytest.mark.parametrize("culprit", ["work", "on_result", "check_canceled"])
def test_any_error_ends_all_threads(culprit: str) -> None:
    started: list[int] = []

    def work(task: int, thread: int) -> Iterator[int]:
        started.append(task)
        if culprit == "work" and task == 5:
            raise KeyError(culprit)
        time.sleep(0.01)
        yield task

    def on_result(result: int) -> None:
        if culprit == "on_result" and result >= 5:
            raise KeyError(culprit)

    def check_canceled() -> None:
        if culprit == "check_canceled" and len(started) > 5:
            raise KeyError(culprit)

    before = threading.active_count()
    with pytest.raises(KeyError, match=culprit):
        OrderedThreadPool(2, work).run(range(1000), on_result, check_canceled)
    assert threading.active_count() == before
    assert len(started) < 100


def test_the_budget_is_kept_except_for_one_larger_request() -> None:
    budget, lock = Budget(10), threading.Lock()
    in_use: list[int] = []
    snapshots: list[list[int]] = []

    def work(size: int, thread: int) -> Iterator[int]:
        with budget.acquire(size):
            with lock:
                in_use.append(size)
                snapshots.append(list(in_use))
            time.sleep(0.002)
            with lock:
                in_use.remove(size)
        yield size

    sizes = [4, 5, 12, 3, 3, 3, 30, 1] * 5
    results: list[int] = []
    OrderedThreadPool(6, work).run(sizes, results.append, lambda: None)
    assert sorted(results) == sorted(sizes)
    assert all(sum(sizes) <= 10 or len(sizes) == 1 for sizes in snapshots)
    assert max(len(sizes) for sizes in snapshots) > 1

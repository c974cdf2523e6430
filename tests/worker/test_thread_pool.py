"""Several pieces of work at once: all are done, what is raised ends them, and no more is in hand than allowed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from worker.runtime.thread_pool import Allowance, Lanes


def test_every_result_of_every_task_is_taken_once_in_the_callers_thread() -> None:
    taken: list[tuple[int, int]] = []
    threads: set[threading.Thread] = set()

    def work(task: int, lane: int) -> Iterator[tuple[int, int]]:
        threads.add(threading.current_thread())
        for part in range(3):
            time.sleep(0.001)
            yield task, part

    def take(result: tuple[int, int]) -> None:
        assert threading.current_thread() is threading.main_thread()
        taken.append(result)

    Lanes(4, work).run(range(50), take, lambda: None)
    assert sorted(taken) == [(task, part) for task in range(50) for part in range(3)]
    assert len(threads) == 4
    assert not any(thread.is_alive() for thread in threads)


def test_lanes_work_at_the_same_time() -> None:
    meeting = threading.Barrier(3)

    def work(task: int, lane: int) -> Iterator[int]:
        meeting.wait(10)  # which fails unless all three come
        yield task

    done: list[int] = []
    Lanes(3, work).run([0, 1, 2], done.append, lambda: None)
    assert sorted(done) == [0, 1, 2]


@pytest.mark.parametrize("culprit", ["work", "take", "check"])
def test_whatever_is_raised_ends_all_lanes(culprit: str) -> None:
    begun: list[int] = []

    def work(task: int, lane: int) -> Iterator[int]:
        begun.append(task)
        if culprit == "work" and task == 5:
            raise KeyError(culprit)
        time.sleep(0.01)
        yield task

    def take(result: int) -> None:
        if culprit == "take" and result >= 5:
            raise KeyError(culprit)

    def check() -> None:
        if culprit == "check" and len(begun) > 5:
            raise KeyError(culprit)

    before = threading.active_count()
    with pytest.raises(KeyError, match=culprit):
        Lanes(2, work).run(range(1000), take, check)
    assert threading.active_count() == before
    assert len(begun) < 100


def test_no_more_is_in_hand_than_allowed_but_for_one_that_is_larger() -> None:
    allowance, lock = Allowance(10), threading.Lock()
    in_hand: list[int] = []
    seen: list[list[int]] = []

    def work(size: int, lane: int) -> Iterator[int]:
        with allowance.taken(size):
            with lock:
                in_hand.append(size)
                seen.append(list(in_hand))
            time.sleep(0.002)
            with lock:
                in_hand.remove(size)
        yield size

    sizes = [4, 5, 12, 3, 3, 3, 30, 1] * 5
    done: list[int] = []
    Lanes(6, work).run(sizes, done.append, lambda: None)
    assert sorted(done) == sorted(sizes)
    assert all(sum(together) <= 10 or len(together) == 1 for together in seen)
    assert max(len(together) for together in seen) > 1

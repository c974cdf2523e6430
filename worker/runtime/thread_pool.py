"""Several pieces of a job at once, each in a thread of its own: while one waits for the disk another computes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

LOOK_EVERY_SECONDS = 0.1  # at whether the work shall stop


class Lanes(Generic[Task, Result]):
    """`work(task, lane)` yields the results of a task, in one of `lanes` threads, numbered from 0.

    Threads are enough: decoding, convolving, hashing and writing let go of Python's lock.
    """

    def __init__(self, lanes: int, work: Callable[[Task, int], Iterator[Result]]):
        self._lanes = lanes
        self._work = work
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._results: SimpleQueue[Result | _Ended] = SimpleQueue()

    def run(self, tasks: Sequence[Task], take: Callable[[Result], None], check: Callable[[], None]) -> None:
        """Does all tasks, begun in their order, and gives each result to `take` here in this thread, as it comes.

        Whatever `take`, `check` or a task raises ends it: no more is begun, and it is raised when all threads have left
        off, which is after the result that each is at.
        """
        waiting = iter(tasks)
        running = min(self._lanes, len(tasks))
        # Each with a copy of this thread's context, so that its log lines have the job's id.
        threads = [
            threading.Thread(target=copy_context().run, args=(self._drive, waiting, lane), name=f"lane-{lane}")
            for lane in range(running)
        ]
        for thread in threads:
            thread.start()
        try:
            while running:
                check()
                try:
                    result = self._results.get(timeout=LOOK_EVERY_SECONDS)
                except Empty:
                    continue
                if not isinstance(result, _Ended):
                    take(result)
                    continue
                running -= 1
                if result.error is not None:
                    raise result.error
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _drive(self, waiting: Iterator[Task], lane: int) -> None:
        error = None
        try:
            while not self._stop.is_set():
                with self._lock:
                    task = next(waiting)
                for result in self._work(task, lane):
                    self._results.put(result)
                    if self._stop.is_set():
                        break
        except StopIteration:
            pass
        except Exception as raised:  # whatever it is, it is raised where the job is concluded
            error = raised
        self._results.put(_Ended(error))


class _Ended:
    """A lane has nothing more to do, or cannot."""

    def __init__(self, error: Exception | None):
        self.error = error


class Allowance:
    """So much of something, pixels for instance, may be in use at once; a request for more waits until it is alone."""

    def __init__(self, limit: int):
        self._limit = limit
        self._used = 0
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, amount: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._used == 0 or self._used + amount <= self._limit)
            self._used += amount
        try:
            yield
        finally:
            with self._changed:
                self._used -= amount
                self._changed.notify_all()

"""Runs parts of a job in several threads: while one waits for the disk, another computes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

CHECK_EVERY_SECONDS = 0.1  # how often `run` checks for a cancel


class OrderedThreadPool(Generic[Task, Result]):
    """Starts tasks in order. `work(task, thread)` yields the results of a task; threads are numbered from 0.

    Threads suffice: decoding, convolving, hashing and writing release Python's lock.
    """

    def __init__(self, num_threads: int, work: Callable[[Task, int], Iterator[Result]]):
        self._num_threads = num_threads
        self._work = work
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._results: SimpleQueue[Result | _Done] = SimpleQueue()

    def run(
        self,
        tasks: Sequence[Task],
        on_result: Callable[[Result], None],
        check_canceled: Callable[[], None],
        is_yielding: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Runs all tasks. Calls `on_result` in this thread with each result as it arrives.

        Once `is_yielding` returns True, no other task starts. Returns whether all tasks were run.

        Raises the first error of `on_result`, `check_canceled` or a task. No task starts after that, and each thread
        stops after its current result; `run` waits for that before it raises.
        """
        remaining = iter(tasks)
        running = min(self._num_threads, len(tasks))
        # Each thread gets a copy of this thread's context, so that its log lines have the job's id.
        threads = [
            threading.Thread(
                target=copy_context().run,
                args=(self._worker_loop, remaining, thread, is_yielding),
                name=f"pool-{thread}",
            )
            for thread in range(running)
        ]
        for thread in threads:
            thread.start()
        try:
            while running:
                check_canceled()
                try:
                    result = self._results.get(timeout=CHECK_EVERY_SECONDS)
                except Empty:
                    continue
                if not isinstance(result, _Done):
                    on_result(result)
                    continue
                running -= 1
                if result.error is not None:
                    raise result.error
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
        return next(remaining, None) is None

    def _worker_loop(self, remaining: Iterator[Task], thread: int, is_yielding: Callable[[], bool]) -> None:
        error = None
        try:
            while not (self._stop.is_set() or is_yielding()):
                with self._lock:
                    task = next(remaining)
                for result in self._work(task, thread):
                    self._results.put(result)
                    if self._stop.is_set():
                        break
        except StopIteration:
            pass
        except Exception as raised:  # `run` raises it
            error = raised
        self._results.put(_Done(error))


class _Done:
    """The last message of a thread."""

    def __init__(self, error: Exception | None):
        self.error = error


class Budget:
    """Limits how much of something, such as pixels, is in use at once. A larger request waits until it is alone."""

    def __init__(self, limit: int):
        self._limit = limit
        self._used = 0
        self._changed = threading.Condition()

    @contextmanager
    def acquire(self, amount: int) -> Iterator[None]:
        """Waits until `amount` is available, and holds it inside `with`."""
        with self._changed:
            self._changed.wait_for(lambda: self._used == 0 or self._used + amount <= self._limit)
            self._used += amount
        try:
            yield
        finally:
            with self._changed:
                self._used -= amount
                self._changed.notify_all()

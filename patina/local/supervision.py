"""Restarts and stops child processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

import structlog

from patina.local.child_process import ChildProcess, describe_exit

TICK = 0.1  # seconds between two checks of the children

log = structlog.get_logger()


def restart_exited(
    children: Iterable[ChildProcess], on_exit: Callable[[ChildProcess, int], None] | None = None
) -> None:
    """Restarts children that exited, after a pause that grows while they keep failing. Call it every TICK.

    `on_exit` is called with a child that exited and its status, before its restart.
    """
    for child in children:
        status = child.status
        if status is not None:
            child.kill()  # the rest of its process group
            backoff = child.schedule_restart()
            log.error("process exited", child=child.name, how=describe_exit(status), restart_in=round(backoff, 1))
            if on_exit:
                on_exit(child, status)
        elif child.restart_due and child.failures:
            child.start()


def shut_down(children: Sequence[ChildProcess], seconds: float, stop_now: Callable[[], bool]) -> None:
    """Sends SIGTERM to all, and kills those that remain after `seconds`, or once `stop_now` returns True."""
    for child in children:
        child.terminate()
    deadline = time.monotonic() + seconds
    while any(child.is_running for child in children):
        if time.monotonic() > deadline or stop_now():
            slow = [child.name for child in children if child.is_running]
            log.warning("killed unresponsive processes", children=slow)
            break
        time.sleep(0.02)
    for child in children:
        child.kill()

"""Keeps the processes of a cluster alive, as Docker or Kubernetes does: `python -m bench.services.supervisor FILE`.

The file is JSON, a list of `Child`. The processes start in that order and stop in the reverse one.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType

from patina.local.child_process import ChildProcess
from patina.local.supervision import TICK, restart_exited, shut_down

STOP_SECONDS = 15.0


@dataclass(frozen=True)
class Child:
    """A process. `environment` is added to that of the supervisor; `folder` is where it runs, created if needed."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    folder: str | None = None
    is_server: bool = False  # others need it until they have stopped


def save_children(children: list[Child], file: Path) -> None:
    file.write_text(json.dumps([asdict(child) for child in children]))


def run(file: Path) -> None:
    """Returns after SIGTERM or SIGINT, when all processes have stopped."""
    stop_requests = 0

    def request_stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stop_requests
        stop_requests += 1

    def stop_now() -> bool:
        return stop_requests > 1

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, request_stop)
    children = [Child(**stored) for stored in json.loads(file.read_text())]
    processes = [
        ChildProcess(
            child.name,
            child.command,
            os.environ | child.environment,
            Path(child.folder) if child.folder else None,
        )
        for child in children
    ]
    try:
        for process in processes:
            process.start()
        while not stop_requests:
            restart_exited(processes)
            time.sleep(TICK)
    finally:
        for of_servers in (False, True):
            stopped = [
                process for process, child in zip(processes, children, strict=True) if child.is_server == of_servers
            ]
            shut_down(stopped, STOP_SECONDS, lambda: stop_requests > 1)


if __name__ == "__main__":
    run(Path(sys.argv[1]))

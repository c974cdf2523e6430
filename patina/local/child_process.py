"""A process that `patina up` keeps alive, and that never outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from config.process import die_with_parent

STEADY_SECONDS = 20  # a child that lived so long did start; its next death begins a new count
LONGEST_PAUSE = 30.0
PYTHON = (sys.executable, "-P")  # -P: a folder called app or worker where the user stands is not ours


class Child:
    """One command: started, watched, started again after a pause that grows while it keeps failing at once."""

    def __init__(
        self, name: str, command: Sequence[str | Path], environment: Mapping[str, str], folder: Path | None = None
    ) -> None:
        self.name = name
        self.failures = 0  # deaths in a row, each soon after its start
        self._command = [str(part) for part in command]
        self._environment = dict(environment)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._start_again = 0.0

    def start(self) -> None:
        self._started = time.monotonic()
        if self._folder:
            self._folder.mkdir(parents=True, exist_ok=True)  # it may be what was lost
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),  # standard output is for the one line that says where the service is
            env=self._environment,
            cwd=self._folder,
            process_group=0,  # Ctrl-C is for the supervisor alone, which then stops its children in order
            preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509 - the supervisor has no threads
        )

    @property
    def status(self) -> int | None:
        """Exit status as `Popen` gives it (minus the signal's number when one ended it); None while it runs."""
        return self._process.poll() if self._process else None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def plan_restart(self) -> float:
        """Notes a death; returns the seconds until `due`."""
        steady = time.monotonic() - self._started > STEADY_SECONDS
        self.failures = 1 if steady else self.failures + 1
        pause = 0.0 if steady else min(LONGEST_PAUSE, 0.25 * 2**self.failures)
        self._process = None
        self._start_again = time.monotonic() + pause
        return pause

    @property
    def due(self) -> bool:
        return self._process is None and time.monotonic() >= self._start_again

    def ask_to_leave(self) -> None:
        if self.alive and self._process:
            self._process.terminate()

    def end(self) -> None:
        """Kills it and whatever is left of its process group, and waits until it is gone."""
        if self._process is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def ending(status: int) -> str:
    """How a process ended, in words."""
    if status >= 0:
        return f"exit status {status}"
    return f"killed by {signal.Signals(-status).name}"

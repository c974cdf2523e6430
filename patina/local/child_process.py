"""A child process that `patina up` keeps alive and that never outlives it."""

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

STABLE_AFTER = 20.0  # seconds; a child that lived longer did start, so its next exit begins a new count
MAX_BACKOFF = 30.0  # seconds
PYTHON = (sys.executable, "-P")  # -P: an `app` or `worker` folder in the current directory must not shadow ours


class ChildProcess:
    """One supervised command. Restarts wait longer while the child keeps failing right after its start."""

    def __init__(
        self, name: str, command: Sequence[str | Path], environment: Mapping[str, str], folder: Path | None = None
    ) -> None:
        self.name = name
        self.failures = 0  # exits in a row, each soon after the start
        self._command = [str(argument) for argument in command]
        self.environment = dict(environment)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._restart_at = 0.0

    def start(self) -> None:
        self._started = time.monotonic()
        if self._folder:
            self._folder.mkdir(parents=True, exist_ok=True)  # the lost folder may be why the child exited
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),  # standard output is for the one line with the service's URL
            env=self.environment,
            cwd=self._folder,
            process_group=0,  # Ctrl-C reaches the supervisor alone, which then stops its children in order
            preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509 - the supervisor has no threads
        )

    @property
    def status(self) -> int | None:
        """Exit status as `Popen.returncode`: negative for a signal, None while the process runs."""
        return self._process.poll() if self._process else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def schedule_restart(self) -> float:
        """Records an exit. Returns the seconds until `restart_due`."""
        was_stable = time.monotonic() - self._started > STABLE_AFTER
        self.failures = 1 if was_stable else self.failures + 1
        backoff = 0.0 if was_stable else min(MAX_BACKOFF, 0.25 * 2**self.failures)
        self._process = None
        self._restart_at = time.monotonic() + backoff
        return backoff

    @property
    def restart_due(self) -> bool:
        return self._process is None and time.monotonic() >= self._restart_at

    def terminate(self) -> None:
        if self.is_running and self._process:
            self._process.terminate()

    def kill(self) -> None:
        """Kills the whole process group and waits until the child is gone."""
        if self._process is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def describe_exit(status: int) -> str:
    """Describes how a process ended, in plain English."""
    if status >= 0:
        return f"exit status {status}"
    return f"killed by {signal.Signals(-status).name}"

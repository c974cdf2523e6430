"""The service that a command talks to: a named one, the running one, or a temporary one."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from config.process import die_with_parent
from patina.errors import StartError
from patina.local.child_process import PYTHON
from patina.local.pidfile import is_locked, read_pidfile

START_TIMEOUT = 90.0  # seconds
STOP_TIMEOUT = 40.0


@dataclass(frozen=True)
class Service:
    url: str
    is_temporary: bool  # it was started for this command and stops with it


@contextmanager
def connect(data_dir: Path, url: str | None = None, notify: Callable[[str], None] = print) -> Iterator[Service]:
    """Yields the service at `url`, else the one that runs on the folder, else a temporary one."""
    if url:
        yield Service(url, is_temporary=False)
    elif running := find_service(data_dir):
        yield Service(running, is_temporary=False)
    else:
        notify("Starting a service for this command (to keep one running: patina up) …")
        with temporary_service(data_dir) as temporary:
            yield Service(temporary, is_temporary=True)


@contextmanager
def temporary_service(data_dir: Path, *, embedded: bool = False) -> Iterator[str]:
    """Runs a service on a free port and yields its URL.

    `embedded` ignores PATINA_DATABASE_URL and PATINA_REDIS_URL. Raises `StartError` if the service does not start.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"PATINA_DATA_DIR": str(data_dir)}
    if embedded:
        for variable in ("PATINA_DATABASE_URL", "PATINA_REDIS_URL"):
            environment.pop(variable, None)
    log_file = data_dir / "service.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [*PYTHON, "-m", "patina", "up", "--port", "0"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            process_group=0,  # Ctrl-C reaches the command alone, which then stops the service
            preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGTERM),  # noqa: PLW1509 - no threads yet
        )
    try:
        yield _wait_for_pidfile(data_dir, log_file, process)
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def find_service(data_dir: Path) -> str | None:
    """Returns the URL of the service on this folder, or None. Waits for one that is starting.

    Raises `StartError` if a service holds the folder and does not answer.
    """
    deadline = time.monotonic() + START_TIMEOUT
    while is_locked(data_dir):
        running = read_pidfile(data_dir)
        if running and _is_healthy(running.url):
            return running.url
        if time.monotonic() > deadline:
            raise StartError(f"A service holds {data_dir} but does not answer. Stop that `patina up` and retry.")
        time.sleep(0.2)
    return None


def _is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _wait_for_pidfile(data_dir: Path, log_file: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        running = read_pidfile(data_dir)
        if running and running.pid == process.pid:
            return running.url
        time.sleep(0.05)
    last_lines = "\n".join(log_file.read_text(errors="replace").splitlines()[-5:])
    raise StartError(f"The service did not start. Its log is {log_file}; the last lines:\n{last_lines}")

"""The service that a command talks to: the one that is named, the one that runs, or one started for the purpose."""

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
from patina.local.pidfile import is_locked, read_note

START_SECONDS = 90.0
LEAVE_SECONDS = 40.0


@dataclass(frozen=True)
class Service:
    url: str
    own: bool  # started for the purpose; it stops with the command


@contextmanager
def service(data_dir: Path, url: str | None = None, say: Callable[[str], None] = print) -> Iterator[Service]:
    if url:
        yield Service(url, own=False)
    elif running := find(data_dir):
        yield Service(running, own=False)
    else:
        say("Starting a service for this command (to keep one running: patina up) …")
        with started(data_dir) as own:
            yield Service(own, own=True)


@contextmanager
def started(data_dir: Path, *, embedded: bool = False) -> Iterator[str]:
    """A service of our own on a free port, until the end of the block; `embedded`: whatever else may be set."""
    data_dir.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"PATINA_DATA_DIR": str(data_dir)}
    if embedded:
        for elsewhere in ("PATINA_DATABASE_URL", "PATINA_REDIS_URL"):
            environment.pop(elsewhere, None)
    log_file = data_dir / "service.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [*PYTHON, "-m", "patina", "up", "--port", "0"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            process_group=0,  # Ctrl-C is for the command, which then stops the service
            preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGTERM),  # noqa: PLW1509 - commands have no threads yet
        )
    try:
        yield _wait_for_note(data_dir, log_file, process)
    finally:
        process.terminate()
        try:
            process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def find(data_dir: Path) -> str | None:
    """The URL of the service on this folder; one that is just starting is waited for."""
    give_up = time.monotonic() + START_SECONDS
    while is_locked(data_dir):
        note = read_note(data_dir)
        if note and _alive(note.url):
            return note.url
        if time.monotonic() > give_up:
            raise StartError(f"A service holds {data_dir} but does not answer. Stop it (patina up), then try again.")
        time.sleep(0.2)
    return None


def _alive(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _wait_for_note(data_dir: Path, log_file: Path, process: subprocess.Popen[bytes]) -> str:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        note = read_note(data_dir)
        if note and note.pid == process.pid:
            return note.url
        time.sleep(0.05)
    last_lines = "\n".join(log_file.read_text(errors="replace").splitlines()[-5:])
    raise StartError(f"The service did not start. All it said is in {log_file}; the end of it:\n{last_lines}")

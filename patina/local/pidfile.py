"""The running service of a data folder: a lock that keeps it the only one, and a pidfile with its URL."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from patina.errors import AlreadyRunningError, StartError


@dataclass(frozen=True)
class RunningService:
    url: str
    pid: int


@contextmanager
def lock_data_dir(data_dir: Path) -> Iterator[None]:
    """Locks the folder for this process; the kernel releases the lock even after a kill -9.

    Raises `AlreadyRunningError` if another service holds it, `StartError` if the folder is not writable.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / "service.lock").open("a")
    except OSError as error:
        raise StartError(
            f"Cannot write to {data_dir} ({error.strerror}). Set PATINA_DATA_DIR to another folder."
        ) from error
    with lock:
        if not _acquire(lock):
            running = read_pidfile(data_dir)
            where = f" at {running.url} (process {running.pid})" if running else ""
            raise AlreadyRunningError(
                f"Patina already runs on {data_dir}{where}. Stop it first, or set PATINA_DATA_DIR to another folder."
            )
        _pidfile(data_dir).unlink(missing_ok=True)  # of a killed service
        try:
            yield
        finally:
            _pidfile(data_dir).unlink(missing_ok=True)


def _acquire(lock: TextIO) -> bool:
    """Tries for a second, because `is_locked` in another process holds the lock for a moment."""
    for _ in range(20):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return True
    return False


def is_locked(data_dir: Path) -> bool:
    try:
        lock = (data_dir / "service.lock").open("r")
    except FileNotFoundError:
        return False
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def write_pidfile(data_dir: Path, running: RunningService) -> None:
    temporary = _pidfile(data_dir).with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(asdict(running)) + "\n")
    temporary.rename(_pidfile(data_dir))


def read_pidfile(data_dir: Path) -> RunningService | None:
    """Returns URL and process id of the service. They are valid only while the folder `is_locked`."""
    try:
        return RunningService(**json.loads(_pidfile(data_dir).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _pidfile(data_dir: Path) -> Path:
    return data_dir / "service.json"

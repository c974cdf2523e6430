"""Which service works on a data folder now: the lock that keeps it the only one, and the note that says where it is."""

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
class Running:
    url: str
    pid: int


@contextmanager
def only_service_of(data_dir: Path) -> Iterator[None]:
    """Holds the folder's lock; the kernel gives it back whatever becomes of this process."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / "service.lock").open("a")
    except OSError as error:
        raise StartError(
            f"Cannot write to {data_dir} ({error.strerror}). Set PATINA_DATA_DIR to a folder that you can write to."
        ) from error
    with lock:
        if not _acquire(lock):
            note = read_note(data_dir)
            where = f" at {note.url} (process {note.pid})" if note else ""
            raise AlreadyRunningError(
                f"Patina already runs on {data_dir}{where}. Stop it first, or set PATINA_DATA_DIR to another folder."
            )
        _note_file(data_dir).unlink(missing_ok=True)  # of a service that was killed
        try:
            yield
        finally:
            _note_file(data_dir).unlink(missing_ok=True)


def _acquire(lock: TextIO) -> bool:
    """A few tries, because a command that asks whether the folder `is_locked` holds the lock for a moment."""
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


def write_note(data_dir: Path, running: Running) -> None:
    temporary = _note_file(data_dir).with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(asdict(running)) + "\n")
    temporary.rename(_note_file(data_dir))


def read_note(data_dir: Path) -> Running | None:
    """Where the service said it is; true only while the folder `is_locked`."""
    try:
        return Running(**json.loads(_note_file(data_dir).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _note_file(data_dir: Path) -> Path:
    return data_dir / "service.json"

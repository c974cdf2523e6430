"""The faults. Each is a function that injects one and returns whether it found a target."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import httpx
import psutil

from bench.chaos.damage import damage_blob
from bench.chaos.environment import LEASE_SECONDS, Environment
from bench.chaos.shifted_clock import worker_with_shifted_clock
from bench.chaos.sqlite_lock import lock_sqlite
from bench.services.service import (
    API,
    DECODER,
    REAPER,
    TRAIN_PROCESS,
    TRAIN_WORKER,
    WORKER,
    ProcessPattern,
    send_signal,
)

FROZEN_SECONDS = LEASE_SECONDS + 2
LOCKED_SECONDS = (1.0, 6.0)
FULL_SECONDS = (1.0, 5.0)

Fault = Callable[[Environment], bool]
Faults = Mapping[str, tuple[int, Fault]]  # by name, each with its frequency


def kill(pattern: ProcessPattern) -> Fault:
    return lambda environment: send_signal(find(environment, pattern), signal.SIGKILL)


def find(environment: Environment, *patterns: ProcessPattern) -> psutil.Process | None:
    """Returns a random process of the first of these patterns that has one."""
    for pattern in patterns:
        if found := environment.service.find_all(pattern):
            return environment.random.choice(sorted(found, key=lambda process: process.pid))
    return None


def terminate(environment: Environment) -> bool:
    """Sends SIGTERM to a process of the service, as an upgrade or a container stop does."""
    pattern = environment.random.choice((WORKER, WORKER, TRAIN_WORKER, TRAIN_PROCESS, API, REAPER))
    return send_signal(find(environment, pattern), signal.SIGTERM)


def kill_valkey(environment: Environment) -> bool:
    return send_signal(environment.service.find_program("valkey"), signal.SIGKILL)


def kill_valkey_and_delete_its_files(environment: Environment) -> bool:
    """Deletes the whole folder, as if the disk had been replaced."""
    if not kill_valkey(environment):
        return False
    shutil.rmtree(environment.service.valkey_folder, ignore_errors=True)
    return True


def kill_valkey_and_damage_its_file(environment: Environment) -> bool:
    """Overwrites bytes in the middle. Valkey refuses to start from such a file."""
    if not kill_valkey(environment):
        return False
    files = (environment.service.valkey_folder / "appendonlydir").glob("*.aof")
    for file in (file for file in files if file.stat().st_size > 200):
        with file.open("r+b") as opened:
            opened.seek(file.stat().st_size // 2)
            opened.write(b"\xff\xff\xff\xff")
        return True
    return False


def kill_everything(environment: Environment) -> bool:
    """Kills all processes, as a power cut does, and starts the service again."""
    environment.service.kill_all(supervisor_only=environment.random.random() < 0.5)
    environment.orphans += environment.service.orphans()
    environment.service.start()
    return True


def restart(environment: Environment) -> bool:
    """Presses Ctrl-C while jobs run, and starts the service again."""
    environment.service.stop(signal.SIGINT)
    environment.orphans += environment.service.orphans()
    environment.service.start()
    return True


def freeze(*patterns: ProcessPattern) -> Fault:
    """Stops a process for longer than its lease, then continues it."""

    def inject(environment: Environment) -> bool:
        shuffled = environment.random.sample(patterns, len(patterns))
        frozen = find(environment, *shuffled)
        if not send_signal(frozen, signal.SIGSTOP):
            return False
        time.sleep(FROZEN_SECONDS)
        send_signal(frozen, signal.SIGCONT)
        return True

    return inject


def fill_disk(environment: Environment) -> bool:
    """Fills the small disk to the last byte for some seconds. Without a small disk there is no fault."""
    if environment.disk is None:
        return False
    filler = environment.disk / "filler"
    with filler.open("wb") as opened, suppress(OSError):
        size = 2**24
        while size:
            try:
                os.posix_fallocate(opened.fileno(), opened.seek(0, os.SEEK_END), size)
            except OSError:
                size //= 2
    time.sleep(environment.random.uniform(*FULL_SECONDS))
    filler.unlink()
    return True


def block_database(environment: Environment) -> bool:
    """Locks SQLite from another program, or restarts PostgreSQL in immediate mode."""
    if environment.postgresql:
        environment.postgresql.restart()
    else:
        file = environment.service.settings.data_dir / "patina.sqlite"
        lock_sqlite(file, environment.random.uniform(*LOCKED_SECONDS))
    return True


def change_blob(environment: Environment) -> bool:
    """Flips one bit of a blob, or truncates it."""
    sha256 = damage_blob(environment.service, environment.random, environment.damaged)
    if sha256 is not None:
        environment.damaged.add(sha256)
    return sha256 is not None


def disconnect_during_upload(environment: Environment) -> bool:
    with environment.ledger.lock:
        datasets = sorted(environment.ledger.datasets)
    if not datasets:
        return False
    path = f"/datasets/{environment.random.choice(datasets)}/images?role=hr"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        "Content-Length: 5000000\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    ).encode()
    address = ("127.0.0.1", int(environment.service.url.rpartition(":")[2]))
    with suppress(OSError), socket.create_connection(address, timeout=5) as connection:
        connection.sendall(head + environment.random.randbytes(environment.random.randint(0, 2_000_000)))
        return True
    return False


def disconnect_during_download(environment: Environment) -> bool:
    job_ids = [job.job_id for job in list(environment.ledger.accepted_jobs) if job.request.kind != "train"]
    environment.random.shuffle(job_ids)
    for job_id in job_ids[:5]:
        url = f"{environment.service.url}/jobs/{job_id}/archive"
        with (
            suppress(httpx.TransportError),
            httpx.stream("GET", url, timeout=10, trust_env=False) as response,
        ):
            if response.is_success and next(response.iter_raw(), b""):
                return True
    return False


def shift_clock(environment: Environment) -> bool:
    """Runs a second worker whose clock is an hour ahead or behind, for a while.

    This needs PostgreSQL: all processes that share a SQLite file are on one computer, which has one clock.
    """
    if environment.postgresql is None:
        return False
    hours = environment.random.choice((-1, 1))
    with worker_with_shifted_clock(environment.service, 3600 * hours):
        time.sleep(8)
        send_signal(find(environment, WORKER), signal.SIGKILL)  # so that one worker takes over from the other
        time.sleep(6)
    return True


# Each with its frequency among 200 faults.
FAULTS: Faults = {
    "kill -9 of the warm worker": (26, kill(WORKER)),
    "kill -9 of the train worker": (14, kill(TRAIN_WORKER)),
    "kill -9 of its training process": (14, kill(TRAIN_PROCESS)),
    "kill -9 of the API": (20, kill(API)),
    "kill -9 of the reaper": (12, kill(REAPER)),
    "kill -9 of a decoder": (8, kill(DECODER)),
    "kill -9 of Valkey": (14, kill_valkey),
    "kill -9 of Valkey, its files deleted": (10, kill_valkey_and_delete_its_files),
    "kill -9 of Valkey, its file damaged": (5, kill_valkey_and_damage_its_file),
    "kill -9 of all processes": (7, kill_everything),
    "Ctrl-C and restart": (3, restart),
    "SIGTERM while jobs run": (16, terminate),
    "process frozen for longer than its lease": (9, freeze(WORKER, TRAIN_WORKER, TRAIN_PROCESS)),
    "disk full": (8, fill_disk),
    "database locked or restarted": (8, block_database),
    "blob changed on disk": (14, change_blob),
    "client disconnects during an upload": (9, disconnect_during_upload),
    "client disconnects during a download": (9, disconnect_during_download),
    "worker's clock shifted by an hour": (3, shift_clock),
}

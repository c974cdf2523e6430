"""The faults, each a function that injects one into a running scene and says whether there was anything to be hit."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from bench.chaos.damage import damage_a_blob
from bench.chaos.databases import PostgreSQL, lock_sqlite
from bench.chaos.load import Ledger
from bench.chaos.service import API, DECODER, LEASE_SECONDS, REAPER, TRAIN_CHILD, TRAINER, WORKER, Service, Victim, hit
from bench.chaos.shifted_clock import worker_with_another_clock

FROZEN_SECONDS = LEASE_SECONDS + 2
LOCKED_SECONDS = (1.0, 6.0)
FULL_SECONDS = (1.0, 5.0)


@dataclass
class Scene:
    """What there is to be hit."""

    service: Service
    ledger: Ledger
    random: random.Random
    disk: Path | None  # a small file system that holds the data folder alone
    postgresql: PostgreSQL | None
    orphans: list[str] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)  # SHA-256 of blobs


Fault = Callable[[Scene], bool]


def kill(victim: Victim) -> Fault:
    return lambda scene: hit(scene.service.find(victim), signal.SIGKILL)


def ask_to_leave(scene: Scene) -> bool:
    """SIGTERM to a process of the service, as an upgrade or a container's stop sends it."""
    victim = scene.random.choice((WORKER, WORKER, TRAINER, TRAIN_CHILD, API, REAPER))
    return hit(scene.service.find(victim), signal.SIGTERM)


def kill_valkey(scene: Scene) -> bool:
    return hit(scene.service.find_valkey(), signal.SIGKILL)


def kill_valkey_and_lose_its_file(scene: Scene) -> bool:
    """All of its folder, as if the disk had been another one."""
    if not kill_valkey(scene):
        return False
    shutil.rmtree(scene.service.settings.data_dir / "valkey", ignore_errors=True)
    return True


def kill_valkey_and_damage_its_file(scene: Scene) -> bool:
    """A byte in the middle, which it refuses to start from."""
    if not kill_valkey(scene):
        return False
    files = (scene.service.settings.data_dir / "valkey" / "appendonlydir").glob("*.aof")
    for file in (file for file in files if file.stat().st_size > 200):
        with file.open("r+b") as opened:
            opened.seek(file.stat().st_size // 2)
            opened.write(b"\xff\xff\xff\xff")
        return True
    return False


def kill_everything(scene: Scene) -> bool:
    """As a power cut does; then it is started again."""
    scene.service.kill_all(one_by_one=scene.random.random() < 0.5)
    scene.orphans += scene.service.orphans()
    scene.service.start()
    return True


def stop_and_start(scene: Scene) -> bool:
    """Ctrl-C, with work in hand."""
    scene.service.stop(signal.SIGINT)
    scene.orphans += scene.service.orphans()
    scene.service.start()
    return True


def freeze(scene: Scene) -> bool:
    """A worker, a trainer or its child, for longer than its lease; then it is woken."""
    victims = [WORKER, TRAINER, TRAIN_CHILD]
    scene.random.shuffle(victims)
    frozen = next(filter(None, (scene.service.find(victim) for victim in victims)), None)
    if not hit(frozen, signal.SIGSTOP):
        return False
    time.sleep(FROZEN_SECONDS)
    hit(frozen, signal.SIGCONT)
    return True


def fill_the_disk(scene: Scene) -> bool:
    """To the last byte, for some seconds. Not where it may not mount a small one: a large one is other people's."""
    if scene.disk is None:
        return False
    filler = scene.disk / "filler"
    with filler.open("wb") as opened, suppress(OSError):
        size = 2**24
        while size:
            try:
                os.posix_fallocate(opened.fileno(), opened.seek(0, os.SEEK_END), size)
            except OSError:
                size //= 2
    time.sleep(scene.random.uniform(*FULL_SECONDS))
    filler.unlink()
    return True


def hold_up_the_database(scene: Scene) -> bool:
    """SQLite: another program holds its lock. PostgreSQL: it is ended at once, and started again."""
    if scene.postgresql:
        scene.postgresql.restart()
    else:
        lock_sqlite(scene.service.settings.data_dir / "patina.sqlite", scene.random.uniform(*LOCKED_SECONDS))
    return True


def change_a_blob(scene: Scene) -> bool:
    """One bit of it, or its end cut off."""
    sha256 = damage_a_blob(scene.service, scene.random, scene.damaged)
    if sha256 is not None:
        scene.damaged.add(sha256)
    return sha256 is not None


def hang_up_in_upload(scene: Scene) -> bool:
    with scene.ledger.lock:
        datasets = sorted(scene.ledger.datasets)
    if not datasets:
        return False
    path = f"/datasets/{scene.random.choice(datasets)}/images?role=hr"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        "Content-Length: 5000000\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    ).encode()
    with suppress(OSError), socket.create_connection(("127.0.0.1", scene.service.port), timeout=5) as connection:
        connection.sendall(head + scene.random.randbytes(scene.random.randint(0, 2_000_000)))
        return True
    return False


def hang_up_in_download(scene: Scene) -> bool:
    jobs = [promise.job for promise in list(scene.ledger.promises) if promise.work.kind != "train"]
    scene.random.shuffle(jobs)
    for job in jobs[:5]:
        with (
            suppress(httpx.TransportError),
            httpx.stream("GET", f"{scene.service.url}/jobs/{job}/archive", timeout=10, trust_env=False) as answer,
        ):
            if answer.is_success and next(answer.iter_raw(), b""):
                return True
    return False


def set_a_clock_apart(scene: Scene) -> bool:
    """Another worker, whose clock is an hour ahead or behind, takes jobs beside the first for a while.

    On PostgreSQL alone: what works on one SQLite is on one computer, which has one clock.
    """
    if scene.postgresql is None:
        return False
    hours = scene.random.choice((-1, 1))
    with worker_with_another_clock(scene.service, 3600 * hours):
        time.sleep(8)
        hit(scene.service.find(WORKER), signal.SIGKILL)  # so that one takes over from the other
        time.sleep(6)
    return True


# How often each comes among 200.
FAULTS: dict[str, tuple[int, Fault]] = {
    "kill -9 of the warm worker": (26, kill(WORKER)),
    "kill -9 of the train worker": (14, kill(TRAINER)),
    "kill -9 of its training child": (14, kill(TRAIN_CHILD)),
    "kill -9 of the API": (20, kill(API)),
    "kill -9 of the reaper": (12, kill(REAPER)),
    "kill -9 of a decoder": (8, kill(DECODER)),
    "kill -9 of Valkey": (14, kill_valkey),
    "kill -9 of Valkey, its file lost": (10, kill_valkey_and_lose_its_file),
    "kill -9 of Valkey, its file damaged": (5, kill_valkey_and_damage_its_file),
    "kill -9 of all at once": (7, kill_everything),
    "Ctrl-C and start again": (3, stop_and_start),
    "SIGTERM with work in hand": (16, ask_to_leave),
    "frozen for longer than the lease": (9, freeze),
    "disk full": (8, fill_the_disk),
    "database locked or restarted": (8, hold_up_the_database),
    "blob changed on disk": (14, change_a_blob),
    "hung up in mid-upload": (9, hang_up_in_upload),
    "hung up in mid-download": (9, hang_up_in_download),
    "another worker's clock an hour apart": (3, set_a_clock_apart),
}


def deck(count: int, chance: random.Random) -> list[str]:
    """The names of so many faults in random order, every kind at least once if there are enough."""
    names = list(FAULTS)
    weights = [weight for weight, _ in FAULTS.values()]
    drawn = chance.sample(names, min(count, len(names))) + chance.choices(names, weights, k=max(0, count - len(names)))
    chance.shuffle(drawn)
    return drawn


def inject(name: str, scene: Scene) -> bool:
    try:
        return FAULTS[name][1](scene)
    except psutil.NoSuchProcess:  # it died just now
        return False

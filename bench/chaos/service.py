"""The service under test: `patina up` in a folder of its own, whose processes may be killed one by one or all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil

from config.process import die_with_parent
from config.settings import Settings
from patina.local.up import require_free_port
from store.store import Store

READY_SECONDS = 120
LEAVE_SECONDS = 40
ORPHAN_SECONDS = 5  # by then the children of a killed service must be gone
LEASE_SECONDS = 3
CHECKPOINT_SECONDS = 2
GRACE_SECONDS = 30  # of blobs that no record names

Victim = tuple[str, ...]  # words of a process's command line
WORKER: Victim = ("worker", "warm")
TRAINER: Victim = ("worker", "train")
TRAIN_CHILD: Victim = ("worker.jobs.train_main",)
API: Victim = ("app",)
REAPER: Victim = ("worker.maintenance",)
DECODER: Victim = ("imaging.decoder_process",)


class Service:
    """On one port, so that its clients find it again."""

    def __init__(self, data_dir: Path, log: Path, database_url: str | None = None):
        self.data_dir = data_dir
        self.log = log
        self.port = require_free_port("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = Settings(data_dir=data_dir, database_url=database_url, redis_url=None)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("PATINA_")} | {
            "PATINA_DATA_DIR": str(data_dir),
            "PATINA_LEASE_SECONDS": str(LEASE_SECONDS),
            "PATINA_REAP_EVERY_SECONDS": "0.5",
            "PATINA_CHECKPOINT_EVERY_SECONDS": str(CHECKPOINT_SECONDS),
            "PATINA_UNREFERENCED_BLOB_SECONDS": str(GRACE_SECONDS),
            "PATINA_MAX_ATTEMPTS": "1000",  # it is not the jobs that kill here
            "PATINA_MIN_FREE_BYTES": "0",  # or a full disk would only be met by what asks first
            "PATINA_TORCH_THREADS": "1",
            "PATINA_LOG_JSON": "true",
        }
        if database_url:
            self.environment["PATINA_DATABASE_URL"] = database_url
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "patina", "up", "--port", str(self.port)],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509 - two calls of the system
            )
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        give_up = time.monotonic() + READY_SECONDS
        while not self.is_ready():
            if time.monotonic() > give_up:
                raise RuntimeError(f"The service is not ready; {self.log} says why.")
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"`patina up` has ended; {self.log} says why.")
            time.sleep(0.2)

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/ready", timeout=5, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit status."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(LEAVE_SECONDS)

    def kill_all(self, *, one_by_one: bool) -> None:
        """kill -9 of the whole family, or of its supervisor alone, with whom the kernel ends the others."""
        assert self._process is not None
        family = [] if one_by_one else list(self.family())
        self._process.kill()
        for process in family:
            _signal(process, signal.SIGKILL)
        self._process.wait()

    def family(self) -> Iterator[psutil.Process]:
        """The supervisor's descendants."""
        if self._process is None or self._process.poll() is not None:
            return
        try:
            yield from psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return

    def find(self, victim: Victim) -> psutil.Process | None:
        """A process of the family whose command line has all of these words."""
        for process in self.family():
            try:
                if set(victim) <= set(process.cmdline()):
                    return process
            except psutil.Error:
                continue
        return None

    def find_valkey(self) -> psutil.Process | None:
        for process in self.family():
            try:
                if "valkey" in process.name():
                    return process
            except psutil.Error:
                continue
        return None

    def orphans(self) -> list[str]:
        """Command lines of what still works for this folder and is no child of the supervisor any more."""
        ours = {process.pid for process in self.family()} | {self._process.pid if self._process else 0}
        give_up = time.monotonic() + ORPHAN_SECONDS
        while found := [process for process in self._of_this_folder() if process.pid not in ours]:
            if time.monotonic() > give_up:
                return [" ".join(process.cmdline()) for process in found if process.is_running()]
            time.sleep(0.1)
        return []

    def _of_this_folder(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            try:
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                if process.environ().get("PATINA_DATA_DIR") == str(self.data_dir):
                    yield process
            except psutil.Error:
                continue

    def store(self) -> Store:
        """To be closed."""
        return Store.open(self.settings)

    def logged(self) -> Iterator[dict[str, Any]]:
        """Every line of its log that is JSON."""
        for line in self.log.read_text(errors="replace").splitlines():
            if line.startswith("{"):
                try:
                    yield json.loads(line)
                except ValueError:  # two processes wrote at once, or one died in it
                    continue


def hit(process: psutil.Process | None, number: signal.Signals) -> bool:
    """Whether there was something to be hit."""
    return process is not None and _signal(process, number)


def _signal(process: psutil.Process, number: signal.Signals) -> bool:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return False
    return True

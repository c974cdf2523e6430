"""The service under test: `patina up` in its own folder. Its processes can be killed one by one or all at once."""

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
STOP_SECONDS = 40
ORPHAN_SECONDS = 5  # by then the children of a killed service must be gone
LEASE_SECONDS = 3
CHECKPOINT_SECONDS = 2
GRACE_SECONDS = 30  # before an unreferenced blob is deleted

ProcessPattern = tuple[str, ...]  # words of a command line
WORKER: ProcessPattern = ("worker", "warm")
TRAIN_WORKER: ProcessPattern = ("worker", "train")
TRAIN_PROCESS: ProcessPattern = ("worker.jobs.train_main",)
API: ProcessPattern = ("app",)
REAPER: ProcessPattern = ("worker.maintenance",)
DECODER: ProcessPattern = ("imaging.decoder_process",)


class Service:
    """Keeps its port over restarts, so that its clients find it again."""

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
            "PATINA_MAX_ATTEMPTS": "1000",  # here no job is the cause of a crash
            "PATINA_MIN_FREE_BYTES": "0",  # otherwise the service rejects requests before the disk is full
            "PATINA_TORCH_THREADS": "1",
            "PATINA_LOG_JSON": "true",
        }
        if database_url:
            self.environment["PATINA_DATABASE_URL"] = database_url
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the service and waits until it is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "patina", "up", "--port", str(self.port)],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509 - it only makes two system calls
            )
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not self.is_ready():
            if time.monotonic() > deadline:
                raise RuntimeError(f"The service is not ready. See {self.log}.")
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"`patina up` has exited. See {self.log}.")
            time.sleep(0.2)

    def is_ready(self) -> bool:
        try:
            ready = httpx.get(f"{self.url}/ready", timeout=5, trust_env=False)
            return ready.status_code == 200 and all(ready.json()["workers"].values())
        except httpx.TransportError:
            return False

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal and returns the exit status."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(STOP_SECONDS)

    def kill_all(self, *, supervisor_only: bool) -> None:
        """Kills all processes. With `supervisor_only`, the kernel kills the children when their parent dies."""
        assert self._process is not None
        children = [] if supervisor_only else list(self.descendants())
        self._process.kill()
        for process in children:
            _signal(process, signal.SIGKILL)
        self._process.wait()

    def descendants(self) -> Iterator[psutil.Process]:
        """Yields all processes below the supervisor."""
        if self._process is None or self._process.poll() is not None:
            return
        try:
            yield from psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return

    def find(self, pattern: ProcessPattern) -> psutil.Process | None:
        """Returns a process whose command line has all words of the pattern."""
        for process in self.descendants():
            try:
                if set(pattern) <= set(process.cmdline()):
                    return process
            except psutil.Error:
                continue
        return None

    def find_valkey(self) -> psutil.Process | None:
        for process in self.descendants():
            try:
                if "valkey" in process.name():
                    return process
            except psutil.Error:
                continue
        return None

    def orphans(self) -> list[str]:
        """Returns the command lines of processes that use this data folder but are not below the supervisor."""
        known = {process.pid for process in self.descendants()} | {self._process.pid if self._process else 0}
        deadline = time.monotonic() + ORPHAN_SECONDS
        while found := [process for process in self._processes_of_this_folder() if process.pid not in known]:
            if time.monotonic() > deadline:
                return [" ".join(process.cmdline()) for process in found if process.is_running()]
            time.sleep(0.1)
        return []

    def _processes_of_this_folder(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            try:
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                if process.environ().get("PATINA_DATA_DIR") == str(self.data_dir):
                    yield process
            except psutil.Error:
                continue

    def open_store(self) -> Store:
        """Opens the service's store. The caller closes it."""
        return Store.open(self.settings)

    def read_log(self) -> Iterator[dict[str, Any]]:
        """Yields all JSON lines of the log."""
        for line in self.log.read_text(errors="replace").splitlines():
            if line.startswith("{"):
                try:
                    yield json.loads(line)
                except ValueError:  # two processes wrote at the same time, or one died while it wrote
                    continue


def send_signal(process: psutil.Process | None, number: signal.Signals) -> bool:
    """Returns whether the process exists."""
    return process is not None and _signal(process, number)


def _signal(process: psutil.Process, number: signal.Signals) -> bool:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return False
    return True

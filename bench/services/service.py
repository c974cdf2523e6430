"""A service whose processes can be killed one by one or all at once. Each kind of it has a supervisor for them."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil

from config.process import die_with_parent
from config.settings import Settings
from patina.errors import StartError
from patina.local.up import require_free_port
from store.store import Store

LOOPBACK = "127.0.0.1"
LASTING_PORTS = (20_000, 32_000)
READY_SECONDS = 120
STOP_SECONDS = 40
ORPHAN_SECONDS = 5  # by then the children of a killed supervisor must be gone

ProcessPattern = tuple[str, ...]  # words of a command line
WORKER: ProcessPattern = ("worker", "warm")
TRAIN_WORKER: ProcessPattern = ("worker", "train")
TRAIN_PROCESS: ProcessPattern = ("worker.jobs.train_main",)
API: ProcessPattern = ("app",)
REAPER: ProcessPattern = ("worker.maintenance",)
DECODER: ProcessPattern = ("imaging.decoder_process",)


class Service(ABC):
    """Keeps its URL over restarts, so that its clients find it again. All its files are below `folder`."""

    url: str
    settings: Settings  # of a program that opens the same store
    command: Sequence[str]  # of the supervisor
    num_workers = 2  # of all kinds

    def __init__(self, folder: Path, log: Path, environment: Mapping[str, str]):
        self.folder = folder
        self.log = log
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PATINA_")}
        self.environment = inherited | dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> psutil.Process:
        """The supervisor, which must run."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    @property
    @abstractmethod
    def valkey_folder(self) -> Path:
        """Where the queue's server has its files."""

    def scratch_folders(self) -> list[Path]:
        """Returns where processes put unfinished files."""
        return [self.settings.data_dir / "tmp"]

    def start(self) -> None:
        """Starts the service and waits until it is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
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
                raise RuntimeError(f"Its supervisor has exited. See {self.log}.")
            time.sleep(0.2)

    def is_ready(self) -> bool:
        """Returns whether an API is ready and all workers are there."""
        try:
            ready = httpx.get(f"{self.url}/ready", timeout=5, trust_env=False)
            return ready.status_code == 200 and sum(ready.json()["workers"].values()) >= self.num_workers
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
            send_signal(process, signal.SIGKILL)
        self._process.wait()

    def descendants(self) -> Iterator[psutil.Process]:
        """Yields all processes below the supervisor."""
        if self._process is None or self._process.poll() is not None:
            return
        try:
            yield from psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return

    def find_all(self, pattern: ProcessPattern) -> list[psutil.Process]:
        """Returns the processes whose command line has all words of the pattern."""
        found = []
        for process in self.descendants():
            try:
                if set(pattern) <= set(process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def find_program(self, name: str) -> psutil.Process | None:
        """Returns the process of another program, such as `valkey`."""
        for process in self.descendants():
            try:
                if name in process.name():
                    return process
            except psutil.Error:
                continue
        return None

    def orphans(self) -> list[str]:
        """Returns the command lines of processes of this service that are not below the supervisor."""
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
                data_dir = process.environ().get("PATINA_DATA_DIR")
                if data_dir and Path(data_dir).is_relative_to(self.folder):
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


def find_lasting_port(address: str = LOOPBACK) -> int:
    """Returns a free port of this address that stays free while its server is restarted.

    Linux gives those above to connections: in between, one of them may take the port.
    """
    while True:
        with suppress(StartError):
            return require_free_port(address, random.randrange(*LASTING_PORTS))


def python(*arguments: str) -> list[str]:
    """Returns the command of a Python module with arguments."""
    return [sys.executable, "-m", *arguments]


def send_signal(process: psutil.Process | None, number: signal.Signals) -> bool:
    """Returns whether the process exists."""
    if process is None:
        return False
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return False
    return True

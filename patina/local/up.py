"""`patina up`: runs the whole service in the foreground until Ctrl-C."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType

import structlog

from config.settings import OPEN_REQUEST_SECONDS, Settings
from patina.errors import StartError
from patina.local import embedded_valkey
from patina.local.child_process import PYTHON, ChildProcess, describe_exit
from patina.local.pidfile import RunningService, lock_data_dir, write_pidfile
from patina.local.supervision import TICK, restart_exited, shut_down
from patina.local.worker_pool import create_workers, list_worker_gpus
from store.queue_server import is_ready

STOP_MARGIN = 5.0  # seconds, after the time that the settings give to a training and to the API
QUEUE_TIMEOUT = 5.0
READY_TIMEOUT = 60.0
MAX_VALKEY_FAILURES = 2  # exits with an error: Valkey refuses a damaged file
MAX_START_FAILURES = 3  # before the service is ready for the first time; afterwards restarts never end

log = structlog.get_logger()


def run_service(settings: Settings, port: int | None = None) -> None:
    """Runs the service until SIGINT, SIGTERM or SIGHUP. `port` 0 takes a free port.

    Raises `StartError` if the service cannot start.
    """
    with lock_data_dir(settings.data_dir):
        _Supervisor(settings, settings.port if port is None else port).run()


class _Supervisor:
    def __init__(self, settings: Settings, port: int) -> None:
        self._settings = settings
        self._port = require_free_port(settings.host, port)
        host = _local_address(settings.host)
        self._url = f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"
        self._stop_requests = 0
        self._ready = False
        self._valkey: ChildProcess | None = None
        self._children: list[ChildProcess] = []

    def run(self) -> None:
        # A server handles SIGINT even when its parent ignores it: `kill -INT` must always stop it in order.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        try:
            self._start()
            if self._stop_requests == 0:
                write_pidfile(self._settings.data_dir, RunningService(self._url, os.getpid()))
                print(f"Patina is ready at {self._url}, docs at {self._url}/docs", flush=True)
            while self._stop_requests == 0:
                self._supervise()
                time.sleep(TICK)
        finally:
            self._stop()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop_requests += 1

    # Starting

    def _start(self) -> None:
        settings = self._settings
        environment = os.environ | {
            "PATINA_DATA_DIR": str(settings.data_dir),
            "PATINA_HOST": settings.host,
            "PATINA_PORT": str(self._port),
        }
        # Threads that spin while they wait make two torch processes on the same cores ten times slower.
        worker_environment = {"OMP_WAIT_POLICY": "PASSIVE"} | environment
        if settings.redis_url is None:
            self._valkey = embedded_valkey.create_valkey(settings, environment)
            self._valkey.start()
        migration = ChildProcess("migrate", [*PYTHON, "-m", "store.db.migrate"], environment)
        migration.start()
        try:
            if not self._wait_for(lambda: is_ready(settings.redis), QUEUE_TIMEOUT):
                if self._stop_requests:
                    return
                raise StartError(self._describe_missing_queue())
            # All start in parallel, the slowest first; each waits for the migration.
            self._children = [
                *create_workers(settings, environment, list_worker_gpus(settings), settings.workers_per_gpu),
                ChildProcess("api", [*PYTHON, "-m", "app"], environment),
                ChildProcess("trainer", [*PYTHON, "-m", "worker", "train"], worker_environment),
            ]
            for child in self._children:
                if self._stop_requests == 0:
                    child.start()
            self._finish_migration(migration)
            if self._stop_requests == 0:
                self._check_exposure()
        finally:
            migration.kill()
        self._ready = self._wait_for(self._is_ready, READY_TIMEOUT)
        if self._ready:  # no job can be lost before, and the others start sooner without it
            reaper = ChildProcess("reaper", [*PYTHON, "-m", "worker.maintenance"], environment)
            self._children.append(reaper)
            reaper.start()
        if not self._ready and self._stop_requests == 0:
            raise StartError(f"The service was not ready after {READY_TIMEOUT:.0f} s: {self._describe_not_ready()}")

    def _describe_missing_queue(self) -> str:
        if self._settings.redis_url:
            return (
                "Nothing answers at PATINA_REDIS_URL. Start that Redis or Valkey; or unset it to use the embedded one."
            )
        return (
            f"The embedded Valkey did not start; see {embedded_valkey.log_file(self._settings)}. "
            "To use your own Redis or Valkey, set PATINA_REDIS_URL."
        )

    def _finish_migration(self, migration: ChildProcess) -> None:
        while migration.status is None and self._stop_requests == 0:
            time.sleep(0.01)
        if self._stop_requests == 0 and migration.status != 0:
            raise StartError(
                f"The database migration failed ({describe_exit(migration.status or 0)}); see the log above. "
                "PATINA_DATABASE_URL says which database is used."
            )

    def _check_exposure(self) -> None:
        """Checks what the API checks too, so that the error appears at once and not after several restarts."""
        if self._settings.on_loopback:
            return
        # Most starts need no database here.
        from store.bootstrap import InsecureConfig, check_exposure  # noqa: PLC0415
        from store.db.database import Database  # noqa: PLC0415

        database = Database(self._settings.database)
        try:
            check_exposure(self._settings, database)
        except InsecureConfig as error:
            raise StartError(str(error)) from error
        finally:
            database.close()

    def _wait_for(self, condition: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._stop_requests == 0 and time.monotonic() < deadline:
            if condition():
                return True
            self._supervise()
            time.sleep(0.05)
        return False

    def _is_ready(self) -> bool:
        """Returns whether the API is ready and a worker of each kind runs."""
        status, body = self._get_ready()
        return status == http.HTTPStatus.OK and all(json.loads(body)["workers"].values())

    def _describe_not_ready(self) -> str:
        """Returns what the API reports: parts that do not work, or the number of workers."""
        status, body = self._get_ready()
        return body if status else f"the API does not answer: {body}"

    def _get_ready(self) -> tuple[int | None, str]:
        # http.client ignores the environment's proxies.
        connection = http.client.HTTPConnection(_local_address(self._settings.host), self._port, timeout=5)
        try:
            connection.request("GET", "/ready")
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            return None, str(error)
        finally:
            connection.close()

    # Running

    def _supervise(self) -> None:
        """Restarts exited children. Raises `StartError` if one fails too often before the service is ready."""
        restart_exited(filter(None, [self._valkey, *self._children]), self._on_exit)

    def _on_exit(self, child: ChildProcess, status: int) -> None:
        if child is self._valkey and status > 0 and child.failures >= MAX_VALKEY_FAILURES:
            log.warning("the queue's file cannot be read, starting with an empty queue")
            embedded_valkey.reset(self._settings)
        if not self._ready and child.failures >= MAX_START_FAILURES:
            raise StartError(
                f"The {child.name} process failed {child.failures} times in a row ({describe_exit(status)}); "
                "see the log above."
            )

    # Stopping

    def _stop(self) -> None:
        """Stops all children, the queue last. A second Ctrl-C or a timeout kills them."""
        if self._children:
            log.info("stopping", hint="workers requeue their jobs; press Ctrl-C again to stop at once")
        requests_before = self._stop_requests
        for children in (self._children, [self._valkey] if self._valkey else []):
            shut_down(children, get_stop_seconds(self._settings), lambda: self._stop_requests > requests_before)
        if self._valkey:
            embedded_valkey.clean_up(self._settings)


def get_stop_seconds(settings: Settings) -> float:
    """Returns how long processes may take to end. An API drains, then ends open requests."""
    return max(settings.shutdown_grace_seconds, settings.drain_seconds + OPEN_REQUEST_SECONDS) + STOP_MARGIN


def require_free_port(host: str, port: int) -> int:
    """Returns the port, or a free one for 0. Raises `StartError` if it is taken, before any process starts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            raise StartError(f"Port {port} needs more rights. Choose one above 1023: --port 8000.") from None
        except OSError as error:
            raise StartError(
                f"Cannot listen on {host} port {port} ({error.strerror}). Choose another port with --port N, or "
                "--port 0 for a free one; the address is PATINA_HOST."
            ) from None
        free: int = probe.getsockname()[1]
        return free


def _local_address(host: str) -> str:
    """Returns the address that reaches a service listening on `host` from this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)

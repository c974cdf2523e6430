"""`patina up`: the whole service in the foreground, from one command, stopped by Ctrl-C."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType

import structlog

from config.settings import Settings
from patina.errors import StartError
from patina.local import embedded_valkey
from patina.local.child_process import PYTHON, Child, ending
from patina.local.pidfile import Running, only_service_of, write_note

LEAVE_SECONDS = 15.0  # workers hand their job back within 10
QUEUE_SECONDS = 5.0
READY_SECONDS = 60.0
UNREADABLE_FAILURES = 2  # of a Valkey that ended by itself: it refuses a damaged file
HOPELESS_FAILURES = 3  # before the service was ever ready; afterwards a child is started again for ever
TICK = 0.1

log = structlog.get_logger()


def up(settings: Settings, port: int | None = None) -> None:
    """Runs the service until SIGINT or SIGTERM; `port` 0 takes a free one."""
    with only_service_of(settings.data_dir):
        _Supervisor(settings, settings.port if port is None else port).run()


class _Supervisor:
    def __init__(self, settings: Settings, port: int) -> None:
        self._settings = settings
        self._port = usable_port(settings.host, port)
        here = _reachable(settings.host)
        self._url = f"http://[{here}]:{self._port}" if ":" in here else f"http://{here}:{self._port}"
        self._stop_requests = 0
        self._ready = False
        self._valkey: Child | None = None
        self._children: list[Child] = []

    def run(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        try:
            self._start()
            if self._stop_requests == 0:
                write_note(self._settings.data_dir, Running(self._url, os.getpid()))
                print(f"Patina is ready at {self._url}, docs at {self._url}/docs", flush=True)
            while self._stop_requests == 0:
                self._tend()
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
        patient = {"OMP_WAIT_POLICY": "PASSIVE"} | environment
        if settings.redis_url is None:
            self._valkey = embedded_valkey.embedded_valkey(settings, environment)
            self._valkey.start()
        migration = Child("migrate", [*PYTHON, "-m", "store.db.migrate"], environment)
        migration.start()
        try:
            if not self._wait_for(lambda: embedded_valkey.answers(settings), QUEUE_SECONDS):
                if self._stop_requests:
                    return
                raise StartError(self._queue_is_missing())
            # All start side by side, the one that takes longest first; they wait for the migration's end themselves.
            self._children = [
                Child("worker", [*PYTHON, "-m", "worker", "warm"], patient),
                Child("api", [*PYTHON, "-m", "app"], environment),
                Child("trainer", [*PYTHON, "-m", "worker", "train"], patient),
            ]
            for child in self._children:
                if self._stop_requests == 0:
                    child.start()
            self._finish_migration(migration)
            if self._stop_requests == 0:
                self._refuse_strangers()
        finally:
            migration.end()
        self._ready = self._wait_for(self._answers_ready, READY_SECONDS)
        if self._ready:  # nothing can be lost before, and the others start sooner
            reaper = Child("reaper", [*PYTHON, "-m", "worker.maintenance.reaper"], environment)
            self._children.append(reaper)
            reaper.start()
        if not self._ready and self._stop_requests == 0:
            raise StartError(f"The service did not become ready in {READY_SECONDS:.0f} s: {self._complaint()}")

    def _queue_is_missing(self) -> str:
        if self._settings.redis_url:
            return "Nothing answers at PATINA_REDIS_URL. Start that Redis or Valkey; or unset it to have one embedded."
        return (
            f"The embedded Valkey did not start; {embedded_valkey.log_file(self._settings)} says why. "
            "To use a Redis or Valkey of your own, set PATINA_REDIS_URL."
        )

    def _finish_migration(self, migration: Child) -> None:
        while migration.status is None and self._stop_requests == 0:
            time.sleep(0.01)
        if self._stop_requests == 0 and migration.status != 0:
            raise StartError(
                f"The database could not be brought up to date ({ending(migration.status or 0)}); the log above "
                "says why. PATINA_DATABASE_URL says which database is used."
            )

    def _refuse_strangers(self) -> None:
        """As the API does itself; here it is said at once, and not after the API has ended itself several times."""
        if self._settings.on_loopback:
            return
        # Most starts need no database here.
        from store.db.bootstrap import NoTokenError, refuse_strangers  # noqa: PLC0415
        from store.db.database import Database  # noqa: PLC0415

        database = Database(self._settings.database)
        try:
            refuse_strangers(self._settings, database)
        except NoTokenError as error:
            raise StartError(str(error)) from error
        finally:
            database.close()

    def _wait_for(self, condition: Callable[[], bool], seconds: float) -> bool:
        give_up = time.monotonic() + seconds
        while self._stop_requests == 0 and time.monotonic() < give_up:
            if condition():
                return True
            self._tend()
            time.sleep(0.05)
        return False

    def _answers_ready(self) -> bool:
        status, _ = self._ask_ready()
        return status == http.HTTPStatus.OK

    def _complaint(self) -> str:
        """What the API says that it lacks."""
        status, said = self._ask_ready()
        return said if status else f"the API does not answer: {said}"

    def _ask_ready(self) -> tuple[int | None, str]:
        # Spoken directly, past any proxy that the environment may name.
        connection = http.client.HTTPConnection(_reachable(self._settings.host), self._port, timeout=5)
        try:
            connection.request("GET", "/ready")
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            return None, str(error)
        finally:
            connection.close()

    # Running

    def _tend(self) -> None:
        """Starts again what died."""
        for child in filter(None, [self._valkey, *self._children]):
            status = child.status
            if status is not None:
                child.end()  # and what it may have left in its process group
                pause = child.plan_restart()
                log.error("child died", child=child.name, how=ending(status), start_again_in=round(pause, 1))
                if child is self._valkey and status > 0 and child.failures >= UNREADABLE_FAILURES:
                    log.warning("the queue's file cannot be read, starting with an empty queue")
                    embedded_valkey.forget(self._settings)
                if not self._ready and child.failures >= HOPELESS_FAILURES:
                    raise StartError(
                        f"The {child.name} process failed {child.failures} times in a row ({ending(status)}); "
                        "the log above says why."
                    )
            elif child.due and child.failures:
                child.start()

    # Stopping

    def _stop(self) -> None:
        """All leave in order, the queue last; a second Ctrl-C, or too long a wait, kills."""
        if self._children:
            log.info("stopping", hint="workers hand back their jobs; press Ctrl-C again to stop at once")
        requests_before = self._stop_requests
        self._leave(self._children, requests_before)
        self._leave([self._valkey] if self._valkey else [], requests_before)
        if self._valkey:
            embedded_valkey.sweep(self._settings)

    def _leave(self, children: list[Child], requests_before: int) -> None:
        for child in children:
            child.ask_to_leave()
        deadline = time.monotonic() + LEAVE_SECONDS
        while any(child.alive for child in children):
            if time.monotonic() > deadline or self._stop_requests > requests_before:
                slow = [child.name for child in children if child.alive]
                log.warning("killed what did not leave", children=slow)
                break
            time.sleep(0.02)
        for child in children:
            child.end()


def usable_port(host: str, port: int) -> int:
    """The port, or a free one for 0; found out before anything starts, so that a taken one is said in words."""
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


def _reachable(host: str) -> str:
    """The address under which a service that listens on `host` is reached from here."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)

"""Leases of a process: names in the database that nobody else can have until they expire.

They replace file locks, which network file systems do not keep reliably between computers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import structlog
from sqlalchemy.orm import Session

from store.db.database import Database
from store.errors import DatabaseError, DuplicateError, LeaseHeld
from store.ids import new_id
from store.repositories.leases import LeaseRepository

PROCESS = "process/"  # the lease of a process that has scratch folders
BACKUP = "backup/"  # while one is held, no blob is deleted
UPLOAD = "upload/"
LONG = (PROCESS, BACKUP)  # nobody waits for these, so they are renewed less often
LONGER = 4  # times the lifetime of the others
RENEWALS = 4  # in the lifetime of a lease
RETRY_SECONDS = 1.0  # after a failed renewal

log = structlog.get_logger()


class Leases:
    """The leases of this process. A thread renews them; it starts with the first one."""

    def __init__(self, database: Database, seconds: float):
        self.holder = new_id()
        self._database = database
        self.seconds = seconds
        self._held: set[str] = set()
        self._lock, self._announcing = threading.Lock(), threading.Lock()
        self._closed, self._changed = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def process_seconds(self) -> float:
        """How long a killed process still counts as running."""
        return LONGER * self.seconds

    def _lifetime(self, name: str) -> float:
        return self.process_seconds if name.startswith(LONG) else self.seconds

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Holds the lease inside. Raises `LeaseHeld` if another process or thread has it."""
        try:
            with self._database.write() as session:
                LeaseRepository(session).take(name, self.holder, self._lifetime(name))
        except DuplicateError:
            raise LeaseHeld(name) from None
        with self._lock:
            self._held.add(name)
        self._start()
        try:
            yield
        finally:
            with self._lock:
                self._held.discard(name)
            with suppress(DatabaseError):  # then it expires
                self._release({name})

    def announce(self) -> str:
        """Takes the lease of this process, kept until `close`, and returns its holder's id."""
        name = PROCESS + self.holder
        with self._announcing:
            if name not in self._held:
                with self._database.write() as session:
                    LeaseRepository(session).put(name, self.holder, self.process_seconds)
                with self._lock:
                    self._held.add(name)
                self._start()
        return self.holder

    def require(self, session: Session, name: str) -> None:
        """Locks the lease until the transaction ends. Raises `LeaseHeld` if this process has lost it."""
        if not LeaseRepository(session).is_held_by(name, self.holder):
            raise LeaseHeld(name)

    def expiry(self, name: str) -> float | None:
        """Returns when a lease expires, in seconds since 1970; None if nobody has it."""
        with self._database.read() as session:
            return LeaseRepository(session).expiry(name)

    def is_held(self, prefix: str) -> bool:
        """Returns whether any process holds a lease whose name starts with `prefix`."""
        with self._database.read() as session:
            return LeaseRepository(session).is_held(prefix)

    def count_other_processes(self) -> int:
        """Returns how many other processes have announced themselves and live."""
        with self._database.read() as session:
            return len(set(LeaseRepository(session).list_live(PROCESS)) - {PROCESS + self.holder})

    def list_processes(self) -> set[str]:
        """Returns the ids of processes that announced themselves, and forgets those that have expired.

        The next call no longer returns those. So a process that only could not reach the database has time to renew.
        """
        with self._database.write() as session:
            return {name.removeprefix(PROCESS) for name in LeaseRepository(session).list_and_expire(PROCESS)}

    def close(self) -> None:
        """Gives up all leases."""
        self._closed.set()
        self._changed.set()
        if self._thread:
            self._thread.join()
            with suppress(DatabaseError):
                self._release(self._held)

    def _release(self, names: set[str]) -> None:
        with self._database.write() as session:
            LeaseRepository(session).release(names, self.holder)

    def _start(self) -> None:
        self._changed.set()
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._renew_loop, name="leases", daemon=True)
                self._thread.start()

    def _renew_loop(self) -> None:
        renew_at = dict[str, float]()
        while not self._closed.is_set():
            with self._lock:
                names = set(self._held)
            renew_at = {name: renew_at.get(name) or self._next_renewal(name) for name in names}
            now = time.monotonic()
            if due := {name for name, at in renew_at.items() if at <= now}:
                try:
                    self._renew(due)
                    renew_at |= {name: self._next_renewal(name) for name in due}
                except DatabaseError as error:
                    log.warning("leases not renewed", error=str(error))
                    renew_at |= {name: now + min(RETRY_SECONDS, self.seconds / RENEWALS) for name in due}
            pause = min(renew_at.values(), default=now + self.seconds) - time.monotonic()
            self._changed.wait(max(0, pause))
            self._changed.clear()

    def _next_renewal(self, name: str) -> float:
        return time.monotonic() + self._lifetime(name) / RENEWALS

    def _renew(self, names: set[str]) -> None:
        with self._database.write() as session:
            leases = LeaseRepository(session)
            for name in names:
                if name.startswith(PROCESS):  # it may have expired while the process was frozen
                    leases.put(name, self.holder, self._lifetime(name))
                else:
                    leases.renew(name, self.holder, self._lifetime(name))

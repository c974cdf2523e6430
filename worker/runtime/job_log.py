"""Keeps what workers log of a job beside the job, where those can read it who do not see the workers' logs."""

from __future__ import annotations

import atexit
import json
import threading
from collections import defaultdict
from collections.abc import MutableMapping
from typing import Any

import structlog

from config.settings import Settings
from store.db.database import Database
from store.repositories.events import EventRepository, NewEvent

WRITE_EVERY_SECONDS = 0.5
MOST_LINES = 1000  # of one job, from one process; the process's own log has all
LONGEST_FIELD = 10_000  # characters
OF_THE_LOG = {"job", "process", "timestamp", "level", "event"}  # what is told elsewhere

log = structlog.get_logger()


class Journal:
    """A structlog processor. A thread writes: who logs need not wait for the database, nor hold up a transaction."""

    def __init__(self, settings: Settings):
        self._database = Database(settings.database)
        self._lines: defaultdict[str, list[NewEvent]] = defaultdict(list)
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self, _logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if job_id := line.get("job"):
            with self._lock:
                self._counts[job_id] += 1
                if self._counts[job_id] <= MOST_LINES:
                    self._lines[job_id].append(NewEvent("log", _data(line)))
                elif self._counts[job_id] == MOST_LINES + 1:
                    said = "There is more than is kept here; the worker's log has all of it."
                    self._lines[job_id].append(NewEvent("log", {"level": "info", "message": said}))
                if self._thread is None:
                    self._thread = threading.Thread(target=self._write_until_closed, name="journal", daemon=True)
                    self._thread.start()
                    atexit.register(self.close)
        return line

    def close(self) -> None:
        """Writes what is left."""
        self._closed.set()
        if self._thread:
            self._thread.join()

    def _write_until_closed(self) -> None:
        while not self._closed.wait(WRITE_EVERY_SECONDS):
            self._write()
        self._write()

    def _write(self) -> None:
        with self._lock:
            lines, self._lines = self._lines, defaultdict(list)
        for job_id, events in lines.items():
            try:
                with self._database.write() as session:
                    EventRepository(session).add(job_id, events)
            except Exception as error:  # the process's own log has them
                log.warning("journal not written", lines=len(events), error=str(error))


def _data(line: MutableMapping[str, Any]) -> dict[str, Any]:
    fields = {name: value for name, value in line.items() if name not in OF_THE_LOG and not name.startswith("_")}
    told = {"level": line.get("level", "info"), "message": str(line.get("event", "")), **fields}
    if "exception" in told:
        told["exception"] = str(told["exception"])[-LONGEST_FIELD:]
    plain: dict[str, Any] = json.loads(json.dumps(told, default=str))
    return plain

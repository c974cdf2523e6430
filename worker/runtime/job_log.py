"""Stores what workers log about a job beside the job, for users who cannot see the workers' logs."""

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
MAX_LINES = 1000  # of one job from one process; the process's own log has all
MAX_FIELD_CHARS = 10_000
RESERVED_FIELDS = {"job", "process", "timestamp", "level", "event"}  # stored elsewhere in the event

log = structlog.get_logger()


class JobLogHandler:
    """A structlog processor. A thread writes to the database, so logging neither waits nor extends a transaction."""

    def __init__(self, settings: Settings):
        self._database = Database(settings.database)
        self._lines: defaultdict[str, list[NewEvent]] = defaultdict(list)
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self, _logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Collects a line that has a job's id. Returns the line unchanged."""
        if job_id := line.get("job"):
            with self._lock:
                self._counts[job_id] += 1
                if self._counts[job_id] <= MAX_LINES:
                    self._lines[job_id].append(NewEvent("log", _event_data(line)))
                elif self._counts[job_id] == MAX_LINES + 1:
                    message = f"Log truncated after {MAX_LINES} lines. The worker's log has all lines."
                    self._lines[job_id].append(NewEvent("log", {"level": "info", "message": message}))
                if self._thread is None:
                    self._thread = threading.Thread(target=self._write_until_closed, name="job-log", daemon=True)
                    self._thread.start()
                    atexit.register(self.close)
        return line

    def close(self) -> None:
        """Writes the remaining lines and stops the thread."""
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
                log.warning("job log not persisted", lines=len(events), error=str(error))


def _event_data(line: MutableMapping[str, Any]) -> dict[str, Any]:
    fields = {name: value for name, value in line.items() if name not in RESERVED_FIELDS and not name.startswith("_")}
    data = {"level": line.get("level", "info"), "message": str(line.get("event", "")), **fields}
    if "exception" in data:
        data["exception"] = str(data["exception"])[-MAX_FIELD_CHARS:]
    serializable: dict[str, Any] = json.loads(json.dumps(data, default=str))
    return serializable

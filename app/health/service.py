"""Asks every part whether it can work."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from app.health.schemas import ReadyOut
from app.problems import ProblemError
from store.jobs import JobRepository
from store.queue import TRAIN, WARM
from store.store import Store


class _NotReadyError(Exception):
    pass


def ready(store: Store) -> ReadyOut:
    """Raises `ProblemError` (503) with what each part says unless all can work."""
    parts = {
        "database": _say(store.database.check),
        "queue": _say(store.queue.ping),
        "storage": _say(lambda: _storage(store)),
        "warm worker": _say(lambda: _worker(store, WARM)),
        "train worker": _say(lambda: _worker(store, TRAIN)),
    }
    missing = {part: said for part, said in parts.items() if said != "ok"}
    if missing:
        detail = "; ".join(f"{part}: {said}" for part, said in missing.items())
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", detail, parts=parts)
    return ReadyOut(parts=parts)


def jobs_by_state(store: Store) -> dict[tuple[str, str], int]:
    """The number of jobs by (kind, status)."""
    with store.database.read() as session:
        return JobRepository(session).count_by_state()


def _say(check: Callable[[], object]) -> str:
    try:
        check()
    except Exception as error:  # whatever is wrong with a part is what is to be said
        return str(error) or type(error).__name__
    return "ok"


def _storage(store: Store) -> None:
    with store.blobs.scratch() as folder:
        (folder / "probe").write_bytes(b"probe")


def _worker(store: Store, queue: str) -> None:
    if not store.queue.workers(queue):
        raise _NotReadyError(f"none is running; start one: python -m worker {queue}")

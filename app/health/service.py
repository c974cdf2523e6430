"""Asks every part whether it can work."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

import structlog

from app.health.schemas import ReadinessRead
from app.http.problems import ProblemError
from store.queue import INFERENCE, TRAIN
from store.store import Store

log = structlog.get_logger()


class _NotReadyError(Exception):
    pass


def ready(store: Store, *, in_detail: bool) -> ReadinessRead:
    """Raises `ProblemError` (503) with what each part says unless all can work.

    Not `in_detail`, a part that fails is named and its error is left to the log, for it may hold names and paths.
    """
    checks = {
        "database": store.database.check,
        "queue": store.queue.ping,
        "storage": lambda: _storage(store),
        "warm worker": lambda: _worker(store, INFERENCE),
        "train worker": lambda: _worker(store, TRAIN),
    }
    parts = {part: _say(part, check, in_detail) for part, check in checks.items()}
    missing = {part: said for part, said in parts.items() if said != "ok"}
    if missing:
        detail = "; ".join(f"{part}: {said}" for part, said in missing.items())
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", detail, parts=parts)
    return ReadinessRead(parts=parts)


def _say(part: str, check: Callable[[], object], in_detail: bool) -> str:
    try:
        check()
    except Exception as error:  # whatever is wrong with a part is what is to be said
        words = str(error) or type(error).__name__
        if in_detail or isinstance(error, _NotReadyError):
            return words
        log.warning("not ready", part=part, error=words)
        return "it does not work; the log says why"
    return "ok"


def _storage(store: Store) -> None:
    with store.blobs.scratch() as folder:
        (folder / "probe").write_bytes(b"probe")


def _worker(store: Store, queue: str) -> None:
    if not store.queue.count_workers(queue):
        raise _NotReadyError(f"none is running; start one: python -m worker {queue}")

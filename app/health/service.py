"""Checks whether every part of the service works."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

import structlog

from app.health.schemas import ReadinessRead, WorkersRead
from app.http.problems import ProblemError
from store.queue import INFERENCE, TRAIN
from store.store import Store

log = structlog.get_logger()


def check_readiness(store: Store, *, verbose: bool) -> ReadinessRead:
    """Raises `ProblemError` (503) with the state of each part if one of them fails.

    Workers are no part: without any, the API still accepts jobs, which wait. Unless `verbose`, an error goes only to
    the log, because it may contain names and paths.
    """
    workers = list[WorkersRead]()
    checks: dict[str, Callable[[], object]] = {
        "database": store.database.check,
        "queue": lambda: workers.append(count_workers(store)),
        "storage": store.blobs.check,
    }
    parts = {part: _run(part, check, verbose) for part, check in checks.items()}
    failures = {part: state for part, state in parts.items() if state != "ok"}
    if failures:
        detail = "; ".join(f"{part}: {state}" for part, state in failures.items())
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", detail, parts=parts)
    return ReadinessRead(parts=parts, workers=workers[0])


def count_workers(store: Store) -> WorkersRead:
    """Counts running workers. Raises `QueueUnavailable`."""
    return WorkersRead(warm=store.queue.count_workers(INFERENCE), train=store.queue.count_workers(TRAIN))


def _run(part: str, check: Callable[[], object], verbose: bool) -> str:
    """Returns "ok" or what is wrong."""
    try:
        check()
    except Exception as error:  # any error means that the part does not work
        message = str(error) or type(error).__name__
        if verbose:
            return message
        log.warning("not ready", part=part, error=message)
        return "it does not work; see the service's log"
    return "ok"

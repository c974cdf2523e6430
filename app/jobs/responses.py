"""How accepted work is answered, whichever noun accepted it."""

from __future__ import annotations

from http import HTTPStatus

from anyio import to_thread
from fastapi import Response

from app.jobs import service
from app.jobs.schemas import JobOut
from app.jobs.waiting import until_finished
from app.problems import problem_responses
from store.store import Store

RETRY_AFTER_SECONDS = 1
LONGEST_WAIT_SECONDS = 60
# What a call that takes files and makes a job of them may answer instead.
REFUSALS = problem_responses(
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)


def accept_headers(job: JobOut) -> dict[str, str]:
    return {"Location": job.links["self"], "Retry-After": str(RETRY_AFTER_SECONDS)}


async def answer_accepted(job: JobOut, prefer: str | None, store: Store, response: Response) -> JobOut:
    """202 with the job as it is; with `Prefer: wait=N` (RFC 7240) 200 if it is done within N seconds."""
    response.headers.update(accept_headers(job))
    if seconds := preferred_wait(prefer):
        job = await until_finished(store, job, min(seconds, LONGEST_WAIT_SECONDS))
        response.headers["Preference-Applied"] = f"wait={seconds:g}"
        if job.status.is_final:
            response.status_code = HTTPStatus.OK
            return await to_thread.run_sync(service.get, store, job.id)
    return job


def preferred_wait(prefer: str | None) -> float | None:
    """The N of a `Prefer: wait=N` header; None where there is none that can be read."""
    for preference in (prefer or "").split(","):
        name, _, value = preference.partition("=")
        if name.strip().lower() == "wait" and value.strip().isdigit():
            return float(value)
    return None

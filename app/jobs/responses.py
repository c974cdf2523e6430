"""Responses to accepted jobs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import Header, Response

from app.http.problems import problem_responses
from app.jobs.batching import JobLoader
from app.jobs.schemas import JobRead
from app.jobs.waiting import wait_until_finished

RETRY_AFTER_SECONDS = 1
MAX_WAIT_SECONDS = 60
# Responses, other than 202, of an endpoint that submits a job with files.
SUBMIT_RESPONSES = problem_responses(
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
) | {int(HTTPStatus.OK): {"model": JobRead, "description": "With `Prefer: wait=N`: the job ended within N seconds."}}

Prefer = Annotated[
    str | None,
    Header(
        description=f"`wait=N` (RFC 7240) holds the response until the job has ended, for at most N and at most "
        f"{MAX_WAIT_SECONDS} seconds. The status is 200 if it has ended, else 202. `Preference-Applied` confirms it.",
        examples=["wait=10"],
    ),
]


def accept_headers(job: JobRead) -> dict[str, str]:
    return {"Location": job.links["self"], "Retry-After": str(RETRY_AFTER_SECONDS)}


async def respond_accepted(job: JobRead, prefer: str | None, jobs: JobLoader, response: Response) -> JobRead:
    """Answers 202 with the job, or with `Prefer: wait=N` 200 if the job ends within N seconds."""
    response.headers.update(accept_headers(job))
    seconds = parse_wait(prefer)
    if seconds is None:
        return job
    response.headers["Preference-Applied"] = f"wait={seconds}"
    job = await wait_until_finished(jobs, job, seconds)
    if job.status.is_final:
        response.status_code = HTTPStatus.OK
        del response.headers["Retry-After"]
    return job


def parse_wait(prefer: str | None) -> int | None:
    """Returns N of a `Prefer: wait=N` header, at most `MAX_WAIT_SECONDS`; None if there is no valid N."""
    for preference in (prefer or "").split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        value = value.strip().strip('"')
        if name.strip().lower() == "wait" and value.isascii() and value.isdigit():
            return int(min(float(value), MAX_WAIT_SECONDS))
    return None

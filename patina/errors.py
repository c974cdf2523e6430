"""What can go wrong for the person at the keyboard; every message says what to do."""

from __future__ import annotations

from typing import Any


class PatinaError(Exception):
    """The command line prints the message and leaves with status 1."""


class StartError(PatinaError):
    """The service cannot be started."""


class AlreadyRunningError(StartError):
    """Another `patina up` works on this data folder."""


class LostServiceError(PatinaError):
    """Nobody answers, the connection broke, or the service's database is away; all of it may pass.

    `reached` tells whether the request may have come through.
    """

    def __init__(self, message: str, *, reached: bool = True) -> None:
        super().__init__(message)
        self.reached = reached


class ServiceError(PatinaError):
    """The service refused, in its own words; `code` is for programs to branch on, `problem` all that it said."""

    def __init__(self, status: int, code: str, detail: str, problem: dict[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.problem = problem or {}


class JobError(PatinaError):
    """A job ended without succeeding."""

    def __init__(self, message: str, job: str, status: str) -> None:
        super().__init__(message)
        self.job = job
        self.status = status

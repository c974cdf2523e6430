"""Errors for the person at the keyboard. Each message says what happened, then what to do."""

from __future__ import annotations

from typing import Any


class PatinaError(Exception):
    """The command line prints the message and exits with status 1."""


class StartError(PatinaError):
    """The service cannot be started."""


class AlreadyRunningError(StartError):
    """Another `patina up` uses this data folder."""


class ServiceUnavailableError(PatinaError):
    """The service cannot be reached, the connection broke, or its database is unavailable. A retry may succeed.

    `request_sent` says whether the service may have received the request.
    """

    def __init__(self, message: str, *, request_sent: bool = True) -> None:
        super().__init__(message)
        self.request_sent = request_sent


class ServiceError(PatinaError):
    """The service refused a request. The message is its own.

    `status` is the HTTP status, `code` is stable for programs, and `problem` is the whole problem document.
    """

    def __init__(self, status: int, code: str, detail: str, problem: dict[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.problem = problem or {}


class JobError(PatinaError):
    """A job failed or was canceled."""

    def __init__(self, message: str, job: str, status: str) -> None:
        super().__init__(message)
        self.job = job
        self.status = status

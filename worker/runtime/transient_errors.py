"""Errors that are no fault of a job: disk full, database or bucket unavailable. The job waits and does not fail."""

from __future__ import annotations

import errno

from safetensors import SafetensorError

from store.errors import DatabaseUnavailable, StorageUnavailable

PAUSE_SECONDS = 2.0  # before such a job is tried again
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class InsufficientDisk(OSError):
    """The job needs more disk space than is free now. The code and the message go into its record."""

    def __init__(self, code: str, message: str):
        super().__init__(errno.ENOSPC, message)
        self.code = code
        self.message = message


def is_transient(error: BaseException) -> bool:
    """Returns whether the same job may succeed later without any change."""
    return isinstance(error, DatabaseUnavailable | StorageUnavailable) or _is_disk_full(error)


def to_error(error: Exception) -> dict[str, str]:
    """Returns code and message of a transient error, for the record of the job that waits."""
    if isinstance(error, InsufficientDisk):
        return {"code": error.code, "message": error.message}
    if _is_disk_full(error):
        return {"code": "disk_full", "message": "Disk full. Free space; the job then continues."}
    if isinstance(error, StorageUnavailable):
        return {
            "code": "storage_unavailable",
            "message": "The bucket with the files is unavailable. The job continues when it answers.",
        }
    return {
        "code": "database_unavailable",
        "message": "Database unavailable. The job continues when the database answers.",
    }


def _is_disk_full(error: BaseException) -> bool:
    if isinstance(error, SafetensorError):  # it carries the error number in its text only
        return f"os error {errno.ENOSPC}" in str(error)
    return isinstance(error, OSError) and error.errno in DISK_FULL

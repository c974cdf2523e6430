"""What goes wrong through no fault of a job: the disk is full, the database away. It then waits and is not failed."""

from __future__ import annotations

import errno

from safetensors import SafetensorError

from store.errors import DatabaseUnavailable

PAUSE_SECONDS = 2.0  # before such a job is tried again
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class NotYetRoomError(OSError):
    """The job needs more of the disk than is left of it now; the code and the message go into its record."""

    def __init__(self, code: str, message: str):
        super().__init__(errno.ENOSPC, message)
        self.code = code
        self.message = message


def is_outage(error: BaseException) -> bool:
    """Whether the same may succeed in a while, with nothing changed in the job."""
    return isinstance(error, DatabaseUnavailable) or _no_room(error)


def explained(error: Exception) -> dict[str, str]:
    """For the record of a job that waits."""
    if isinstance(error, NotYetRoomError):
        return {"code": error.code, "message": error.message}
    if _no_room(error):
        return {"code": "disk_full", "message": "The service's disk is full; the job goes on when there is room."}
    return {"code": "database_away", "message": "The database did not answer; the job goes on when it does."}


def _no_room(error: BaseException) -> bool:
    if isinstance(error, SafetensorError):  # its writer says so in words alone
        return f"os error {errno.ENOSPC}" in str(error)
    return isinstance(error, OSError) and error.errno in NO_ROOM

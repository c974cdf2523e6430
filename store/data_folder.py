"""Checks the data folder before a process uses it."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import structlog

MISCONFIGURED = 78  # EX_CONFIG of sysexits.h: a restart would not help

log = structlog.get_logger()


def require_writable(folder: Path) -> None:
    """Creates the folder if needed. Logs what to do and ends the process if it cannot be written.

    A folder that a container mounts belongs to a user of the host, who is seldom the container's.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        user = os.getuid()
        log.critical(
            "data folder not writable",
            folder=str(folder),
            error=str(error),
            hint=f"This process runs as user {user}. Make the folder that user's, on the host: chown {user} FOLDER "
            "(with -R if it has files).",
        )
        sys.exit(MISCONFIGURED)

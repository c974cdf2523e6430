"""A process that decodes untrusted files: started here, asked through a socket, and killed if it does not answer."""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from config.settings import Settings
from imaging.rejections import ImageRejected

MAX_ANSWER_BYTES = 64 * 1024
# The system kills a process that uses up its CPU seconds. We kill one that sleeps, after this multiple of them.
WALL_CLOCK_FACTOR = 10
EXIT_SECONDS = 0.5
INHERITED_ENVIRONMENT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "TMPDIR")
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # each thread of a library takes address space


class DecoderCrashed(Exception):
    """The process died or had to be killed, perhaps because the image took it too long (`timed_out`)."""

    def __init__(self, message: str, *, timed_out: bool):
        super().__init__(message)
        self.timed_out = timed_out


class DecoderChild:
    """One process and our end of the socket to it. It runs the Python module `program`."""

    def __init__(self, program: str, settings: Settings, niceness: int = 0):
        self._program = program
        self._settings = settings
        self._niceness = niceness
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def request(self, request: dict[str, Any], image: int) -> tuple[dict[str, Any], int]:
        """Raises `DecoderCrashed`; the next request starts another process."""
        if self._socket is None:
            self.start()
        assert self._socket is not None
        try:
            socket.send_fds(self._socket, [json.dumps(request).encode()], [image])
            message, descriptors, _, _ = socket.recv_fds(self._socket, MAX_ANSWER_BYTES, 1)
            answer: dict[str, Any] = json.loads(message)
        except (OSError, ValueError) as error:
            status = self.stop()
            timed_out = isinstance(error, TimeoutError) or status == -signal.SIGXCPU
            raise DecoderCrashed(
                f"{type(error).__name__}: {error}; exit status {status}", timed_out=timed_out
            ) from error
        return answer, descriptors[0] if descriptors else -1

    def start(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(WALL_CLOCK_FACTOR * self._settings.decode_seconds)
        limits = [str(self._settings.max_image_pixels), str(self._settings.decode_seconds)]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", self._program, str(theirs.fileno()), *limits],
                pass_fds=[theirs.fileno()],
                env={name: os.environ[name] for name in INHERITED_ENVIRONMENT if name in os.environ} | ONE_THREAD,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # libraries print warnings about images there
            )
        if self._niceness:
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self._process.pid, self._niceness)

    def stop(self) -> int | None:
        """Returns the exit status, None if the process was not started."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is None:
            return None
        try:
            status = self._process.wait(EXIT_SECONDS)  # the closed socket ends it
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._process = None
        return status


@contextmanager
def map_file(descriptor: int, size: int) -> Iterator[mmap.mmap]:
    """Maps a file that another process created and may still have open. Closes the descriptor.

    Raises `ImageRejected` if its size is another.
    """
    try:
        # The other process could truncate the file later, and a read beyond its end would kill this process.
        with suppress(AttributeError, OSError):
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        try:
            if size < 1 or os.fstat(descriptor).st_size != size:
                raise undecodable_error()
            mapped = mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY)
        except (OSError, ValueError) as error:
            if isinstance(error, ImageRejected):
                raise
            raise undecodable_error() from error
        yield mapped
    finally:
        with suppress(OSError):
            os.close(descriptor)


def undecodable_error() -> ImageRejected:
    return ImageRejected(
        "undecodable_image",
        "The image crashes its decoder, or decoding takes too long or too much memory. Leave it out, or open it in "
        "an image editor, save it again and send that.",
    )

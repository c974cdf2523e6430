"""A pool of processes that decode untrusted images, so that a bad image cannot crash or stall this one.

Each process has a bounded address space and CPU time, and almost no environment. It sees an image only as an open
file. Pixels come back in shared memory. Its answers are JSON, nothing is unpickled, and everything is checked.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import queue
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from config.settings import Settings
from imaging.image_files import ImageRejected, ImageSize

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_PROCESSES = 4
MAX_ANSWER_BYTES = 64 * 1024
MAX_THUMBNAIL_BYTES = 2**20  # three bytes for each pixel are far fewer
# The system kills a process that uses up its CPU seconds. We kill one that sleeps, after this multiple of them.
WALL_CLOCK_FACTOR = 10
EXIT_SECONDS = 0.5
INHERITED_ENVIRONMENT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "TMPDIR")
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # each thread of a library takes address space

log = structlog.get_logger()


class DecoderPool:
    """A few processes, started when they are first needed and again after a crash. Thread-safe.

    Methods raise `ImageRejected` as the functions of `imaging.image_files` do, and for an image that crashes its
    decoder or takes it too long.
    """

    def __init__(self, settings: Settings):
        self._idle: queue.LifoQueue[_Decoder] = queue.LifoQueue()
        self.processes = min(os.cpu_count() or 1, MAX_PROCESSES)
        self._all = [_Decoder(settings) for _ in range(self.processes)]
        for decoder in self._all:
            self._idle.put(decoder)

    def prestart(self) -> None:
        """Starts one process in the background, so that the first image need not wait for it."""
        with self._decoder() as decoder:
            decoder.start()

    def check(self, file: Path) -> ImageSize:
        """Calls `image_files.check_image`."""
        answer, _ = self._request("check", file)
        return ImageSize(int(answer["width"]), int(answer["height"]))

    def count_pixels(self, file: Path) -> int:
        """Calls `image_files.count_pixels`."""
        answer, _ = self._request("count", file)
        return int(answer["pixels"])

    def read_rgb(self, file: Path) -> NDArray[np.uint8]:
        """Calls `image_files.read_rgb`. Returns (height, width, 3) uint8."""
        answer, pixels = self._request("read", file)
        return _map_pixels(int(answer["height"]), int(answer["width"]), pixels)

    def thumbnail(self, file: Path) -> bytes:
        """Calls `image_files.thumbnail`. Returns a WebP file."""
        _, descriptor = self._request("thumbnail", file)
        try:
            return os.pread(descriptor, MAX_THUMBNAIL_BYTES, 0)
        except OSError as error:
            raise _undecodable_error() from error
        finally:
            with suppress(OSError):
                os.close(descriptor)

    def close(self) -> None:
        for decoder in self._all:
            decoder.stop()

    def _request(self, command: str, file: Path) -> tuple[dict[str, Any], int]:
        """Returns the answer and the descriptor of a file with its data, which the caller closes, or -1."""
        with file.open("rb") as opened, self._decoder() as decoder:
            try:
                answer, descriptor = decoder.request(command, opened.fileno())
            except DecoderCrashed as error:
                log.warning("decoder crashed", error=str(error), image=file.name)
                if error.timed_out:
                    raise _undecodable_error() from error
                try:
                    # Something else may have killed it. If the image did, it crashes the next process, too.
                    answer, descriptor = decoder.request(command, opened.fileno())
                except DecoderCrashed as second:
                    log.warning("decoder crashed again", error=str(second), image=file.name)
                    raise _undecodable_error() from second
        if "code" in answer:
            raise ImageRejected(str(answer["code"]), str(answer["message"]))
        return answer, descriptor

    @contextmanager
    def _decoder(self) -> Iterator[_Decoder]:
        decoder = self._idle.get()
        try:
            yield decoder
        finally:
            self._idle.put(decoder)


class DecoderCrashed(Exception):
    """The process died or had to be killed, perhaps because the image took it too long (`timed_out`)."""

    def __init__(self, message: str, *, timed_out: bool):
        super().__init__(message)
        self.timed_out = timed_out


class _Decoder:
    """One process and our end of the socket to it."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def request(self, command: str, image: int) -> tuple[dict[str, Any], int]:
        """Raises `DecoderCrashed`; the next request starts another process."""
        if self._socket is None:
            self.start()
        assert self._socket is not None
        try:
            socket.send_fds(self._socket, [command.encode()], [image])
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
                [sys.executable, "-P", "-m", "imaging.decoder_process", str(theirs.fileno()), *limits],
                pass_fds=[theirs.fileno()],
                env={name: os.environ[name] for name in INHERITED_ENVIRONMENT if name in os.environ} | ONE_THREAD,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # libraries print warnings about images there
            )

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


def _map_pixels(height: int, width: int, descriptor: int) -> NDArray[np.uint8]:
    """Maps a file of pixels that another process created and may still have open."""
    import numpy as np  # noqa: PLC0415 - the API seldom needs it and starts faster without it

    size = height * width * 3
    try:
        # The other process could truncate the file later, and a read beyond its end would kill this process.
        with suppress(AttributeError, OSError):
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        if min(height, width) < 1 or os.fstat(descriptor).st_size != size:
            raise _undecodable_error()
        mapped = mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY)
    finally:
        with suppress(OSError):
            os.close(descriptor)
    return np.frombuffer(mapped, np.uint8).reshape(height, width, 3)


def _undecodable_error() -> ImageRejected:
    return ImageRejected(
        "undecodable_image",
        "The image crashes its decoder, or decoding takes too long or too much memory. Leave it out, or open it in "
        "an image editor, save it again and send that.",
    )

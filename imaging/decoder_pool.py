"""Image files that strangers sent, decoded in processes of their own: what a bad one brings down is not ours.

Each process has a bounded address space and time, no environment but what starts Python, and sees of an image an open
file. Pixels come back in memory that both share; nothing that it says is unpickled, and all of it is checked.
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
from imaging.image_files import ImageRefusedError, ImageSize

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_PROCESSES = 4
LONGEST_ANSWER = 64 * 1024
LARGEST_THUMBNAIL = 2**20  # bytes; three for each of its pixels are far fewer
# A process that uses up its seconds is ended by the system; one that only sleeps, so many times later by us.
WAITING_FACTOR = 10
LEAVING_SECONDS = 0.5
KEPT_ENVIRONMENT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "TMPDIR")
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # each thread of a library takes address space

log = structlog.get_logger()


class Decoders:
    """A few processes, each started when it is first needed and again after it died. For use by many threads."""

    def __init__(self, settings: Settings):
        self._idle: queue.LifoQueue[_Decoder] = queue.LifoQueue()
        self.processes = min(os.cpu_count() or 1, MOST_PROCESSES)
        self._all = [_Decoder(settings) for _ in range(self.processes)]
        for decoder in self._all:
            self._idle.put(decoder)

    def prepare(self) -> None:
        """Starts one, and does not wait for it, so that the first image need not."""
        with self._decoder() as decoder:
            decoder.start()

    def check(self, file: Path) -> ImageSize:
        """As `image_files.check_image`."""
        answer, _ = self._ask("check", file)
        return ImageSize(int(answer["width"]), int(answer["height"]))

    def count_pixels(self, file: Path) -> int:
        """As `image_files.count_pixels`."""
        answer, _ = self._ask("count", file)
        return int(answer["pixels"])

    def read_rgb(self, file: Path) -> NDArray[np.uint8]:
        """As `image_files.read_rgb`: (height, width, 3) uint8."""
        answer, pixels = self._ask("read", file)
        return _shared_array(int(answer["height"]), int(answer["width"]), pixels)

    def thumbnail(self, file: Path) -> bytes:
        """As `image_files.thumbnail`: a WebP."""
        _, made = self._ask("thumbnail", file)
        try:
            return os.pread(made, LARGEST_THUMBNAIL, 0)
        except OSError as error:
            raise _undecodable() from error
        finally:
            with suppress(OSError):
                os.close(made)

    def close(self) -> None:
        for decoder in self._all:
            decoder.end()

    def _ask(self, what: str, file: Path) -> tuple[dict[str, Any], int]:
        """The answer, and the descriptor of a file with it, to be closed, or -1. Raises `ImageRefusedError`."""
        with file.open("rb") as opened, self._decoder() as decoder:
            try:
                answer, descriptor = decoder.ask(what, opened.fileno())
            except _DiedError as error:
                log.warning("decoder died", how=str(error), image=file.name)
                if error.of_time:
                    raise _undecodable() from error
                try:
                    # Somebody else may have killed it; of an image that does, another process dies too.
                    answer, descriptor = decoder.ask(what, opened.fileno())
                except _DiedError as again:
                    log.warning("decoder died again", how=str(again), image=file.name)
                    raise _undecodable() from again
        if "code" in answer:
            raise ImageRefusedError(str(answer["code"]), str(answer["message"]))
        return answer, descriptor

    @contextmanager
    def _decoder(self) -> Iterator[_Decoder]:
        decoder = self._idle.get()
        try:
            yield decoder
        finally:
            self._idle.put(decoder)


class _DiedError(Exception):
    """The process is gone, or had to be ended; perhaps because the image took it too long."""

    def __init__(self, how: str, *, of_time: bool):
        super().__init__(how)
        self.of_time = of_time


class _Decoder:
    """One process, and our end of the socket to it."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def ask(self, what: str, image: int) -> tuple[dict[str, Any], int]:
        """Raises `_DiedError`; another process then answers the next question."""
        if self._socket is None:
            self.start()
        assert self._socket is not None
        try:
            socket.send_fds(self._socket, [what.encode()], [image])
            message, descriptors, _, _ = socket.recv_fds(self._socket, LONGEST_ANSWER, 1)
            answer: dict[str, Any] = json.loads(message)
        except (OSError, ValueError) as error:
            status = self.end()
            of_time = isinstance(error, TimeoutError) or status == -signal.SIGXCPU
            raise _DiedError(f"{type(error).__name__}: {error}; exit status {status}", of_time=of_time) from error
        return answer, descriptors[0] if descriptors else -1

    def start(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(WAITING_FACTOR * self._settings.decode_seconds)
        limits = [str(self._settings.max_image_pixels), str(self._settings.decode_seconds)]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "imaging.decoder_process", str(theirs.fileno()), *limits],
                pass_fds=[theirs.fileno()],
                env={name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ} | ONE_THREAD,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # decoders write there what they think of an image
            )

    def end(self) -> int | None:
        """Its exit status, if it was started."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is None:
            return None
        try:
            status = self._process.wait(LEAVING_SECONDS)  # a closed socket ends it, too
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._process = None
        return status


def _shared_array(height: int, width: int, descriptor: int) -> NDArray[np.uint8]:
    """Pixels in a file that another process made and still has."""
    import numpy as np  # noqa: PLC0415 - the API, which seldom needs it, starts faster without it

    size = height * width * 3
    try:
        # Or it could be cut short later, and reading it would end this process.
        with suppress(AttributeError, OSError):
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        if min(height, width) < 1 or os.fstat(descriptor).st_size != size:
            raise _undecodable()
        mapped = mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY)
    finally:
        with suppress(OSError):
            os.close(descriptor)
    return np.frombuffer(mapped, np.uint8).reshape(height, width, 3)


def _undecodable() -> ImageRefusedError:
    return ImageRefusedError(
        "undecodable_image",
        "The image makes its decoder crash, run for too long, or take too much memory. Leave it out; or save it anew "
        "with a program that can open it, and send that.",
    )

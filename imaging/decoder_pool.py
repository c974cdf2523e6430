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
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from config.settings import Settings
from imaging.image_info import ImageCheck, ImageSize, Picture
from imaging.photo_findings import PhotoMeasures
from imaging.rejections import ImageRejected, ImageWarning

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

    def __init__(self, settings: Settings, *, processes: int | None = None, niceness: int = 0):
        """`niceness` is the operating system's: at 19, the processes get what others leave."""
        self._idle: queue.LifoQueue[_Decoder] = queue.LifoQueue()
        self.processes = processes or min(os.cpu_count() or 1, MAX_PROCESSES)
        self._all = [_Decoder(settings, niceness) for _ in range(self.processes)]
        for decoder in self._all:
            self._idle.put(decoder)
        self._large = threading.Lock()  # held while a large image is decoded, so that memory suffices for it

    def prestart(self) -> None:
        """Starts one process in the background, so that the first image need not wait for it."""
        with self._decoder() as decoder:
            decoder.start()

    def check(self, file: Path) -> ImageCheck:
        """Calls `image_files.check_image`."""
        answer, _ = self._request("check", file)
        try:
            top, left, height, width = answer["opaque"] or (0, 0, 0, 0)
            return ImageCheck(
                ImageSize(int(answer["width"]), int(answer["height"])),
                (int(top), int(left), int(height), int(width)) if answer["opaque"] else None,
                int(answer["bits"]),
                int(answer["frames"]),
                tuple(ImageWarning(str(code), str(message)) for code, message in answer["warnings"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _undecodable_error() from error

    def count_pixels(self, file: Path) -> int:
        """Calls `image_files.count_pixels`."""
        answer, _ = self._request("count", file)
        return int(answer["pixels"])

    def read_rgb(self, file: Path) -> NDArray[np.uint8]:
        """Calls `image_files.read_rgb`. Returns (height, width, 3) uint8."""
        import numpy as np  # noqa: PLC0415 - the API seldom needs it and starts faster without it

        answer, descriptor = self._request("read", file)
        height, width = _parse_shape(answer)
        with _mapped(descriptor, size=height * width * 3) as mapped:
            return np.frombuffer(mapped, np.uint8).reshape(height, width, 3)

    def read_picture(self, file: Path, *, deep: bool = False, keep_color: bool = False) -> Picture:
        """Calls `image_files.read_picture`."""
        import numpy as np  # noqa: PLC0415

        answer, descriptor = self._request("picture", file, deep=deep, keep_color=keep_color)
        height, width = _parse_shape(answer)
        kind = np.dtype(np.uint16 if answer.get("bytes") == 2 else np.uint8)
        rgb_bytes, alpha_bytes = height * width * 3 * kind.itemsize, height * width * kind.itemsize
        pixel_bytes = rgb_bytes + (alpha_bytes if answer.get("alpha") else 0)
        profile, exif, xmp = map(int, answer["metadata"])
        with _mapped(descriptor, size=pixel_bytes + profile + exif + xmp) as mapped:
            pixels = np.frombuffer(mapped, kind, pixel_bytes // kind.itemsize)
            rgb = pixels[: height * width * 3].reshape(height, width, 3)
            alpha = pixels[height * width * 3 :].reshape(height, width) if answer.get("alpha") else None
            ends = accumulate([pixel_bytes, profile, exif, xmp])
            return Picture(rgb, alpha, *(bytes(mapped[start:end]) for start, end in pairwise(ends)))

    def read_frames(self, file: Path, start: int) -> list[bytes]:
        """Calls `image_files.read_frames`. Returns some frames from `start` on, as PNG files; none at the end."""
        answer, descriptor = self._request("frames", file, start=start)
        sizes = [int(size) for size in answer["sizes"]]
        if not sizes:
            os.close(descriptor)
            return []
        with _mapped(descriptor, size=sum(sizes)) as mapped:
            ends = [0, *accumulate(sizes)]
            return [bytes(mapped[begin:end]) for begin, end in pairwise(ends)]

    def measure(self, file: Path) -> PhotoMeasures:
        """Calls `photo_measures.measure_photo` on the image's pixels."""
        answer, _ = self._request("measure", file)
        try:
            return PhotoMeasures.from_json(answer)
        except (KeyError, TypeError, ValueError) as error:
            raise _undecodable_error() from error

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

    def _request(self, command: str, file: Path, **options: Any) -> tuple[dict[str, Any], int]:
        """Returns the answer and the descriptor of a file with its data, which the caller closes, or -1."""
        request = {"command": command, "large": False, **options}
        answer, descriptor = self._send(request, file)
        if answer.get("large"):
            with self._large:
                return self._send({**request, "large": True}, file)
        return answer, descriptor

    def _send(self, request: dict[str, Any], file: Path) -> tuple[dict[str, Any], int]:
        with file.open("rb") as opened, self._decoder() as decoder:
            try:
                answer, descriptor = decoder.request(request, opened.fileno())
            except DecoderCrashed as error:
                log.warning("decoder crashed", error=str(error), image=file.name)
                if error.timed_out:
                    raise _undecodable_error() from error
                try:
                    # Something else may have killed it. If the image did, it crashes the next process, too.
                    answer, descriptor = decoder.request(request, opened.fileno())
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

    def __init__(self, settings: Settings, niceness: int):
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
                [sys.executable, "-P", "-m", "imaging.decoder_process", str(theirs.fileno()), *limits],
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


def _parse_shape(answer: dict[str, Any]) -> tuple[int, int]:
    """Returns (height, width) of an answer's pixels."""
    try:
        height, width, channels = map(int, answer["shape"])
    except (KeyError, TypeError, ValueError) as error:
        raise _undecodable_error() from error
    if min(height, width) < 1 or channels != 3:
        raise _undecodable_error()
    return height, width


@contextmanager
def _mapped(descriptor: int, size: int) -> Iterator[mmap.mmap]:
    """Maps a file that another process created and may still have open. Closes the descriptor.

    Raises `ImageRejected` if its size is another.
    """
    try:
        # The other process could truncate the file later, and a read beyond its end would kill this process.
        with suppress(AttributeError, OSError):
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        try:
            if size < 1 or os.fstat(descriptor).st_size != size:
                raise _undecodable_error()
            mapped = mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY)
        except (OSError, ValueError) as error:
            if isinstance(error, ImageRejected):
                raise
            raise _undecodable_error() from error
        yield mapped
    finally:
        with suppress(OSError):
            os.close(descriptor)


def _undecodable_error() -> ImageRejected:
    return ImageRejected(
        "undecodable_image",
        "The image crashes its decoder, or decoding takes too long or too much memory. Leave it out, or open it in "
        "an image editor, save it again and send that.",
    )

"""A pool of processes that decode untrusted images, so that a bad image cannot crash or stall this one.

Each process has a bounded address space and CPU time, and almost no environment. It sees an image only as an open
file. Pixels come back in shared memory. Its answers are JSON, nothing is unpickled, and everything is checked.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from config.cpus import usable_cpus
from config.settings import Settings
from imaging.decoder_child import DecoderChild, DecoderCrashed, map_file, undecodable_error
from imaging.image_info import ImageCheck, ImageSize, Picture
from imaging.photo_findings import PhotoMeasures
from imaging.rejections import ImageRejected, ImageWarning

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_PROCESSES = 4
MAX_THUMBNAIL_BYTES = 2**20  # three bytes for each pixel are far fewer
PROGRAM = "imaging.decoder_process"

log = structlog.get_logger()


class DecoderPool:
    """A few processes, started when they are first needed and again after a crash. Thread-safe.

    Methods raise `ImageRejected` as the functions of `imaging.image_files` do, and for an image that crashes its
    decoder or takes it too long.
    """

    def __init__(self, settings: Settings, *, processes: int | None = None, niceness: int = 0):
        """`niceness` is the operating system's: at 19, the processes get what others leave."""
        self._idle: queue.LifoQueue[DecoderChild] = queue.LifoQueue()
        self.crashes = 0  # decoder processes that died or had to be killed
        self.processes = processes or min(usable_cpus(), MAX_PROCESSES)
        self._all = [DecoderChild(PROGRAM, settings, niceness) for _ in range(self.processes)]
        for decoder in self._all:
            self._idle.put(decoder)
        self._counting = threading.Lock()
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
            raise undecodable_error() from error

    def count_pixels(self, file: Path) -> int:
        """Calls `image_files.count_pixels`."""
        answer, _ = self._request("count", file)
        return int(answer["pixels"])

    def read_rgb(self, file: Path) -> NDArray[np.uint8]:
        """Calls `image_files.read_rgb`. Returns (height, width, 3) uint8."""
        import numpy as np  # noqa: PLC0415 - the API seldom needs it and starts faster without it

        answer, descriptor = self._request("read", file)
        height, width = _parse_shape(answer)
        with map_file(descriptor, size=height * width * 3) as mapped:
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
        with map_file(descriptor, size=pixel_bytes + profile + exif + xmp) as mapped:
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
        with map_file(descriptor, size=sum(sizes)) as mapped:
            ends = [0, *accumulate(sizes)]
            return [bytes(mapped[begin:end]) for begin, end in pairwise(ends)]

    def measure(self, file: Path) -> PhotoMeasures:
        """Calls `photo_measures.measure_photo` on the image's pixels."""
        answer, _ = self._request("measure", file)
        try:
            return PhotoMeasures.from_json(answer)
        except (KeyError, TypeError, ValueError) as error:
            raise undecodable_error() from error

    def thumbnail(self, file: Path) -> bytes:
        """Calls `image_files.thumbnail`. Returns a WebP file."""
        _, descriptor = self._request("thumbnail", file)
        try:
            return os.pread(descriptor, MAX_THUMBNAIL_BYTES, 0)
        except OSError as error:
            raise undecodable_error() from error
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
                self._count_crash()
                log.warning("decoder crashed", error=str(error), image=file.name)
                if error.timed_out:
                    raise undecodable_error() from error
                try:
                    # Something else may have killed it. If the image did, it crashes the next process, too.
                    answer, descriptor = decoder.request(request, opened.fileno())
                except DecoderCrashed as second:
                    self._count_crash()
                    log.warning("decoder crashed again", error=str(second), image=file.name)
                    raise undecodable_error() from second
        if "code" in answer:
            raise ImageRejected(str(answer["code"]), str(answer["message"]))
        return answer, descriptor

    def _count_crash(self) -> None:
        with self._counting:
            self.crashes += 1

    @contextmanager
    def _decoder(self) -> Iterator[DecoderChild]:
        decoder = self._idle.get()
        try:
            yield decoder
        finally:
            self._idle.put(decoder)


def _parse_shape(answer: dict[str, Any]) -> tuple[int, int]:
    """Returns (height, width) of an answer's pixels."""
    try:
        height, width, channels = map(int, answer["shape"])
    except (KeyError, TypeError, ValueError) as error:
        raise undecodable_error() from error
    if min(height, width) < 1 or channels != 3:
        raise undecodable_error()
    return height, width

"""The decoder process: `python -m imaging.decoder_process SOCKET MAX_PIXELS SECONDS`, started by `decoder_pool`.

A request on the socket is a JSON object with a command, and an image's open file. The answer is a JSON object; pixels,
thumbnails and metadata come as an open file in memory. The process ends when the socket is closed.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import resource
import signal
import socket
import sys
import tempfile
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import Image

from imaging import image_files
from imaging.image_info import ImageCheck
from imaging.rejections import ImageRejected, LargeImage

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_REQUEST_BYTES = 1000
MAX_MESSAGE_CHARS = 1000
MAX_WARNINGS = 20
# Limit of the address space: a base for Python and its libraries, and bytes for each pixel. Pillow holds four of an
# image, a progressive JPEG's coefficients take six, and the result three.
BASE_BYTES = 640 * 2**20
BYTES_PER_PIXEL = 16
RESULT_BYTES_PER_PIXEL = 8  # RGB and alpha with 16 bits
MAX_METADATA_BYTES = 2**24
MAX_FRAMES_BYTES = 2**26  # of one answer; the next one continues
MAX_OPEN_FILES = 64
LARGE_PIXELS = 64_000_000  # only one image of more is decoded at a time


def main() -> None:
    descriptor, max_pixels, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; our parent decides
    _set_limits(max_pixels)
    requests = socket.socket(fileno=descriptor)
    while True:
        message, files, _, _ = socket.recv_fds(requests, MAX_REQUEST_BYTES, 1)
        if not message:
            return
        _allow_cpu_seconds(seconds)
        data = None
        with os.fdopen(files[0], "rb") as opened:
            opened.seek(0)  # another process may have read from it
            try:
                answer, data = _handle(json.loads(message), opened, max_pixels)
            except LargeImage:
                answer = {"large": True}
            except ImageRejected as error:
                answer = {"code": error.code, "message": error.message[:MAX_MESSAGE_CHARS]}
            except MemoryError:
                answer = {"code": "undecodable_image", "message": "Decoding the image takes too much memory."}
        socket.send_fds(requests, [json.dumps(answer).encode()], [data] if data is not None else [])
        if data is not None:
            os.close(data)


def _handle(  # noqa: PLR0911 - a return for each command
    request: dict[str, Any], opened: BinaryIO, max_pixels: int
) -> tuple[dict[str, Any], int | None]:
    """Returns the answer, and the descriptor of a file with its data.

    Raises `LargeImage` if the image is large and was not requested as such.
    """
    limit = None if request["large"] else LARGE_PIXELS
    match request["command"]:
        case "check":
            return _to_json(image_files.check_image(opened, max_pixels=max_pixels, large=limit)), None
        case "count":
            return {"pixels": image_files.count_pixels(opened)}, None
        case "read":
            with _Result() as result:
                pixels = image_files.read_rgb(opened, allocate=result.allocate, large=limit)
                return {"shape": pixels.shape}, result.take(pixels)
        case "picture":
            return _read_picture(opened, deep=request["deep"], keep_color=request["keep_color"], large=limit)
        case "frames":
            return _read_frames(opened, request["start"], max_pixels, limit)
        case "measure":
            from imaging.photo_measures import measure_photo  # noqa: PLC0415 - imports numpy, which few requests need

            return measure_photo(image_files.read_rgb(opened, large=limit)).to_json(), None
        case "thumbnail":
            return {}, _write_memory_file(image_files.thumbnail(opened))
    raise ValueError(request["command"])


def _to_json(check: ImageCheck) -> dict[str, Any]:
    return {
        "width": check.size.width,
        "height": check.size.height,
        "opaque": check.opaque,
        "bits": check.bits,
        "frames": check.frames,
        "warnings": [[warning.code, warning.message] for warning in check.warnings[:MAX_WARNINGS]],
    }


def _read_picture(opened: BinaryIO, *, deep: bool, keep_color: bool, large: int | None) -> tuple[dict[str, Any], int]:
    """Answers with the sizes of the parts of a file: RGB, alpha, profile, EXIF, XMP."""
    picture = image_files.read_picture(opened, deep=deep, keep_color=keep_color, large=large)
    metadata = [part if len(part) <= MAX_METADATA_BYTES else b"" for part in picture[2:]]
    memory = _create_memory_file()
    with os.fdopen(os.dup(memory), "wb") as file:
        file.write(picture.rgb.data)
        if picture.alpha is not None:
            file.write(picture.alpha.data)
        file.write(b"".join(metadata))
    return {
        "shape": picture.rgb.shape,
        "bytes": picture.rgb.itemsize,
        "alpha": picture.alpha is not None,
        "metadata": [len(part) for part in metadata],
    }, memory


def _read_frames(opened: BinaryIO, start: int, max_pixels: int, large: int | None) -> tuple[dict[str, Any], int]:
    """Answers with the sizes of some frames' PNG files, one behind the other in a file."""
    sizes: list[int] = []
    memory = _create_memory_file()
    with os.fdopen(os.dup(memory), "wb") as file:

        def save(png: bytes) -> bool:
            file.write(png)
            sizes.append(len(png))
            return sum(sizes) < MAX_FRAMES_BYTES

        image_files.read_frames(opened, start, save, max_pixels=max_pixels, large=large)
    return {"sizes": sizes}, memory


class _Result:
    """A file in memory that pixels are decoded into, so that they need not be copied. Closed at the end of `with`."""

    def __init__(self) -> None:
        self._descriptor: int | None = None
        self._size = 0

    def allocate(self, shape: tuple[int, ...], kind: str) -> NDArray[Any]:
        """Returns an array. The first one is in the file."""
        import numpy as np  # noqa: PLC0415 - few requests need it

        if self._descriptor is not None:
            return np.empty(shape, kind)
        self._size = math.prod(shape) * np.dtype(kind).itemsize
        self._descriptor = _create_memory_file()
        os.ftruncate(self._descriptor, self._size)
        return np.frombuffer(mmap.mmap(self._descriptor, self._size), kind).reshape(shape)

    def take(self, pixels: NDArray[Any]) -> int:
        """Returns the descriptor of a file with exactly these pixels, all or a part of those in this file."""
        import numpy as np  # noqa: PLC0415

        if self._descriptor is not None and pixels.nbytes == self._size:
            return os.dup(self._descriptor)
        return _write_memory_file(np.ascontiguousarray(pixels).data)

    def __enter__(self) -> _Result:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


def _write_memory_file(data: bytes | memoryview) -> int:
    """Returns the descriptor of a file that holds the data and is on no disk."""
    memory = _create_memory_file()
    with os.fdopen(os.dup(memory), "wb") as file:
        file.write(data)
    return memory


def _create_memory_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("pixels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _set_limits(max_pixels: int) -> None:
    memory = BASE_BYTES + BYTES_PER_PIXEL * max_pixels
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    result = RESULT_BYTES_PER_PIXEL * max_pixels + MAX_FRAMES_BYTES + 3 * MAX_METADATA_BYTES
    resource.setrlimit(resource.RLIMIT_FSIZE, (result, result))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MAX_OPEN_FILES, MAX_OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Image.MAX_IMAGE_PIXELS = max_pixels  # checked before decoding; libwebp would take twice as many


def _allow_cpu_seconds(seconds: float) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = math.ceil(used.ru_utime + used.ru_stime + seconds)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (until, hard))


if __name__ == "__main__":
    main()

"""The decoder process: `python -m imaging.decoder_process SOCKET MAX_PIXELS SECONDS`, started by `decoder_pool`.

A request on the socket is a command and an image's open file. The answer is a JSON object; pixels and thumbnails come
as an open file in memory. The process ends when the socket is closed.
"""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import socket
import sys
import tempfile
from typing import Any, BinaryIO

from PIL import Image

from imaging import image_files
from imaging.image_files import ImageRejected

MAX_REQUEST_BYTES = 100
MAX_MESSAGE_CHARS = 1000
# Limit of the address space: a base for Python and its libraries, and bytes for each pixel. Pillow holds four, twice
# when it rotates or converts; the result takes three, twice; half as much again is reserve.
BASE_BYTES = 512 * 2**20
BYTES_PER_PIXEL = 20
MAX_OPEN_FILES = 64


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
                answer, data = _handle(message.decode(), opened, max_pixels)
            except ImageRejected as error:
                answer = {"code": error.code, "message": error.message[:MAX_MESSAGE_CHARS]}
            except MemoryError:
                answer = {"code": "undecodable_image", "message": "Decoding the image takes too much memory."}
        socket.send_fds(requests, [json.dumps(answer).encode()], [data] if data is not None else [])
        if data is not None:
            os.close(data)


def _handle(command: str, opened: BinaryIO, max_pixels: int) -> tuple[dict[str, Any], int | None]:
    match command:
        case "check":
            size = image_files.check_image(opened, max_pixels=max_pixels)
            return {"width": size.width, "height": size.height}, None
        case "count":
            return {"pixels": image_files.count_pixels(opened)}, None
        case "read":
            pixels = image_files.read_rgb(opened)
            return {"height": pixels.shape[0], "width": pixels.shape[1]}, _write_memory_file(pixels.data)
        case "thumbnail":
            return {}, _write_memory_file(image_files.thumbnail(opened))
    raise ValueError(command)


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
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 * max_pixels, 3 * max_pixels))
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

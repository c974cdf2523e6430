"""The decoder process: `python -m imaging.decoder_process SOCKET MAX_PIXELS SECONDS`, run by `imaging.decoder_pool`.

It is asked over a socket, by a word and an image's open file, and answers with an object in JSON; pixels, and an image
made small, come as the open file of a piece of memory. When nobody asks any more, it ends.
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
from imaging.image_files import ImageRefusedError

LONGEST_QUESTION = 100
LONGEST_MESSAGE = 1000
# Of address space: Python and its libraries; and for a pixel four bytes as Pillow holds it, twice where it is turned or
# converted, three as it is given back, twice, and half as much again.
BASE_BYTES = 512 * 2**20
BYTES_A_PIXEL = 20
MOST_FILES = 64


def main() -> None:
    descriptor, max_pixels, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; whoever asks decides
    _set_limits(max_pixels)
    asked = socket.socket(fileno=descriptor)
    while True:
        message, files, _, _ = socket.recv_fds(asked, LONGEST_QUESTION, 1)
        if not message:
            return
        _allow_seconds(seconds)
        made = None
        with os.fdopen(files[0], "rb") as opened:
            opened.seek(0)  # another process may have read in it before
            try:
                answer, made = _answer(message.decode(), opened, max_pixels)
            except ImageRefusedError as error:
                answer = {"code": error.code, "message": error.message[:LONGEST_MESSAGE]}
            except MemoryError:
                answer = {"code": "undecodable_image", "message": "Decoding the image takes too much memory."}
        socket.send_fds(asked, [json.dumps(answer).encode()], [made] if made is not None else [])
        if made is not None:
            os.close(made)


def _answer(what: str, opened: BinaryIO, max_pixels: int) -> tuple[dict[str, Any], int | None]:
    match what:
        case "check":
            size = image_files.check_image(opened, max_pixels=max_pixels)
            return {"width": size.width, "height": size.height}, None
        case "count":
            return {"pixels": image_files.count_pixels(opened)}, None
        case "read":
            array = image_files.read_rgb(opened)
            return {"height": array.shape[0], "width": array.shape[1]}, _in_memory(array.data)
        case "thumbnail":
            return {}, _in_memory(image_files.thumbnail(opened))
    raise ValueError(what)


def _in_memory(data: bytes | memoryview) -> int:
    """The descriptor of a file that holds the data and is on no disk."""
    memory = _memory()
    with os.fdopen(os.dup(memory), "wb") as file:
        file.write(data)
    return memory


def _memory() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("pixels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _set_limits(max_pixels: int) -> None:
    memory = BASE_BYTES + BYTES_A_PIXEL * max_pixels
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 * max_pixels, 3 * max_pixels))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_FILES, MOST_FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Image.MAX_IMAGE_PIXELS = max_pixels  # looked at before pixels are; libwebp may be asked for twice as many


def _allow_seconds(seconds: float) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = math.ceil(used.ru_utime + used.ru_stime + seconds)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (until, hard))


if __name__ == "__main__":
    main()

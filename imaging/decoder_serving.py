"""What all decoder processes have in common: their loop, their limits, and files in memory for what they return.

A request on the socket is a JSON object with a command, and an open file. The answer is a JSON object; data come as an
open file in memory. The process ends when the socket is closed.
"""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import socket
import tempfile
from collections.abc import Callable
from typing import Any, BinaryIO

from imaging.rejections import ImageRejected

MAX_REQUEST_BYTES = 1000
MAX_MESSAGE_CHARS = 1000
MAX_OPEN_FILES = 64

Answer = tuple[dict[str, Any], int | None]
"""The answer, and the descriptor of a file with its data."""


def serve(descriptor: int, seconds: float, handle: Callable[[dict[str, Any], BinaryIO], Answer]) -> None:
    """Answers requests until the socket is closed. Each may take `seconds` of CPU time. `handle` may keep the file."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; our parent decides
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
                answer, data = handle(json.loads(message), opened)
            except ImageRejected as error:
                answer = {"code": error.code, "message": error.message[:MAX_MESSAGE_CHARS]}
            except MemoryError:
                answer = {
                    "code": "undecodable_image",
                    "message": "Decoding the image takes too much memory. Cut it into parts and send those.",
                }
        socket.send_fds(requests, [json.dumps(answer).encode()], [data] if data is not None else [])
        if data is not None:
            os.close(data)


def limit_process(*, memory: int, file_bytes: int) -> None:
    """Limits the address space and the size of a file, both in bytes."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MAX_OPEN_FILES, MAX_OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def write_memory_file(data: bytes | memoryview) -> int:
    """Returns the descriptor of a file that holds the data and is on no disk."""
    memory = create_memory_file()
    with os.fdopen(os.dup(memory), "wb") as file:
        file.write(data)
    return memory


def create_memory_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("pixels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _allow_cpu_seconds(seconds: float) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = math.ceil(used.ru_utime + used.ru_stime + seconds)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (until, hard))

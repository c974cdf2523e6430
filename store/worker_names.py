"""Names of workers. They say on which computer, and on which GPU, a worker is."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping

from store.ids import new_id

_GPU = re.compile(r"-gpu:(\w+)-[^-]+$")  # a colon, which no host's name has; the last part is the worker's id


def create_worker_name(environment: Mapping[str, str] = os.environ) -> str:
    """Returns a new name, HOST-ID, or HOST-gpu:N-ID if CUDA_VISIBLE_DEVICES names one GPU.

    Of the UUID of a GPU, or of a part of one (MIG), N is the first eight digits.
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES", "")
    device = re.fullmatch(r"(?:GPU-|MIG-|MIG-GPU-)?([0-9a-f]{8}|\d+)[-/0-9a-f]*", visible.strip())
    place = f"-gpu:{device[1]}" if device else ""
    return f"{socket.gethostname()}{place}-{new_id()}"


def get_host(worker: str) -> str:
    """Returns the HOST of a worker's name."""
    return _GPU.sub("", worker) if _GPU.search(worker) else worker.rpartition("-")[0]


def get_gpu(worker: str) -> str:
    """Returns the N of a worker's name, or an empty string if it has no GPU of its own."""
    found = _GPU.search(worker)
    return found[1] if found else ""

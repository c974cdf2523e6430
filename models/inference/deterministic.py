"""Convolutions on a GPU that are plain sums of float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import torch


class _PlainSums:
    """The library's switch is the whole process's: who comes first throws it, and who leaves last puts it back."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._before = True

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if not self._inside:
                self._before = torch.backends.cudnn.enabled
                torch.backends.cudnn.enabled = False
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    torch.backends.cudnn.enabled = self._before


plain_sums = _PlainSums()
"""Inside `with plain_sums():` cuDNN is off, in any number of threads. It rounds to TF32's ten bits, and by Winograd's
method it would not sum products but their sums: a kernel's taps and faint noise would be lost, and no sum be exact."""

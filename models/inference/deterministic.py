"""Makes convolutions on a GPU plain sums in float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import torch


class _DeterministicConvs:
    """Turns cuDNN off while any thread is inside. The switch is global: the first sets it, the last resets it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._threads_inside = 0
        self._enabled_before = True

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if not self._threads_inside:
                self._enabled_before = torch.backends.cudnn.enabled
                torch.backends.cudnn.enabled = False
            self._threads_inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._threads_inside -= 1
                if not self._threads_inside:
                    torch.backends.cudnn.enabled = self._enabled_before


deterministic_convs = _DeterministicConvs()
"""`with deterministic_convs():` turns cuDNN off, in any number of threads.

cuDNN rounds to TF32's ten bits, and Winograd's method multiplies sums of pixels rather than pixels. Both would lose a
kernel's small taps and faint noise, and no sum would be exact.
"""

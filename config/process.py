"""A child process that must not outlive its parent, however that dies."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded now: a fork must do as little as it can


def die_with_parent(parent: int, signal_number: signal.Signals = signal.SIGKILL) -> None:
    """From now on the kernel sends this process a signal when the process `parent`, its parent, dies, even by kill -9.

    The kernel watches the thread that started this process, so that must be its parent's main thread. Other systems
    than Linux have no such call; there an orphan lives on until its lease is found lost.
    """
    if _libc is None:
        return
    _libc.prctl(PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:  # it died before it could be watched
        os._exit(1)

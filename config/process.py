"""A child process that dies with its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded on import: a forked process must do little


def die_with_parent(parent: int, signal_number: signal.Signals = signal.SIGKILL) -> None:
    """Lets the kernel send this process a signal when its parent, the process `parent`, dies, even by kill -9.

    The kernel watches the thread that started this process, so that must be the parent's main thread. Systems other
    than Linux have no such call. There an orphan runs until it finds its lease lost.
    """
    if _libc is None:
        return
    _libc.prctl(PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:  # it died before the kernel watched it
        os._exit(1)

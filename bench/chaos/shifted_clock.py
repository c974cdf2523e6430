"""Runs a worker with a wrong clock: a small preloaded library shifts the time that the process reads."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.services.service import STOP_SECONDS, Service

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(clock, now);
    if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += SHIFT;
    return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    if (clock_gettime(CLOCK_REALTIME, &exact)) return -1;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (out) *out = exact.tv_sec;
    return exact.tv_sec;
}
"""


def can_shift_clock() -> bool:
    return sys.platform == "linux" and shutil.which("cc") is not None


def build_clock_library(folder: Path, seconds: int) -> Path:
    """Compiles a library for LD_PRELOAD in `folder`. The clock of a process that loads it is `seconds` ahead."""
    source, library = folder / "clock.c", folder / "clock.so"
    source.write_text(SOURCE)
    command = ["cc", "-shared", "-fPIC", f"-DSHIFT=({seconds})", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return library


@contextmanager
def worker_with_shifted_clock(service: Service, seconds: int) -> Iterator[None]:
    """Runs a second inference worker of the service whose clock is `seconds` ahead. Sends SIGTERM at the end."""
    with tempfile.TemporaryDirectory() as folder:
        library = build_clock_library(Path(folder), seconds)
        with service.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "worker", "warm"],
                env=service.environment | {"LD_PRELOAD": str(library)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

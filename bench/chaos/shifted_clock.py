"""A worker whose clock is wrong: a small library, loaded before all others, answers whoever asks for the time."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.chaos.service import LEAVE_SECONDS, Service

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


def can_be_shifted() -> bool:
    return sys.platform == "linux" and shutil.which("cc") is not None


def clock_library(folder: Path, seconds: int) -> Path:
    """To be named in LD_PRELOAD of a process that shall be so many seconds ahead. Made in `folder`."""
    source, library = folder / "clock.c", folder / "clock.so"
    source.write_text(SOURCE)
    command = ["cc", "-shared", "-fPIC", f"-DSHIFT=({seconds})", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return library


@contextmanager
def worker_with_another_clock(service: Service, seconds: int) -> Iterator[None]:
    """A second warm worker of the service, so many seconds ahead; SIGTERM at the end."""
    with tempfile.TemporaryDirectory() as folder:
        library = clock_library(Path(folder), seconds)
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
                process.wait(LEAVE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

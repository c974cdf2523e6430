"""Worker processes, one or more for each GPU. `patina up` and `patina worker` start and restart them."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Mapping, Sequence
from types import FrameType

import structlog

from config.gpus import list_gpus
from config.settings import Settings
from patina.errors import PatinaError, StartError
from patina.local.child_process import PYTHON, ChildProcess
from patina.local.supervision import TICK, restart_exited, shut_down

ALL = "all"
NO_GPU = ""  # the worker may use what it finds
WARM = "warm"  # as in store.queue, whose import takes a while

log = structlog.get_logger()


def parse_devices(devices: str) -> list[str]:
    """Returns the GPUs that the option `--devices` names: "all", or entries of CUDA_VISIBLE_DEVICES, as in "0,1".

    "all" is one place without a GPU on a computer that has none. Raises `PatinaError` for anything else.
    """
    if devices == ALL:
        return list_gpus() or [NO_GPU]
    names = [name.strip() for name in devices.split(",")]
    wrong = [name for name in names if not re.fullmatch(r"\d+|(GPU|MIG)-[-/\w]+", name)]
    if wrong or len(set(names)) < len(names):
        raise PatinaError(
            f"--devices {devices!r} does not name GPUs. Give {ALL}, or different numbers as `nvidia-smi -L` shows "
            "them: --devices 0,1"
        )
    return names


def list_worker_gpus(settings: Settings) -> list[str]:
    """Returns the places of the workers of `patina up`: each GPU, or one place if PATINA_DEVICE names a device."""
    return parse_devices(ALL) if settings.device in (None, "cuda") else [NO_GPU]


def create_workers(
    settings: Settings, environment: Mapping[str, str], devices: Sequence[str], per_device: int, queue: str = WARM
) -> list[ChildProcess]:
    """Returns `per_device` workers of a queue for each device, not yet started. Each sees its own GPU alone.

    They share the CPU threads, unless PATINA_TORCH_THREADS says how many each has.
    """
    # Threads that spin while they wait make two torch processes on the same cores ten times slower.
    common = {"OMP_WAIT_POLICY": "PASSIVE", **environment}
    count = len(devices) * per_device
    if count > 1:
        common.setdefault("PATINA_TORCH_THREADS", str(max(1, settings.torch_threads // count)))
    workers = list[ChildProcess]()
    for device in devices:
        for number in range(per_device):
            own = {"CUDA_VISIBLE_DEVICES": device} if device else {}
            place = f" gpu {device}" if device else ""
            name = f"worker{place}" + (f" #{number + 1}" if per_device > 1 else "")
            workers.append(ChildProcess(name, [*PYTHON, "-m", "worker", queue], common | own))
    return workers


class WorkerPool:
    """Keeps workers alive until SIGTERM, SIGINT or SIGHUP. They get SIGTERM then, and requeue what they run."""

    def __init__(self, workers: Sequence[ChildProcess], stop_seconds: float) -> None:
        self._workers = list(workers)
        self._stop_seconds = stop_seconds
        self._stop_requests = 0

    def run(self) -> None:
        """Returns when all workers have ended. A second signal kills them, and so does the end of `stop_seconds`."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        try:
            for worker in self._workers:
                worker.start()
            log.info("workers started", workers=[worker.name for worker in self._workers])
            while not self._stop_requests:
                restart_exited(self._workers)
                time.sleep(TICK)
        finally:
            log.info("stopping", hint="workers requeue their jobs; press Ctrl-C again to stop at once")
            requests_before = self._stop_requests
            shut_down(self._workers, self._stop_seconds, lambda: self._stop_requests > requests_before)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop_requests += 1


def run_workers(settings: Settings, queue: str, devices: str, per_device: int) -> None:
    """Runs the workers of a queue on this computer. Raises `PatinaError` if there is no queue to work for."""
    if settings.redis_url is None and not settings.embedded_socket.exists():
        raise StartError(
            f"No service runs on {settings.data_dir}. Start one with `patina up`, which has workers of its own; or set "
            "PATINA_REDIS_URL and PATINA_DATABASE_URL to those of the service to work for."
        )
    workers = create_workers(settings, os.environ, parse_devices(devices), per_device, queue)
    WorkerPool(workers, settings.shutdown_grace_seconds + 5).run()

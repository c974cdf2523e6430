"""`patina worker`: a process for each GPU, with simulated GPUs. CUDA_VISIBLE_DEVICES says which one a process has."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pynvml
import pytest

from config import gpus
from config.settings import Settings
from patina.errors import PatinaError
from patina.local.worker_pool import create_workers, list_worker_gpus, parse_devices
from store.deployment import bind_storage
from store.queue import TRAIN
from store.store import Store
from store.worker_names import create_worker_name, get_gpu
from tests.support.wait_until import wait_until

SECONDS = 60  # for processes to start on a busy computer

sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def pool(store: Store, database_url: str, redis_url: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Train workers, which load no torch and start fast."""
    bind_storage(store.blobs, store.database)
    urls = {"PATINA_DATABASE_URL": database_url, "PATINA_REDIS_URL": redis_url, "PATINA_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "patina", "worker", TRAIN, "--devices", "0,3"]
    process = subprocess.Popen(command, env={**os.environ, **urls})
    yield process
    process.kill()
    process.wait()


def count_by_gpu(store: Store) -> dict[str, int]:
    names = store.queue.workers(TRAIN)
    return {gpu: [get_gpu(name) for name in names].count(gpu) for gpu in sorted(map(get_gpu, names))}


@sqlite_only
def test_each_gpu_has_its_workers_and_they_are_restarted(store: Store, pool: subprocess.Popen[bytes]) -> None:
    assert wait_until(lambda: count_by_gpu(store) == {"0": 1, "3": 1}, SECONDS)
    workers = psutil.Process(pool.pid).children()
    assert sorted(worker.environ()["CUDA_VISIBLE_DEVICES"] for worker in workers) == ["0", "3"]
    before = set(store.queue.workers(TRAIN))
    killed = next(worker for worker in workers if worker.environ()["CUDA_VISIBLE_DEVICES"] == "3")
    killed.kill()
    assert wait_until(lambda: len(set(store.queue.workers(TRAIN)) - before) == 1, SECONDS)
    assert wait_until(lambda: count_by_gpu(store) == {"0": 1, "3": 1}, SECONDS)

    workers = psutil.Process(pool.pid).children()
    pool.send_signal(signal.SIGTERM)
    assert pool.wait(SECONDS) == 0
    assert not any(worker.is_running() for worker in workers)
    assert store.queue.workers(TRAIN) == []


def simulate_gpus(monkeypatch: pytest.MonkeyPatch, count: int | None) -> None:
    """Simulates the driver of a computer with GPUs; None: without a driver."""

    def init() -> None:
        if count is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", init)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: count)


@pytest.mark.parametrize(
    ("count", "visible", "expected"),
    [
        (None, None, []),
        (None, "0,1", []),
        (3, None, ["0", "1", "2"]),
        (3, "2, 0", ["2", "0"]),
        (3, "1,7,2", ["1"]),  # as in CUDA
        (3, "", []),
        (3, "-1", []),
        (1, "MIG-4c1b7a2e-0f", ["MIG-4c1b7a2e-0f"]),
    ],
)
def test_visible_gpus(
    monkeypatch: pytest.MonkeyPatch, count: int | None, visible: str | None, expected: list[str]
) -> None:
    simulate_gpus(monkeypatch, count)
    assert gpus.list_gpus({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}) == expected


def test_workers_of_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each GPU, unless PATINA_DEVICE names a device. They share the threads."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    simulate_gpus(monkeypatch, 2)
    assert list_worker_gpus(Settings()) == ["0", "1"]
    assert list_worker_gpus(Settings(device="cpu")) == [""]
    workers = create_workers(Settings(torch_threads=8), {}, ["0", "1"], 2)
    assert [worker.name for worker in workers] == [
        "worker gpu 0 #1",
        "worker gpu 0 #2",
        "worker gpu 1 #1",
        "worker gpu 1 #2",
    ]
    assert {worker.environment["PATINA_TORCH_THREADS"] for worker in workers} == {"2"}
    simulate_gpus(monkeypatch, None)
    (alone,) = create_workers(Settings(), {}, list_worker_gpus(Settings()), 1)
    assert alone.name == "worker"
    assert "CUDA_VISIBLE_DEVICES" not in alone.environment


@pytest.mark.parametrize("devices", ["", "0,0", "0,", "one", "-1"])
def test_wrong_devices_are_refused(devices: str) -> None:
    with pytest.raises(PatinaError, match="does not name GPUs"):
        parse_devices(devices)


def test_a_worker_without_a_service_says_so(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PATINA_")}
    environment["PATINA_DATA_DIR"] = str(tmp_path)
    command = [sys.executable, "-m", "patina", "worker"]
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "No service runs on" in refused.stderr


def test_names_of_workers_say_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "node-gpu7-a")
    for visible, gpu in (("", ""), ("0,1", ""), ("12", "12"), ("GPU-8f6d2b1c-5a3e", "8f6d2b1c")):
        name = create_worker_name({"CUDA_VISIBLE_DEVICES": visible})
        assert name.startswith("node-gpu7-a-")
        assert get_gpu(name) == gpu

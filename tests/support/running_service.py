"""The whole service as `patina up` runs it. Tests may kill its real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import torch

from config.settings import Settings
from models.checkpoint import save_degradation, save_edsr
from models.degradation import Degradation, DegradationConfig
from models.networks.edsr import EDSR, EDSRConfig
from store.model_files import DEGRADER, SR
from store.store import Store
from tests.support.images import make_photos, read_tar
from tests.support.store_factories import create_model

READY_SECONDS = 60
JOB_SECONDS = 120
LEASE_SECONDS = 3

Found = TypeVar("Found")


@dataclass
class Service:
    http: httpx.Client
    process: subprocess.Popen[bytes]
    settings: Settings
    log: Path

    def create_dataset(self, lr: dict[str, bytes] | None = None, hr: dict[str, bytes] | None = None) -> str:
        dataset = str(self._ok(self.http.post("/datasets", json={"name": "photos", "scale": 4}))["id"])
        for role, files in (("lr", lr), ("hr", hr)):
            if files:
                parts = [("files", (name, data)) for name, data in files.items()]
                self._ok(self.http.post(f"/datasets/{dataset}/images", params={"role": role}, files=parts))
        return dataset

    def create_photo_dataset(self) -> str:
        """Uploads enough small photos for a training."""
        return self.create_dataset(lr=make_photos(3, 48), hr=make_photos(3, 160, seed=10))

    def create_model(self, dataset: str) -> str:
        """Saves small networks with random weights as a model and returns its id."""
        store = Store.open(self.settings)
        degradation, edsr = Degradation(DegradationConfig(4)), EDSR(EDSRConfig(4, width=16, blocks=4))
        generator = torch.Generator().manual_seed(0)
        for parameter in degradation.parameters():  # initialized networks ignore z
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
        with store.blobs.scratch() as folder:
            save_degradation(degradation, folder / DEGRADER)
            save_edsr(edsr, folder / SR)
            files = {name: store.blobs.put_file(folder / name) for name in (DEGRADER, SR)}
        with store.database.write() as session:
            model = create_model(session, dataset, files=files, kernel_origin=degradation.kernel_origin)
        store.close()
        return model.id

    def degrade(self, dataset: str, files: dict[str, bytes], **fields: object) -> str:
        parts = [("files", (name, data)) for name, data in files.items()]
        return str(self._ok(self.http.post(f"/datasets/{dataset}/degrade", files=parts, data=fields))["id"])

    def sr(self, dataset: str, files: dict[str, bytes], **fields: object) -> str:
        parts = [("files", (name, data)) for name, data in files.items()]
        return str(self._ok(self.http.post("/sr", files=parts, data={"dataset": dataset, **fields}))["id"])

    def train(self, dataset: str, **settings: object) -> str:
        return str(self._ok(self.http.post(f"/datasets/{dataset}/train", json=settings))["id"])

    def get_job(self, job_id: str) -> dict[str, Any]:
        return self._ok(self.http.get(f"/jobs/{job_id}"))

    def wait_until_running(self, job_id: str, done: int) -> dict[str, Any]:
        """Returns the job once its progress reaches `done`. The job must not have ended by then."""
        job = self.wait_for_job(job_id, lambda job: job["progress"]["done"] >= done)
        assert job["status"] in ("queued", "running"), "the job ended before the test could disturb it"
        return job

    def wait_until_finished(self, job_id: str) -> dict[str, Any]:
        return self.wait_for_job(job_id, lambda job: job["status"] not in ("queued", "running"))

    def wait_for_job(self, job_id: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        def find() -> dict[str, Any] | None:
            job = self.get_job(job_id)
            return job if condition(job) else None

        return self.wait_until(find)

    def wait_until_logged(self, **fields: object) -> list[dict[str, Any]]:
        return self.wait_until(lambda: self.find_logs(**fields))

    def wait_until(self, find: Callable[[], Found | None]) -> Found:
        """Returns the first result of `find` that is true."""
        deadline = time.monotonic() + JOB_SECONDS
        while not (found := find()):
            assert time.monotonic() < deadline, self.log.read_text()[-5000:]
            time.sleep(0.05)
        return found

    def read_archive(self, job_id: str) -> dict[str, bytes]:
        response = self.http.get(f"/jobs/{job_id}/archive", params={"format": "tar"}).raise_for_status()
        return read_tar(response.content)

    def find_pid(self, *words: str) -> int:
        """Returns the id of the process whose command line has all of these words."""

        def find() -> int | None:
            for process in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    if all(word in process.cmdline() for word in words):
                        return int(process.pid)
            return None

        return self.wait_until(find)

    def kill(self, *words: str) -> int:
        """Sends SIGKILL and returns the id of the killed process."""
        pid = self.find_pid(*words)
        os.kill(pid, signal.SIGKILL)
        return pid

    def find_logs(self, **fields: object) -> list[dict[str, Any]]:
        """Returns the log lines that have these fields."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if fields.items() <= line.items()]

    @staticmethod
    def _ok(response: httpx.Response) -> dict[str, Any]:
        assert response.is_success, response.text
        body: dict[str, Any] = response.json()
        return body


@contextmanager
def running_service(data_dir: Path, **environment: str) -> Iterator[Service]:
    """Runs `patina up` on a free port, yields when it is ready, and sends Ctrl-C at the end."""
    log = data_dir.parent / f"{data_dir.name}.log"
    settings_of_test = {
        "PATINA_DATA_DIR": str(data_dir),
        "PATINA_LEASE_SECONDS": str(LEASE_SECONDS),
        "PATINA_REAP_EVERY_SECONDS": "0.5",
        "PATINA_CHECKPOINT_EVERY_SECONDS": "1",
        "PATINA_LOG_JSON": "true",
        **environment,
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PATINA_")}
    with log.open("ab") as log_file:
        process = subprocess.Popen(
            [sys.executable, "-m", "patina", "up", "--port", "0"],
            env=inherited | settings_of_test,
            stdout=log_file,
            stderr=log_file,
        )
    try:
        url = _wait_until_ready(process, data_dir, log)
        settings = Settings(
            data_dir=data_dir,
            database_url=environment.get("PATINA_DATABASE_URL"),
            redis_url=environment.get("PATINA_REDIS_URL"),
            blobs_url=environment.get("PATINA_BLOBS_URL"),
        )
        with httpx.Client(base_url=url, timeout=60) as http:
            yield Service(http, process, settings, log)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def _wait_until_ready(process: subprocess.Popen[bytes], data_dir: Path, log: Path) -> str:
    """Returns the URL of the service."""
    deadline = time.monotonic() + READY_SECONDS
    pidfile = data_dir / "service.json"
    while time.monotonic() < deadline and process.poll() is None:
        try:
            url = str(json.loads(pidfile.read_text())["url"])
            ready = httpx.get(f"{url}/ready")
            if ready.status_code == 200 and all(ready.json()["workers"].values()):
                return url
        except (OSError, ValueError, httpx.HTTPError):
            pass
        time.sleep(0.1)
    raise AssertionError(f"not ready:\n{log.read_text()[-5000:]}")

"""Clients that use the service in every way at the same time, and the ledger of what it accepted."""

from __future__ import annotations

import io
import random
import threading
import traceback
import uuid
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from bench.chaos.client import Client, Files, JobRequest, make_photos

DAMAGE_CODES = {"stored_image_corrupt", "stored_image_missing"}  # of an image that changed on disk
MAX_RESUBMITS = 5


@dataclass
class AcceptedJob:
    """A job that was accepted with 2xx."""

    request: JobRequest
    job_id: str
    dataset: str
    may_stay_canceled: bool = False
    reported_losses: list[str] = field(default_factory=list)  # codes of inputs that the service reported as lost


@dataclass
class Ledger:
    """Everything that the service accepted from all clients."""

    accepted_jobs: list[AcceptedJob] = field(default_factory=list)
    datasets: dict[str, dict[str, Files]] = field(default_factory=dict)  # by id: the photos of each role
    deleted_datasets: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)  # what a client met that must not happen
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add_job(self, job: AcceptedJob) -> AcceptedJob:
        with self.lock:
            self.accepted_jobs.append(job)
        return job

    def add_dataset(self, dataset: str, role: str | None = None, files: Files | None = None) -> None:
        """Notes that a dataset was created, or that its photos were accepted."""
        with self.lock:
            photos = self.datasets.setdefault(dataset, {})
            if role is not None and files is not None:
                photos[role] = files

    def remove_dataset(self, dataset: str) -> None:
        """Notes that a dataset was deleted on request, and its jobs with it."""
        with self.lock:
            del self.datasets[dataset]
            self.deleted_datasets.append(dataset)
            self.accepted_jobs = [job for job in self.accepted_jobs if job.dataset != dataset]


class SimulatedClient(threading.Thread):
    """Does one random action after another until `stop` is set. The last action is completed."""

    def __init__(self, name: str, client: Client, ledger: Ledger, model: str, trains: bool, seed: str):
        super().__init__(name=name, daemon=True)
        self.stop = threading.Event()
        self._random = random.Random(seed)
        self._client = client
        self._ledger = ledger
        self._model = model
        self._home = ""  # the dataset of most of its jobs
        self._actions: list[Callable[[], None]] = [self._train]
        if not trains:
            self._actions = [self._degrade] * 4 + [self._super_resolve] * 2
            self._actions += [
                self._degrade_photos_of_a_dataset,
                self._upload,
                self._upload_in_parts,
                self._create_and_delete,
            ]
            self._actions += [self._cancel, self._submit_twice]

    def run(self) -> None:
        try:
            self._home = self._create_dataset()
            while not self.stop.is_set():
                self._random.choice(self._actions)()
        except Exception:
            self._ledger.violations.append(f"{self.name}: {traceback.format_exc(limit=-4)}")
        finally:
            self._client.close()

    # Actions

    def _degrade(self) -> None:
        """Submits a few jobs; the later ones wait for the first."""
        for job in [self._submit(self._degrade_request(), self._home) for _ in range(self._random.randint(1, 4))]:
            self._follow(job)

    def _super_resolve(self) -> None:
        photos = make_photos(self._random, self._random.randint(1, 6), (24, 80))
        self._follow(self._submit(JobRequest("sr", photos, {"tile": 32}), self._home))

    def _degrade_photos_of_a_dataset(self) -> None:
        source = self._create_dataset(hr=4)
        request = JobRequest("degrade", {}, {"samples": 6, "seed": self._seed(), "source": source})
        self._follow(self._submit(request, self._home))

    def _train(self) -> None:
        dataset = self._create_dataset(lr=3, hr=3)
        request = JobRequest("train", {}, {"max_steps": self._random.randint(8, 24), "seed": self._seed()})
        self._follow(self._submit(request, dataset))

    def _upload(self) -> None:
        self._create_dataset(lr=self._random.randint(1, 5), hr=self._random.randint(1, 5))

    def _upload_in_parts(self) -> None:
        dataset, files = self._create_dataset(), make_photos(self._random, self._random.randint(2, 6), (136, 180))
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        self._client.upload_in_parts(dataset, "hr", "photos.zip", packed.getvalue())
        self._ledger.add_dataset(dataset, "hr", files)

    def _create_and_delete(self) -> None:
        dataset = self._create_dataset(lr=2, hr=2)
        self._follow(self._submit(self._degrade_request(), dataset))
        self._client.request("DELETE", f"/datasets/{dataset}", accept_after_retry=frozenset({404}))
        self._ledger.remove_dataset(dataset)

    def _cancel(self) -> None:
        photos = make_photos(self._random, 3, (200, 300))
        job = self._submit(JobRequest("degrade", photos, {"samples": 40, "seed": self._seed()}), self._home)
        self._client.json("GET", f"/jobs/{job.job_id}", params={"wait": self._random.choice((0, 2))})
        job.may_stay_canceled = True
        self._client.request("POST", f"/jobs/{job.job_id}/cancel")
        status = self._client.wait_until_finished(job.job_id)["status"]
        if status == "canceled" and self._random.random() < 0.7:
            self._client.request("POST", f"/jobs/{job.job_id}/retry", accept_after_retry=frozenset({409}))
            job.may_stay_canceled = False
        self._follow(job)

    def _submit_twice(self) -> None:
        """Sends a request twice at the same time with one key, as an impatient client does."""
        request, key = self._degrade_request(), str(uuid.uuid4())
        with ThreadPoolExecutor(2) as pool:
            posts = [pool.submit(request.post, self._client, self._home, self._model, key) for _ in range(2)]
            job_ids = {str(post.result().json()["id"]) for post in posts}
        if len(job_ids) > 1:
            self._ledger.violations.append(f"one request with one key created the jobs {job_ids}")
        for job_id in job_ids:
            self._follow(self._ledger.add_job(AcceptedJob(request, job_id, self._home)))

    # What the actions are made of

    def _degrade_request(self) -> JobRequest:
        store = self._random.choice(("files", "shards"))
        fields = {"samples": self._random.randint(2, 24), "seed": self._seed(), "store": store}
        return JobRequest("degrade", make_photos(self._random, self._random.randint(1, 4), (64, 240)), fields)

    def _seed(self) -> int:
        return self._random.getrandbits(40)

    def _create_dataset(self, lr: int = 0, hr: int = 0) -> str:
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        created = self._client.json("POST", "/datasets", json={"name": self.name, "scale": 4}, headers=headers)
        dataset = str(created["id"])
        self._ledger.add_dataset(dataset)
        for role, count, sides in (("lr", lr, (40, 64)), ("hr", hr, (136, 180))):
            if count:
                files = make_photos(self._random, count, sides)
                parts = [("files", (name, data)) for name, data in files.items()]
                self._client.request("POST", f"/datasets/{dataset}/images", params={"role": role}, files=parts)
                self._ledger.add_dataset(dataset, role, files)
        return dataset

    def _submit(self, request: JobRequest, dataset: str) -> AcceptedJob:
        job_id = request.submit(self._client, dataset, self._model)
        return self._ledger.add_job(AcceptedJob(request, job_id, dataset))

    def _follow(self, job: AcceptedJob) -> None:
        """Waits until the job is finished. If it reports lost inputs, sends the request again, as its message says."""
        for _ in range(MAX_RESUBMITS):
            finished = self._client.wait_until_finished(job.job_id)
            codes = lost_images(self._client, finished) if job.request.kind != "train" else []
            if not codes:
                return
            job.reported_losses += codes
            job = self._submit(job.request, job.dataset)
        self._ledger.violations.append(f"job {job.job_id}: inputs were damaged {MAX_RESUBMITS} times")


def lost_images(client: Client, job: dict[str, Any]) -> list[str]:
    """Returns the codes of inputs that the job reports as corrupt or missing."""
    if not job["counts"]["failed"]:
        return []
    results = client.list_all(f"/jobs/{job['id']}/results", limit=1000)
    return [result["code"] for result in results if result["code"] in DAMAGE_CODES]

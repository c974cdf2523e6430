"""Visitors who use the service in every way at once, and note what it has promised each of them."""

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

from bench.chaos.client import Client, Files, Traffic, Work, photos

DAMAGED = {"image_damaged", "image_lost"}  # what a job says of an image that has changed on disk
MOST_REPEATS = 5


@dataclass
class Promise:
    """A job that was accepted with 2xx."""

    work: Work
    job: str
    dataset: str
    may_stay_canceled: bool = False
    told: list[str] = field(default_factory=list)  # what the service itself said that it had lost


@dataclass
class Ledger:
    """All that was promised."""

    promises: list[Promise] = field(default_factory=list)
    datasets: dict[str, dict[str, Files]] = field(default_factory=dict)  # by id: the photos of each role
    deleted: list[str] = field(default_factory=list)  # datasets
    deleted_jobs: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)  # what a visitor met that may not be
    lock: threading.Lock = field(default_factory=threading.Lock)

    def promised(self, promise: Promise) -> Promise:
        with self.lock:
            self.promises.append(promise)
        return promise

    def keep(self, dataset: str, role: str | None = None, files: Files | None = None) -> None:
        """A dataset was made, or photos of it were taken."""
        with self.lock:
            photos_of = self.datasets.setdefault(dataset, {})
            if role is not None and files is not None:
                photos_of[role] = files

    def forget(self, dataset: str) -> None:
        """It was deleted on request."""
        with self.lock:
            del self.datasets[dataset]
            self.deleted.append(dataset)
            self.deleted_jobs += [promise.job for promise in self.promises if promise.dataset == dataset]
            self.promises = [promise for promise in self.promises if promise.dataset != dataset]


class Visitor(threading.Thread):
    """Does one thing after another until `leave` is set; what was begun is seen to its end."""

    def __init__(self, name: str, url: str, traffic: Traffic, ledger: Ledger, model: str, trains: bool, seed: str):
        super().__init__(name=name, daemon=True)
        self.leave = threading.Event()
        self._random = random.Random(seed)
        self._client = Client(url, traffic, seed)
        self._ledger = ledger
        self._model = model
        self._home = ""
        self._stories: list[Callable[[], None]] = [self._train]
        if not trains:
            self._stories = [self._degrade] * 4 + [self._super_resolve] * 2
            self._stories += [
                self._degrade_photos_of_a_dataset,
                self._upload,
                self._upload_in_parts,
                self._make_and_delete,
            ]
            self._stories += [self._cancel, self._twice_at_once]

    def run(self) -> None:
        try:
            self._home = self._dataset()
            while not self.leave.is_set():
                self._random.choice(self._stories)()
        except Exception:
            self._ledger.broken.append(f"{self.name}: {traceback.format_exc(limit=-4)}")
        finally:
            self._client.close()

    # --- what a visitor does ----------------------------------------------------------------------------------------

    def _degrade(self) -> None:
        """A few, of which the later ones wait for the first."""
        for promise in [self._submit(self._degradation(), self._home) for _ in range(self._random.randint(1, 4))]:
            self._follow(promise)

    def _super_resolve(self) -> None:
        work = Work("sr", photos(self._random, self._random.randint(1, 6), (24, 80)), {"tile": 32})
        self._follow(self._submit(work, self._home))

    def _degrade_photos_of_a_dataset(self) -> None:
        source = self._dataset(hr=4)
        work = Work("degrade", {}, {"samples": 6, "seed": self._seed(), "source": source})
        self._follow(self._submit(work, self._home))

    def _train(self) -> None:
        dataset = self._dataset(lr=3, hr=3)
        work = Work("train", {}, {"max_steps": self._random.randint(8, 24), "seed": self._seed()})
        self._follow(self._submit(work, dataset))

    def _upload(self) -> None:
        self._dataset(lr=self._random.randint(1, 5), hr=self._random.randint(1, 5))

    def _upload_in_parts(self) -> None:
        dataset, files = self._dataset(), photos(self._random, self._random.randint(2, 6), (136, 180))
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        self._client.send_in_parts(dataset, "hr", "photos.zip", packed.getvalue())
        self._ledger.keep(dataset, "hr", files)

    def _make_and_delete(self) -> None:
        dataset = self._dataset(lr=2, hr=2)
        self._follow(self._submit(self._degradation(), dataset))
        self._client.ask("DELETE", f"/datasets/{dataset}", or_else=frozenset({404}))
        self._ledger.forget(dataset)

    def _cancel(self) -> None:
        work = Work("degrade", photos(self._random, 3, (200, 300)), {"samples": 40, "seed": self._seed()})
        promise = self._submit(work, self._home)
        self._client.json("GET", f"/jobs/{promise.job}", params={"wait": self._random.choice((0, 2))})
        promise.may_stay_canceled = True
        self._client.ask("POST", f"/jobs/{promise.job}/cancel")
        job = self._client.until_finished(promise.job)
        if job["status"] == "canceled" and self._random.random() < 0.7:
            self._client.ask("POST", f"/jobs/{promise.job}/retry", or_else=frozenset({409}))
            promise.may_stay_canceled = False
        self._follow(promise)

    def _twice_at_once(self) -> None:
        """The same request with the same key, as from a client that lost patience."""
        work, key = self._degradation(), str(uuid.uuid4())
        with ThreadPoolExecutor(2) as pool:
            both = [pool.submit(work.post, self._client, self._home, self._model, key) for _ in range(2)]
            jobs = {str(one.result().json()["id"]) for one in both}
        if len(jobs) > 1:
            self._ledger.broken.append(f"one request with one key made the jobs {jobs}")
        for job in jobs:
            self._follow(self._ledger.promised(Promise(work, job, self._home)))

    # --- with what --------------------------------------------------------------------------------------------------

    def _degradation(self) -> Work:
        fields = {"samples": self._random.randint(2, 24), "seed": self._seed()}
        return Work("degrade", photos(self._random, self._random.randint(1, 4), (64, 240)), fields)

    def _seed(self) -> int:
        return self._random.getrandbits(40)

    def _dataset(self, lr: int = 0, hr: int = 0) -> str:
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        made = self._client.json("POST", "/datasets", json={"name": self.name, "scale": 4}, headers=headers)
        dataset = str(made["id"])
        self._ledger.keep(dataset)
        for role, count, sides in (("lr", lr, (40, 64)), ("hr", hr, (136, 180))):
            if count:
                files = photos(self._random, count, sides)
                parts = [("files", (name, data)) for name, data in files.items()]
                self._client.ask("POST", f"/datasets/{dataset}/images", params={"role": role}, files=parts)
                self._ledger.keep(dataset, role, files)
        return dataset

    def _submit(self, work: Work, dataset: str) -> Promise:
        job = work.submit(self._client, dataset, self._model)
        return self._ledger.promised(Promise(work, job, dataset))

    def _follow(self, promise: Promise) -> None:
        """To its end. What the service says it has lost of what was sent is sent again, as it asks for."""
        for _ in range(MOST_REPEATS):
            job = self._client.until_finished(promise.job)
            codes = lost_images(self._client, job) if promise.work.kind != "train" else []
            if not codes:
                return
            promise.told += codes
            promise = self._submit(promise.work, promise.dataset)
        self._ledger.broken.append(f"job {promise.job}: {MOST_REPEATS} times something of it was damaged")


def lost_images(client: Client, job: dict[str, Any]) -> list[str]:
    """The codes of what was sent and is no longer as it was."""
    if not job["counts"]["failed"]:
        return []
    results = client.pages(f"/jobs/{job['id']}/results", limit=1000)
    return [result["code"] for result in results if result["code"] in DAMAGED]

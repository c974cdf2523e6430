"""HTTP clients that retry every request until it is answered, and the requests that they send."""

from __future__ import annotations

import base64
import hashlib
import io
import random
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from PIL import Image

TIMEOUT_SECONDS = 1500  # a request or job that takes longer counts as lost; more for a long fault injection
TUS = {"Tus-Resumable": "1.0.0"}
STILL_WRITING = frozenset({408, 409, 423})  # the service still writes what arrived before the connection broke
RETRYABLE = {429, 500, 502, 503, 504, 507}  # by definition of the status; 500s are counted separately

Files = dict[str, bytes]


@dataclass(frozen=True)
class JobRequest:
    """A request that creates a job."""

    kind: str  # degrade, sr or train
    files: Files = field(default_factory=dict, repr=False)
    fields: dict[str, Any] = field(default_factory=dict)

    def submit(self, client: Client, dataset: str, model: str | None) -> str:
        """Sends the request and returns the job's id. A training uses the dataset, the other kinds the model."""
        return str(self.post(client, dataset, model, str(uuid.uuid4())).json()["id"])

    def post(self, client: Client, dataset: str, model: str | None, key: str) -> httpx.Response:
        headers = {"Idempotency-Key": key}
        if self.kind == "train":
            return client.request("POST", f"/datasets/{dataset}/train", json=self.fields, headers=headers)
        files = [("files", (name, data)) for name, data in self.files.items()]
        if self.kind == "sr":
            return client.request("POST", "/sr", data={**self.fields, "model": model}, files=files, headers=headers)
        data = {**self.fields, "model": model}
        return client.request("POST", f"/datasets/{dataset}/degrade", data=data, files=files, headers=headers)


@dataclass
class Traffic:
    """The number of requests and their outcomes, of all clients together."""

    requests: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)  # by status code or name of the transport error
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, outcome: str) -> None:
        with self.lock:
            self.requests += 1
            self.outcomes[outcome] += 1


class RequestRejected(Exception):
    """A request was answered with an error that no retry helps against."""


class Client:
    """Retries every request until it is answered, as a careful user's program does."""

    def __init__(self, url: str, traffic: Traffic, seed: str, timeout: float = TIMEOUT_SECONDS):
        self._timeout = timeout
        self._http = httpx.Client(base_url=url, timeout=60, trust_env=False)
        self._traffic = traffic
        self._random = random.Random(seed)

    def request(
        self,
        method: str,
        path: str,
        *,
        accept_after_retry: frozenset[int] = frozenset(),
        maybe_applied: bool = False,
        **request: Any,
    ) -> httpx.Response:
        """Returns the 2xx response.

        `accept_after_retry` are further statuses to accept once an earlier try may have been applied without its
        response arriving. Raises `RequestRejected`, and `TimeoutError` after `timeout` seconds.
        """
        deadline = time.monotonic() + self._timeout
        while time.monotonic() < deadline:
            try:
                response = self._http.request(method, path, **request)
            except httpx.TransportError as error:
                self._traffic.count(type(error).__name__)
                maybe_applied = True
            else:
                self._traffic.count(str(response.status_code))
                if response.is_success or (maybe_applied and response.status_code in accept_after_retry):
                    return response
                if response.status_code not in RETRYABLE and "storage_full" not in response.text:
                    raise RequestRejected(f"{method} {path}: {response.status_code} {response.text[:300]}")
                maybe_applied = maybe_applied or response.status_code >= 500
            time.sleep(self._random.uniform(0.2, 1.0))
        raise TimeoutError(f"{method} {path} was not answered in {self._timeout:.0f} s")

    def download_once(self, path: str, **parameters: str) -> bytes:
        """Downloads without a retry. Raises httpx.TransportError if the download is cut off."""
        return self._http.get(path, params=parameters).raise_for_status().content

    def json(self, method: str, path: str, **request: Any) -> Any:
        return self.request(method, path, **request).json()

    def wait_until_finished(self, job_id: str) -> dict[str, Any]:
        deadline = time.monotonic() + self._timeout
        while True:
            job: dict[str, Any] = self.json("GET", f"/jobs/{job_id}", params={"wait": 2})
            if job["status"] not in ("queued", "running"):
                return job
            if time.monotonic() > deadline:
                raise TimeoutError(f"job not finished after {self._timeout:.0f} s: {job}")

    def list_all(self, path: str, **parameters: Any) -> list[dict[str, Any]]:
        """Returns the items of all pages."""
        items, cursor = list[dict[str, Any]](), None
        while True:
            page = self.json("GET", path, params=parameters | ({"cursor": cursor} if cursor else {}))
            items += page["items"]
            if (cursor := page["next"]) is None:
                return items

    def upload_in_parts(self, dataset: str, role: str, name: str, data: bytes) -> None:
        """Uploads through the tus protocol. Raises `RuntimeError` if the service loses acknowledged bytes."""
        metadata = f"filename {base64.b64encode(name.encode()).decode()}"
        headers = TUS | {"Upload-Length": str(len(data)), "Upload-Metadata": metadata}
        path = f"/datasets/{dataset}/uploads"
        upload = self.request("POST", path, params={"role": role}, headers=headers).headers["location"]
        acknowledged = 0
        while (offset := int(self.request("HEAD", upload, headers=TUS).headers["upload-offset"])) < len(data):
            if offset < acknowledged:
                raise RuntimeError(f"{upload} had {acknowledged} bytes and has {offset}")
            acknowledged = offset
            part = data[offset : offset + self._random.randint(1, len(data))]
            headers = TUS | {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
            self.request(
                "PATCH", upload, accept_after_retry=STILL_WRITING, maybe_applied=True, content=part, headers=headers
            )

    def close(self) -> None:
        self._http.close()


def make_photos(number: random.Random, count: int, sides: tuple[int, int]) -> Files:
    """Returns PNG files, different in every call: random squares with noise, so that all scales have content."""
    rng = np.random.default_rng(number.getrandbits(64))
    files = {}
    for index in range(count):
        height, width = (int(side) for side in rng.integers(sides[0], sides[1] + 1, 2))
        coarse = rng.integers(0, 256, (-(-height // 8), -(-width // 8), 3))
        pixels = np.kron(coarse, np.ones((8, 8, 1)))[:height, :width] + rng.normal(0, 8, (height, width, 3))
        buffer = io.BytesIO()
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(buffer, "PNG", compress_level=1)
        files[f"{index}.png"] = buffer.getvalue()
    return files


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

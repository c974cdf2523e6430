"""What clients ask for, with all that asking for it again takes; and how they keep asking until there is an answer."""

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

PATIENCE_SECONDS = 1500  # longer than the storm: what is not answered, or does not end, by then counts as lost
TUS = {"Tus-Resumable": "1.0.0"}
GONE_ON_MEANWHILE = frozenset({408, 409, 423})  # what of a part had come before its connection broke is still written
AGAIN_LATER = {429, 500, 502, 503, 504, 507}  # by their definition the client may repeat; 500 is counted apart

Files = dict[str, bytes]


@dataclass(frozen=True)
class Work:
    """A request for a job."""

    kind: str  # degrade, sr or train
    files: Files = field(default_factory=dict, repr=False)
    fields: dict[str, Any] = field(default_factory=dict)

    def submit(self, client: Client, dataset: str, model: str | None) -> str:
        """The job's id. `dataset`: whose photos or model are used."""
        return str(self.post(client, dataset, model, str(uuid.uuid4())).json()["id"])

    def post(self, client: Client, dataset: str, model: str | None, key: str) -> httpx.Response:
        headers = {"Idempotency-Key": key}
        if self.kind == "train":
            return client.ask("POST", f"/datasets/{dataset}/train", json=self.fields, headers=headers)
        files = [("files", (name, data)) for name, data in self.files.items()]
        if self.kind == "sr":
            return client.ask("POST", "/sr", data={**self.fields, "model": model}, files=files, headers=headers)
        data = {**self.fields, "model": model}
        return client.ask("POST", f"/datasets/{dataset}/degrade", data=data, files=files, headers=headers)


@dataclass
class Traffic:
    """What was sent and how it was answered, by all clients together."""

    sent: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, answer: str) -> None:
        with self.lock:
            self.sent += 1
            self.answers[answer] += 1


class RefusedError(Exception):
    """A request was answered with an error that no repeating mends."""


class Client:
    """Repeats every request until it is answered, as a careful user's program does."""

    def __init__(self, url: str, traffic: Traffic, seed: str):
        self._http = httpx.Client(base_url=url, timeout=60, trust_env=False)
        self._traffic = traffic
        self._random = random.Random(seed)

    def ask(
        self, method: str, path: str, *, or_else: frozenset[int] = frozenset(), unsure: bool = False, **request: Any
    ) -> httpx.Response:
        """The answer, 2xx; or one of `or_else`, which counts only where an earlier answer may have been lost: `unsure`.

        Raises `RefusedError`, and `TimeoutError` where there is none in a long time.
        """
        give_up = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < give_up:
            try:
                answer = self._http.request(method, path, **request)
            except httpx.TransportError as error:
                self._traffic.count(type(error).__name__)
                unsure = True
            else:
                self._traffic.count(str(answer.status_code))
                if answer.is_success or (unsure and answer.status_code in or_else):
                    return answer
                if answer.status_code not in AGAIN_LATER and "storage_full" not in answer.text:
                    raise RefusedError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
                unsure = unsure or answer.status_code >= 500
            time.sleep(self._random.uniform(0.2, 1.0))
        raise TimeoutError(f"{method} {path} was not answered in {PATIENCE_SECONDS} s")

    def once(self, path: str, **parameters: str) -> bytes:
        """The whole of a download, asked for once. Raises httpx.TransportError where it breaks off."""
        return self._http.get(path, params=parameters).raise_for_status().content

    def json(self, method: str, path: str, **request: Any) -> Any:
        return self.ask(method, path, **request).json()

    def until_finished(self, job: str) -> dict[str, Any]:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while True:
            answer: dict[str, Any] = self.json("GET", f"/jobs/{job}", params={"wait": 2})
            if answer["status"] not in ("queued", "running"):
                return answer
            if time.monotonic() > give_up:
                raise TimeoutError(f"{answer} has not ended")

    def pages(self, path: str, **parameters: Any) -> list[dict[str, Any]]:
        items, cursor = list[dict[str, Any]](), None
        while True:
            page = self.json("GET", path, params=parameters | ({"cursor": cursor} if cursor else {}))
            items += page["items"]
            if (cursor := page["next"]) is None:
                return items

    def send_in_parts(self, dataset: str, role: str, name: str, data: bytes) -> None:
        """By the protocol tus. Raises `RuntimeError` where bytes that were said to be kept are asked for again."""
        named = f"filename {base64.b64encode(name.encode()).decode()}"
        headers = TUS | {"Upload-Length": str(len(data)), "Upload-Metadata": named}
        path = f"/datasets/{dataset}/uploads"
        upload = self.ask("POST", path, params={"role": role}, headers=headers).headers["location"]
        kept = 0
        while (at := int(self.ask("HEAD", upload, headers=TUS).headers["upload-offset"])) < len(data):
            if at < kept:
                raise RuntimeError(f"{upload} had {kept} bytes and has {at}")
            kept = at
            part = data[at : at + self._random.randint(1, len(data))]
            headers = TUS | {"Upload-Offset": str(at), "Content-Type": "application/offset+octet-stream"}
            self.ask("PATCH", upload, or_else=GONE_ON_MEANWHILE, unsure=True, content=part, headers=headers)

    def close(self) -> None:
        self._http.close()


def photos(number: random.Random, count: int, sides: tuple[int, int]) -> Files:
    """PNG files that no other call gives: noise in squares, so that there is something to see at every scale."""
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

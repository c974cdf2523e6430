"""The service's calls, typed, for Python.

with Client("http://127.0.0.1:8000") as patina:
    dataset = patina.create_dataset("my camera", scale=4)
    patina.upload(dataset.id, "lr", [Path("photos-of-my-camera")])
    patina.upload(dataset.id, "hr", [Path("clean-photos")])
    patina.wait(patina.train(dataset.id, max_minutes=30))
    job = patina.wait(patina.degrade([Path("clean-photos")], dataset=dataset.id, samples=4))
    triplets = patina.download(job.id, Path("triplets"))
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel

from patina.answers import Dataset, Job, Model, RejectedFile, Report, Upload
from patina.archive import Manifest, unpack
from patina.errors import JobError, LostServiceError, ServiceError
from patina.photo_files import LazyFile, batches, photo_files

Answer = TypeVar("Answer", bound=BaseModel)
OnUpload = Callable[[int, int], None]  # (files sent, files in all)
OnJob = Callable[[Job], None]

WAIT_SECONDS = 20  # one long poll
PATIENCE_SECONDS = 60.0  # for a service that is being started again while a job is waited for
LIST_LIMIT = 100


class Client:
    def __init__(self, url: str, *, timeout: float = 120) -> None:
        self.url = url.rstrip("/")
        # A proxy that the environment names leads away from this computer.
        here = httpx.URL(self.url).host in ("localhost", "127.0.0.1", "::1")
        self._http = httpx.Client(base_url=self.url, timeout=timeout, trust_env=not here)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # Datasets

    def create_dataset(self, name: str, scale: int) -> Dataset:
        return self._ask(Dataset, "POST", "/datasets", json={"name": name, "scale": scale})

    def datasets(self) -> Iterator[Dataset]:
        return self._pages(Dataset, "/datasets")

    def delete_dataset(self, dataset: str) -> None:
        self._send("DELETE", f"/datasets/{dataset}")

    def upload(
        self, dataset: str, role: str, paths: Iterable[Path], on_progress: OnUpload | None = None
    ) -> list[RejectedFile]:
        """Adds photos, folders of photos and archives; gives those that the service refused, with its reasons."""
        files = photo_files(paths)
        sent, rejected = 0, list[RejectedFile]()
        for batch in batches(files):
            answer = self._ask(
                Upload, "POST", f"/datasets/{dataset}/images", params={"role": role}, files=_as_parts(batch)
            )
            rejected += answer.rejected
            sent += len(batch)
            if on_progress:
                on_progress(sent, len(files))
        return rejected

    # Work

    def train(self, dataset: str, **settings: Any) -> Job:
        """`settings` as in the API: preset, max_steps, max_minutes, seed; what is None is left to the service."""
        return self._ask(Job, "POST", f"/datasets/{dataset}/train", json=_given(settings))

    def degrade(
        self,
        paths: Iterable[Path] = (),
        *,
        dataset: str,
        model: str | None = None,
        source: str | None = None,
        samples: int = 1,
        seed: int | None = None,
        on_progress: OnUpload | None = None,
    ) -> Job:
        """Triplets of the photos at `paths`, or of the clean photos of the dataset `source`."""
        fields = _given({"samples": samples, "seed": seed, "model": model, "source": source})
        files = _as_parts(photo_files(paths), on_progress) if source is None else None
        return self._ask(Job, "POST", f"/datasets/{dataset}/degrade", data=fields, files=files)

    def sr(
        self,
        paths: Iterable[Path],
        *,
        dataset: str | None = None,
        model: str | None = None,
        on_progress: OnUpload | None = None,
    ) -> Job:
        fields = _given({"dataset": dataset, "model": model})
        return self._ask(Job, "POST", "/sr", data=fields, files=_as_parts(photo_files(paths), on_progress))

    # Jobs and what they made

    def jobs(self) -> Iterator[Job]:
        """The newest first."""
        return self._pages(Job, "/jobs")

    def job(self, job: str, wait: float = 0) -> Job:
        return self._ask(Job, "GET", f"/jobs/{job}", params={"wait": wait} if wait else None)

    def cancel(self, job: str) -> Job:
        return self._ask(Job, "POST", f"/jobs/{job}/cancel")

    def retry(self, job: str) -> Job:
        return self._ask(Job, "POST", f"/jobs/{job}/retry")

    def wait(self, job: Job, on_progress: OnJob | None = None) -> Job:
        """Until the job has ended. Raises `JobError` unless it succeeded, `LostServiceError` if nobody answers."""
        told = on_progress or (lambda _: None)
        told(job)
        answered = time.monotonic()
        while job.unfinished:
            try:
                job = self.job(job.id, wait=WAIT_SECONDS)
            except LostServiceError:
                if time.monotonic() - answered > WAIT_SECONDS + PATIENCE_SECONDS:
                    raise
                time.sleep(1)
            else:
                answered = time.monotonic()
                told(job)
        if job.status != "succeeded":
            raise JobError(_why(job), job.id, job.status)
        return job

    def download(self, job: str, folder: Path, on_file: Callable[[str], None] | None = None) -> list[Manifest]:
        """Unpacks what a job made into `folder` while it comes; gives the lines of its manifest."""
        with (
            self._translated(),
            self._http.stream("GET", f"/jobs/{job}/archive", params={"format": "tar"}) as answer,
        ):
            if not answer.is_success:
                answer.read()
                raise _problem(answer)
            return unpack(answer.iter_bytes(), folder, on_file)

    def models(self) -> Iterator[Model]:
        """The newest first."""
        return self._pages(Model, "/models")

    def report(self, model: str) -> Report:
        """How good a model is, in figures and in words. `ServiceError` where it has no report."""
        return self._ask(Report, "GET", f"/models/{model}/report")

    def report_json(self, model: str) -> str:
        """The whole report, as the service tells it."""
        return self._send("GET", f"/models/{model}/report").text

    # How it is said

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        with self._translated():
            answer = self._http.request(method, path, **request)
        if not answer.is_success:
            raise _problem(answer)
        return answer

    def _ask(self, kind: type[Answer], method: str, path: str, **request: Any) -> Answer:
        return kind.model_validate_json(self._send(method, path, **request).content)

    def _pages(self, kind: type[Answer], path: str) -> Iterator[Answer]:
        cursor: str | None = None
        while True:
            parameters = _given({"limit": LIST_LIMIT, "cursor": cursor})
            page = self._send("GET", path, params=parameters).json()
            for item in page["items"]:
                yield kind.model_validate(item)
            cursor = page["next"]
            if cursor is None:
                return

    def _translated(self) -> _Translated:
        return _Translated(self.url)


class _Translated:
    """Inside it, a broken or missing connection is a `LostServiceError`."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            raise LostServiceError(f"Nothing answers at {self._url}. Start the service with: patina up") from error
        if isinstance(error, httpx.TransportError):
            raise LostServiceError(f"The connection to {self._url} broke: {error or type(error).__name__}") from error


def _problem(answer: httpx.Response) -> ServiceError:
    """The service's own words, if it has any."""
    try:
        details = answer.json()
        return ServiceError(answer.status_code, details["code"], details["detail"])
    except (ValueError, KeyError, TypeError):
        words = f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.reason_phrase}"
        return ServiceError(answer.status_code, "not_patina", f"{words}. Is that a Patina service?")


def _why(job: Job) -> str:
    if job.status == "canceled":
        return f"The {job.kind} job {job.id} was canceled."
    reason = (job.error or {}).get("message", "the service gives no reason")
    return f"The {job.kind} job {job.id} failed: {reason}"


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _as_parts(
    files: Sequence[tuple[str, Path]], on_progress: OnUpload | None = None
) -> list[tuple[str, tuple[str, LazyFile]]]:
    sent = count(1)

    def on_sent() -> None:
        if on_progress:
            on_progress(next(sent), len(files))

    return [("files", (name, LazyFile(path, on_sent))) for name, path in files]

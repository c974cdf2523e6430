# Generated from patina/client/_async/jobs.py by scripts/unasync.py; do not edit.
"""Jobs: wait for them, follow them, and download their results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from patina.archive import ManifestLine, extract, is_complete, write_verified
from patina.client._sync.concurrency import run_blocking, sleep
from patina.client._sync.connection import PATIENCE_SECONDS, Connection
from patina.client._sync.inputs import submit_photos
from patina.client._sync.resources import Record, Resource
from patina.client.http import drop_none
from patina.client.progress import OnUpload, progress_callback
from patina.errors import JobError, ServiceUnavailableError
from patina.schemas import GALLERY_FILES, Event, FileWarning, JobFailure, Progress, Result, ResultShard

OnJob = Callable[["Job"], None]
OnFile = Callable[[str], None]

UNFINISHED = ("queued", "running")
WAIT_SECONDS = 20  # of one long poll


class Job(Record):
    """A job. Its fields are those of the last request; `refresh`, `wait` and `events` update them."""

    id: str
    kind: str
    status: str
    progress: Progress
    dataset: str | None = None
    model: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    attempt: int
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None
    error: JobFailure | None = None
    priority: int = 0  # of the request
    ended_early: bool = False  # a training that `finish` ended, and that `resume` can continue
    counts: dict[str, int] = Field(default_factory=dict)
    warnings: list[FileWarning] = Field(default_factory=list)  # about its files, when it was submitted

    @property
    def unfinished(self) -> bool:
        return self.status in UNFINISHED

    def refresh(self) -> Job:
        return self._update_from(self._connection.request("GET", f"/jobs/{self.id}"))

    def cancel(self) -> Job:
        """Cancels the job. A running job stops within seconds and keeps its finished results."""
        return self._update_from(self._connection.request("POST", f"/jobs/{self.id}/cancel"))

    def retry(self) -> Job:
        """Queues a failed or canceled job again. It continues where it stopped."""
        return self._update_from(self._connection.request("POST", f"/jobs/{self.id}/retry"))

    def finish(self) -> Job:
        """Ends a training now and keeps what it has learned: `wait`, then it has a model."""
        return self._update_from(self._connection.request("POST", f"/jobs/{self.id}/finish"))

    def resume(self) -> Job:
        """Continues a training that `finish` ended, as a new job with a model of its own."""
        response = self._connection.post_once(f"/jobs/{self.id}/continue", dict)
        return Job.from_response(response, self._connection)

    def delete_results(self) -> None:
        """Deletes the files of a job that has ended, before they would expire. A training keeps its model."""
        self._connection.request("DELETE", f"/jobs/{self.id}/results")

    def history(self, limit: int | None = None) -> list[Event]:
        """Lists its events so far: log lines, a training's metrics, and updates of its preview."""
        return self._connection.list_all(Event, f"/jobs/{self.id}/history", limit)

    def events(self) -> Iterator[Event]:
        """Yields its past events, then new ones until it ends. Updates the job's fields.

        Reconnects if the connection breaks. Raises `ServiceUnavailableError` if the service stays away for a minute.
        """
        with closing(self._connection.follow_events(f"/jobs/{self.id}/events")) as stream:
            for kind, data in stream:
                if kind == "job":
                    self._update(type(self).model_validate(data))
                else:
                    yield Event.model_validate({"kind": kind, **data})

    def preview(self, folder: str | Path) -> list[Path]:
        """Downloads what a training generates so far: gallery.json, patches.png and examples.png. Returns the paths."""
        targets = [Path(folder) / name for name in GALLERY_FILES]
        for target in targets:
            self._connection.download(f"/jobs/{self.id}/preview/{target.name}", target)
        return targets

    def results(self, limit: int | None = None) -> list[Result]:
        """Lists the finished samples, including failed ones."""
        return self._connection.list_all(Result, f"/jobs/{self.id}/results", limit)

    def fetch(self, result: Result, kind: str, file: str | Path) -> Path:
        """Downloads one file of one sample: its `lr`, `kernel`, `noise` or `sr`. `download` fetches all samples."""
        self._connection.download(self._connection.to_path(result.links[kind]), Path(file))
        return Path(file)

    def wait(self, progress: bool | OnJob = False) -> Job:
        """Waits until the job ends. `progress` shows it on standard error, or is called whenever the job changes.

        Raises `JobError` unless it succeeded, `ServiceUnavailableError` if the service stays away.
        """
        with progress_callback(progress, self.kind.capitalize(), lambda tracker: tracker.show_job) as on_progress:
            on_progress(self)
            last_response = time.monotonic()
            while self.unfinished:
                try:
                    self._update_from(
                        self._connection.request("GET", f"/jobs/{self.id}", params={"wait": WAIT_SECONDS})
                    )
                except ServiceUnavailableError:
                    if time.monotonic() - last_response > WAIT_SECONDS + PATIENCE_SECONDS:
                        raise
                    sleep(1)
                else:
                    last_response = time.monotonic()
                    on_progress(self)
        if self.status != "succeeded":
            raise JobError(self._describe_end(), self.id, self.status)
        return self

    def download(
        self,
        folder: str | Path,
        *,
        hr: bool = False,
        leave_out: Sequence[str] = (),
        split: str | None = None,
        validation: float | None = None,
        on_file: OnFile | None = None,
    ) -> list[ManifestLine]:
        """Extracts the job's archive into `folder` while it arrives. Returns the lines of its manifest.

        `hr` adds the clean images, cropped to match the low-resolution ones. `leave_out` is any of "kernel" and
        "noise". `split` selects "train" or "validation". `validation` is the fraction of images in the validation
        split, unless the job has its own. `on_file` is called with the name of each file.
        """
        params = drop_none(
            {
                "format": "tar",
                "hr": hr or None,
                "leave_out": list(leave_out) or None,
                "split": split,
                "validation": validation,
            }
        )
        consumer = partial(extract, folder=Path(folder), on_file=on_file)
        return self._connection.consume(f"/jobs/{self.id}/archive", consumer, params=params)

    def shards(self, limit: int | None = None) -> list[ResultShard]:
        """Lists the tars of a job with `store="shards"`, while it runs those that are finished."""
        return self._connection.list_all(ResultShard, f"/jobs/{self.id}/shards", limit)

    def download_shards(self, folder: str | Path, *, on_file: OnFile | None = None) -> list[Path]:
        """Downloads the tars of a job with `store="shards"` as shard-000000.tar and so on. Returns their paths.

        Those that are in the folder already are only checked, so the same call resumes an interrupted download.
        `on_file` is called with the name of each tar.
        """
        paths: list[Path] = []
        for shard in self.shards():
            target = Path(folder) / f"shard-{shard.number:06}.tar"
            if not run_blocking(partial(is_complete, target, shard.size, shard.sha256)):
                consumer = partial(write_verified, target=target, sha256=shard.sha256)
                self._connection.consume(f"/jobs/{self.id}/shards/{shard.number}", consumer)
            paths.append(target)
            if on_file:
                on_file(target.name)
        return paths

    def export(
        self,
        folder: str | Path,
        format: str = "basicsr",
        *,
        validation: float | None = None,
        shard_size: int = 1000,
        on_pair: Callable[[int], None] = lambda _: None,
    ) -> dict[str | None, int]:
        """Writes pairs of clean and low-resolution images in a format for training frameworks; see docs/formats.md.

        `format` is basicsr, lmdb, parquet, webdataset, zip or tar. `validation` is the fraction of images in the
        validation split. `shard_size` is the number of samples in a parquet or webdataset file. `on_pair` is called
        with the number of pairs written. Returns the number of pairs of each split, under None if there is no split.
        """
        from patina.client._sync.export import export_job  # noqa: PLC0415 - most programs export nothing

        return export_job(
            self._connection,
            self.model_dump(),
            Path(folder),
            format,
            validation=validation,
            shard_size=shard_size,
            on_pair=on_pair,
        )

    def _describe_end(self) -> str:
        if self.status == "canceled":
            return f"The {self.kind} job {self.id} was canceled."
        reason = self.error.message if self.error else "the service gives no reason"
        return f"The {self.kind} job {self.id} failed: {reason}"


class Jobs(Resource):
    def get(self, job: str) -> Job:
        return self._get(Job, f"/jobs/{job}")

    def changes(self) -> Iterator[Job]:
        """Yields each job that changes from now on. It has no end."""
        with closing(self._connection.follow_events("/jobs/events")) as stream:
            for _, data in stream:
                yield Job.model_validate(data).bind(self._connection)

    def list(
        self,
        limit: int | None = None,
        *,
        kind: str | None = None,
        status: str | None = None,
        dataset: str | None = None,
    ) -> list[Job]:
        """Lists jobs, newest first."""
        return self._list(Job, "/jobs", limit, kind=kind, status=status, dataset=dataset)


def super_resolve(connection: Connection, paths: Sequence[str | Path], progress: bool | OnUpload, **fields: Any) -> Job:
    """Submits photos for super-resolution. `fields` are those of the API; None means its default."""
    response = submit_photos(connection, "/sr", paths, drop_none(fields), progress)
    return Job.from_response(response, connection)

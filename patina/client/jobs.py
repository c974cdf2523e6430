"""Jobs: waiting for them, and fetching what they made."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field
from rich.console import Console

from patina.client.archive import Manifest, unpack, write_answer
from patina.client.events import PATIENCE_SECONDS, Events, event_of
from patina.client.flow import Ask, Bound, Flavour, Flow, Pause, Receive, flow, stream
from patina.client.http import Answer, Noun, asked, bound, given, listed, made, paged
from patina.client.photo_files import photo_files
from patina.client.progress import tracking
from patina.client.schemas import SHOWN, Event, JobFailure, Progress, Result
from patina.client.uploads import OnUpload, as_parts, told_to
from patina.errors import JobError, LostServiceError

OnJob = Callable[["Job[Any]"], None]
OnFile = Callable[[str], None]

UNFINISHED = ("queued", "running")
WAIT_SECONDS = 20  # one long poll


class Job(Answer[Flavour]):
    """A piece of work. What is known of it is as it was when it was last asked for: see `refresh` and `wait`."""

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
    ended_early: bool = False  # of a training: `finish` ended it, and `go_on` can take it up
    counts: dict[str, int] = Field(default_factory=dict)

    @property
    def unfinished(self) -> bool:
        return self.status in UNFINISHED

    @flow
    def refresh(self) -> Flow[Job[Flavour]]:
        return (yield from self._told("GET", f"/jobs/{self.id}"))

    @flow
    def cancel(self) -> Flow[Job[Flavour]]:
        """A running job stops within seconds; what it has finished stays."""
        return (yield from self._told("POST", f"/jobs/{self.id}/cancel"))

    @flow
    def retry(self) -> Flow[Job[Flavour]]:
        """Takes a failed or canceled job up where it stopped."""
        return (yield from self._told("POST", f"/jobs/{self.id}/retry"))

    @flow
    def finish(self) -> Flow[Job[Flavour]]:
        """Ends a training now and keeps what it has learned: `wait`, and it has a model."""
        return (yield from self._told("POST", f"/jobs/{self.id}/finish"))

    @flow
    def go_on(self) -> Flow[Job[Flavour]]:
        """Trains on where `finish` ended it: a new job, with a model of its own."""
        return (yield from made(self, Job, f"/jobs/{self.id}/continue", dict))

    @flow
    def history(self, limit: int | None = None) -> Flow[list[Event]]:
        """What has happened in it so far: log lines, a training's metrics, and when its preview was renewed."""
        return (yield from paged(Event, f"/jobs/{self.id}/history", limit))

    @stream
    def events(self) -> Events[Event]:
        """What has happened in it and then, as it happens, what does, until it has ended.

        Goes on by itself where the connection breaks; the job is kept up to date meanwhile.
        """

        def understand(kind: str, data: dict[str, Any]) -> Event | None:
            if kind == "job":
                self._become(type(self).model_validate(data))
                return None
            return event_of(kind, data)

        return Events(f"/jobs/{self.id}/events", understand)

    @flow
    def preview(self, folder: str | Path) -> Flow[list[Path]]:
        """Writes what a training makes by now into `folder`: gallery.json, patches.png and examples.png."""
        targets = [Path(folder) / name for name in SHOWN]
        for target in targets:
            yield Receive(Ask("GET", f"/jobs/{self.id}/preview/{target.name}"), partial(write_answer, target))
        return targets

    @flow
    def results(self, limit: int | None = None) -> Flow[list[Result]]:
        """The samples that are done so far, failed ones too."""
        return (yield from paged(Result, f"/jobs/{self.id}/results", limit))

    @flow
    def fetch(self, result: Result, what: str, file: str | Path) -> Flow[Path]:
        """Writes one file of one sample: its `lr`, `kernel` or `noise`, or its `sr`. `download` fetches all of all."""
        yield Receive(Ask("GET", result.links[what]), partial(write_answer, Path(file)))
        return Path(file)

    @flow
    def wait(self, progress: bool | OnJob = False) -> Flow[Job[Flavour]]:
        """Until it has ended. Raises `JobError` unless it succeeded, `LostServiceError` if nobody answers.

        `progress` shows it on standard error, or tells a function of your own whenever it changes.
        """
        with _told_to(progress, self.kind.capitalize()) as tell:
            tell(self)
            answered = time.monotonic()
            while self.unfinished:
                try:
                    yield from self._told("GET", f"/jobs/{self.id}", params={"wait": WAIT_SECONDS})
                except LostServiceError:
                    if time.monotonic() - answered > WAIT_SECONDS + PATIENCE_SECONDS:
                        raise
                    yield Pause(1)
                else:
                    answered = time.monotonic()
                    tell(self)
        if self.status != "succeeded":
            raise JobError(self._ending(), self.id, self.status)
        return self

    @flow
    def download(
        self,
        folder: str | Path,
        *,
        hr: bool = False,
        leave_out: Sequence[str] = (),
        split: str | None = None,
        validation: float | None = None,
        on_file: OnFile | None = None,
    ) -> Flow[list[Manifest]]:
        """Unpacks what it made into `folder` while it comes; gives the lines of its manifest.

        `hr` adds the clean images that the low-resolution ones were made of, cut to fit; `leave_out` is of "kernel" and
        "noise"; `split` is "train" or "validation", for one side of it, with `validation` the fraction that is set
        apart, unless the job was asked for with one.
        """
        parameters = given(
            {
                "format": "tar",
                "hr": hr or None,
                "leave_out": list(leave_out) or None,
                "split": split,
                "validation": validation,
            }
        )
        request = Ask("GET", f"/jobs/{self.id}/archive", {"params": parameters})
        lines: list[Manifest] = yield Receive(request, lambda answer: unpack(answer.pieces, Path(folder), on_file))
        return lines

    @flow
    def export(
        self,
        folder: str | Path,
        form: str = "basicsr",
        *,
        validation: float | None = None,
        shard_size: int = 1000,
        on_pair: Callable[[int], None] = lambda _: None,
    ) -> Flow[dict[str | None, int]]:
        """Writes pairs of clean and low-resolution images as a trainer reads them; see docs/formats.md.

        `form` is basicsr, lmdb, parquet, webdataset, zip or tar; `validation` the fraction of images that is set apart;
        `shard_size` the samples in a file of parquet or webdataset. `on_pair` hears how many are written. Gives the
        number of pairs on each side of the split, or under None where there is no split.
        """
        from patina.export.job import export  # noqa: PLC0415 - most programs export nothing

        return (
            yield from export(
                self.model_dump(), Path(folder), form, validation=validation, shard_size=shard_size, tell=on_pair
            )
        )

    def _told(self, method: str, path: str, **request: Any) -> Flow[Job[Flavour]]:
        answer = yield Ask(method, path, request)
        self._become(type(self).model_validate_json(answer.content))
        return self

    def _ending(self) -> str:
        if self.status == "canceled":
            return f"The {self.kind} job {self.id} was canceled."
        reason = self.error.message if self.error else "the service gives no reason"
        return f"The {self.kind} job {self.id} failed: {reason}"


class Jobs(Noun[Flavour]):
    @flow
    def get(self, job: str) -> Flow[Job[Flavour]]:
        return (yield from asked(self, Job, "GET", f"/jobs/{job}"))

    @flow
    def list(
        self,
        limit: int | None = None,
        *,
        kind: str | None = None,
        status: str | None = None,
        dataset: str | None = None,
    ) -> Flow[list[Job[Flavour]]]:
        """The newest first."""
        return (yield from listed(self, Job, "/jobs", limit, kind=kind, status=status, dataset=dataset))

    @stream
    def changes(self) -> Events[Job[Flavour]]:
        """Each job that changes from now on, as it is then; without end."""
        return Events("/jobs/events", lambda _, data: bound(self, Job.model_validate(data)))


def super_resolve(
    by: Bound[Any], paths: Sequence[str | Path], progress: bool | OnUpload, /, **fields: Any
) -> Flow[Job[Any]]:
    with told_to(progress, "Photos") as tell:
        files = photo_files(map(Path, paths))
        return (yield from made(by, Job, "/sr", lambda: {"data": given(fields), "files": as_parts(files, tell)}))


@contextmanager
def _told_to(progress: bool | OnJob, title: str) -> Iterator[OnJob]:
    if callable(progress):
        yield progress
    elif progress:
        with tracking(Console(stderr=True), title) as tracker:
            yield tracker.job
    else:
        yield lambda _: None

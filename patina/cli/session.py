"""A command's session: it finds the service, waits for a job, downloads results and chooses a model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from config.settings import settings
from patina.cli.app import FAILED, INTERRUPTED
from patina.cli.output import Output, print_error, stderr
from patina.client import Client, Dataset, Job, Model
from patina.client.photo_files import LeftOut
from patina.client.progress import track_progress
from patina.errors import PatinaError, ServiceUnavailableError
from patina.local.session import Service, connect

NOTHING_TRAINED = "Nothing has been trained yet. Train first: patina train REAL_PHOTOS --hr CLEAN_PHOTOS"


@dataclass(frozen=True)
class Session:
    patina: Client
    service: Service
    out: Output

    def wait(self, job: Job, title: str) -> None:
        """Waits for the job's end and shows a progress bar."""
        with self.detach_on_interrupt(job), track_progress(self.out.console, title) as tracker:
            job.wait(tracker.show_job)

    @contextmanager
    def detach_on_interrupt(self, job: Job) -> Iterator[None]:
        """On Ctrl-C the command exits; the job keeps running."""
        try:
            yield
        except KeyboardInterrupt:
            self._print_resume_hint(job.id)
            raise typer.Exit(INTERRUPTED) from None
        except ServiceUnavailableError as error:
            raise ServiceUnavailableError(
                f"{error}\nThe job {job.id} is kept. Follow it with: patina jobs {job.id}"
            ) from error

    def download(self, job: Job, folder: Path, left_out: Sequence[LeftOut] = ()) -> None:
        """Downloads a job's results. `left_out` are files that were not sent, for the result in JSON."""
        names: list[str] = []
        with track_progress(self.out.console, "Downloading") as tracker:

            def count(name: str) -> None:
                names.append(name)
                tracker.show_count(len(names))

            if job.parameters.get("store") == "shards":
                job.download_shards(folder, on_file=count)
                ok, failed = job.counts["ok"], _list_failed(job)
            else:
                lines = job.download(folder, on_file=count)
                ok = sum(line["status"] == "ok" for line in lines)
                failed = [line for line in lines if line["status"] == "failed"]
        self._report_results(job, folder, ok, failed, left_out)

    def save_sheet(self, model: Model, file: Path) -> None:
        model.sheet(file)
        self.out.print(f"The contact sheet is {file}")

    def get_dataset(self, dataset: str | None, model: str | None) -> Dataset:
        """Returns the named dataset, else the model's, else that of the newest model."""
        return self.patina.datasets.get(dataset or self.get_model(model).dataset)

    def get_model(self, model: str | None) -> Model:
        """Returns the named model, else the newest. Raises `PatinaError` if there is none."""
        if model:
            return self.patina.models.get(model)
        for newest in self.patina.models.list(limit=1):
            return newest
        raise PatinaError(NOTHING_TRAINED)

    def _report_results(
        self, job: Job, folder: Path, ok: int, failed: list[dict[str, Any]], left_out: Sequence[LeftOut]
    ) -> None:
        """Prints failures and counts. Exits with `FAILED` if any result failed."""
        for line in failed:
            print_error(line["source"], line.get("message") or line["status"])
        self.out.print(f"{ok} of {int(job.progress.done)} results are in {folder}")
        result = {"job": job, "folder": str(folder.absolute()), "ok": ok, "failed": failed, "left_out": list(left_out)}
        self.out.print_result(result)
        if failed:
            raise typer.Exit(FAILED)

    def _print_resume_hint(self, job: str) -> None:
        if self.service.is_temporary:
            stderr.print("\nStopping. The job resumes with the next `patina up`; or now, with:", highlight=False)
            stderr.print(f"  patina jobs {job}", highlight=False)
        else:
            target = f" --api {self.service.url}" if "PATINA_API" not in os.environ else ""
            stderr.print(f"\nThe job keeps running. To follow it:  patina jobs {job}{target}", highlight=False)
            stderr.print(f"To cancel it:  patina jobs {job}{target} --cancel", highlight=False)


def _list_failed(job: Job) -> list[dict[str, Any]]:
    if not job.counts["failed"]:
        return []
    fields = {"source", "source_sha256", "sample", "status", "code", "message"}
    return [result.model_dump(include=fields) for result in job.results() if result.status == "failed"]


@contextmanager
def open_session(api: str | None, as_json: bool = False) -> Iterator[Session]:
    with connect(settings().data_dir, api, stderr.print) as service, Client(service.url) as patina:
        yield Session(patina, service, Output(as_json))

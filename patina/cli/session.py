"""What commands do alike: finding the service, waiting for a job, fetching its results, choosing a model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from config.settings import settings
from patina.cli.app import FAILED, INTERRUPTED
from patina.cli.output import Output, complain, errors
from patina.client import Client
from patina.client.datasets import Dataset
from patina.client.flow import Sync
from patina.client.jobs import Job
from patina.client.models import Model
from patina.client.progress import tracking
from patina.errors import LostServiceError, PatinaError
from patina.local.session import Service, service

NOTHING_TRAINED = "Nothing has been trained yet. Train first: patina train REAL_PHOTOS --hr CLEAN_PHOTOS"


@dataclass(frozen=True)
class Session:
    patina: Client
    at: Service
    out: Output

    def finish(self, job: Job[Sync], title: str) -> None:
        """Waits with a bar."""
        with self.waiting_for(job), tracking(self.out.console, title) as tracker:
            job.wait(tracker.job)

    @contextmanager
    def waiting_for(self, job: Job[Sync]) -> Iterator[None]:
        """Ctrl-C ends the waiting, not the job."""
        try:
            yield
        except KeyboardInterrupt:
            self._show_how_it_goes_on(job.id)
            raise typer.Exit(INTERRUPTED) from None
        except LostServiceError as error:
            raise LostServiceError(f"{error}\nThe job {job.id} is kept: patina jobs {job.id} follows it.") from error

    def fetch(self, job: Job[Sync], folder: Path) -> None:
        fetched: list[str] = []
        with tracking(self.out.console, "Fetching") as tracker:

            def count(name: str) -> None:
                fetched.append(name)
                tracker.count(len(fetched))

            lines = job.download(folder, on_file=count)
        self.conclude(job, folder, lines)

    def conclude(self, job: Job[Sync], folder: Path, lines: list[dict[str, Any]]) -> None:
        """Says what came of a job whose results are in `folder` now; where some failed, so has the command."""
        failed = [line for line in lines if line["status"] == "failed"]
        ok = sum(line["status"] == "ok" for line in lines)
        for line in failed:
            complain(line["source"], line.get("message") or line["status"])
        self.out.say(f"{ok} of {len(lines)} results are in {folder}")
        self.out.result({"job": job, "folder": str(folder.absolute()), "ok": ok, "failed": failed})
        if failed:
            raise typer.Exit(FAILED)

    def draw(self, model: Model[Sync], file: Path) -> None:
        model.sheet(file)
        self.out.say(f"The contact sheet is {file}")

    def dataset(self, dataset: str | None, model: str | None) -> Dataset[Sync]:
        """The one that is named, that of the model, or the one trained last."""
        return self.patina.datasets.get(dataset or self.model(model).dataset)

    def model(self, model: str | None) -> Model[Sync]:
        """The one that is named, or the one trained last."""
        if model:
            return self.patina.models.get(model)
        for newest in self.patina.models.list(limit=1):
            return newest
        raise PatinaError(NOTHING_TRAINED)

    def _show_how_it_goes_on(self, job: str) -> None:
        if self.at.own:
            errors.print(
                "\nStopping. The job is kept and goes on with the next `patina up`; or now, with:", highlight=False
            )
            errors.print(f"  patina jobs {job}", highlight=False)
        else:
            target = f" --api {self.at.url}" if "PATINA_API" not in os.environ else ""
            errors.print(f"\nThe job goes on. To follow it:  patina jobs {job}{target}", highlight=False)
            errors.print(f"To cancel it:  patina jobs {job}{target} --cancel", highlight=False)


@contextmanager
def session(api: str | None, as_json: bool = False) -> Iterator[Session]:
    with service(settings().data_dir, api, errors.print) as at, Client(at.url) as patina:
        yield Session(patina, at, Output(as_json))

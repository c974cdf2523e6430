"""Trained models: their reports and their files."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from pathlib import Path

from pydantic import Field

from patina.client.archive import write_answer
from patina.client.flow import Ask, Flavour, Flow, Receive, Work, flow
from patina.client.http import Answer, Noun, asked, listed
from patina.client.jobs import Job, super_resolve
from patina.client.schemas import SHOWN, Report
from patina.client.uploads import OnUpload
from patina.errors import PatinaError


class Model(Answer[Flavour]):
    id: str
    dataset: str
    job: str
    preset: str
    scale: int
    kernel_origin: tuple[int, int]
    steps: int
    seconds: float
    created: datetime
    history: list[dict[str, float]] = Field(default_factory=list)  # the training's curves; a list of models lacks them
    links: dict[str, str] = Field(default_factory=dict)

    @property
    def files(self) -> list[str]:
        """The names of all that `download` can fetch."""
        return [name for name, link in self.links.items() if "/files/" in link]

    @flow
    def report(self) -> Flow[Report]:
        """How good it is, in figures and in words. `ServiceError` where it has no report."""
        return (yield from self._report())

    @flow
    def report_json(self) -> Flow[str]:
        """The whole report, as the service tells it."""
        return (yield from self._report_text())

    @flow
    def download(self, folder: str | Path, name: str = "degrader.safetensors") -> Flow[Path]:
        """Writes one of its files into `folder`; gives the file."""
        target = Path(folder) / name
        yield Receive(Ask("GET", f"/models/{self.id}/files/{name}"), partial(write_answer, target))
        return target

    @flow
    def sheet(self, file: str | Path) -> Flow[Path]:
        """Draws its contact sheet: real photos beside made ones, kernels, noise and what the report says."""
        from patina.sheet.learned import Learned, contact_sheet  # noqa: PLC0415 - most programs draw nothing

        if not set(self.files).issuperset(SHOWN):
            raise PatinaError(f"Model {self.id} has no pictures to draw a sheet of. Train again to get some.")
        contents: dict[str, bytes] = {}
        for name in SHOWN:
            contents[name] = (yield Ask("GET", f"/models/{self.id}/files/{name}")).content
        dataset = (yield Ask("GET", f"/datasets/{self.dataset}")).json()
        report = (yield from self._report()) if "report" in self.links else None
        real, clean = dataset["images"]["lr"], dataset["images"]["hr"]
        summary = (
            f"{dataset['name']}: learned from {real:,} real photos and {clean:,} clean ones, at scale {self.scale}, "
            f"in {self.seconds / 60:.1f} minutes."
        )
        target = Path(file)

        def draw() -> None:
            target.parent.mkdir(parents=True, exist_ok=True)
            contact_sheet(summary, Learned.read(contents), report).save(target)

        yield Work(draw)
        return target

    @flow
    def sr(self, *paths: str | Path, tile: int | None = None, progress: bool | OnUpload = False) -> Flow[Job[Flavour]]:
        """Super-resolves photos with its network."""
        return (yield from super_resolve(self, paths, progress, model=self.id, tile=tile))

    def _report(self) -> Flow[Report]:
        return Report.model_validate_json((yield from self._report_text()))

    def _report_text(self) -> Flow[str]:
        answer = yield Ask("GET", f"/models/{self.id}/report")
        return str(answer.text)


class Models(Noun[Flavour]):
    @flow
    def get(self, model: str) -> Flow[Model[Flavour]]:
        return (yield from asked(self, Model, "GET", f"/models/{model}"))

    @flow
    def list(self, limit: int | None = None, *, dataset: str | None = None) -> Flow[list[Model[Flavour]]]:
        """The newest first."""
        return (yield from listed(self, Model, "/models", limit, dataset=dataset))

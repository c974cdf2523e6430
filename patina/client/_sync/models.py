# Generated from patina/client/_async/models.py by scripts/unasync.py; do not edit.
"""Trained models: their reports and files."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import Field

from patina.client._sync.concurrency import run_blocking
from patina.client._sync.jobs import Job, super_resolve
from patina.client._sync.resources import Record, Resource
from patina.client.progress import OnUpload
from patina.errors import PatinaError
from patina.schemas import GALLERY_FILES, Report


class Model(Record):
    """A trained model."""

    id: str
    dataset: str
    job: str
    preset: str
    scale: int
    kernel_origin: tuple[int, int]
    steps: int
    seconds: float
    created: datetime
    history: list[dict[str, float]] = Field(default_factory=list)  # training curves; empty in a list of models
    links: dict[str, str] = Field(default_factory=dict)

    @property
    def files(self) -> list[str]:
        """The names that `download` accepts."""
        return [name for name, link in self.links.items() if "/files/" in link]

    def report(self) -> Report:
        """Returns its report: a score, metrics and warnings. Raises `ServiceError` if it has none."""
        return Report.model_validate_json(self.report_json())

    def report_json(self) -> str:
        """Returns the complete report as JSON text."""
        return (self._connection.request("GET", f"/models/{self.id}/report")).text

    def download(self, folder: str | Path, name: str = "degrader.safetensors") -> Path:
        """Downloads one of its `files` into `folder`. Returns the path."""
        target = Path(folder) / name
        self._connection.download(f"/models/{self.id}/files/{name}", target)
        return target

    def sheet(self, file: str | Path) -> Path:
        """Draws its contact sheet: real and generated photos, kernels, noise and the report. Returns the path.

        Raises `PatinaError` if the model has no gallery.
        """
        from patina.sheet.model import GalleryData, contact_sheet  # noqa: PLC0415 - most programs draw nothing

        if not set(self.files).issuperset(GALLERY_FILES):
            raise PatinaError(f"Model {self.id} has no pictures to draw. Train again to get them.")
        contents: dict[str, bytes] = {}
        for name in GALLERY_FILES:
            response = self._connection.request("GET", f"/models/{self.id}/files/{name}")
            contents[name] = response.content
        dataset = (self._connection.request("GET", f"/datasets/{self.dataset}")).json()
        report = self.report() if "report" in self.links else None
        real, clean = dataset["images"]["lr"], dataset["images"]["hr"]
        summary = (
            f"{dataset['name']}: learned from {real:,} real photos and {clean:,} clean ones, at scale {self.scale}, "
            f"in {self.seconds / 60:.1f} minutes."
        )
        target = Path(file)

        def draw() -> None:
            target.parent.mkdir(parents=True, exist_ok=True)
            contact_sheet(summary, GalleryData.from_files(contents), report).save(target)

        run_blocking(draw)
        return target

    def sr(self, *paths: str | Path, tile: int | None = None, progress: bool | OnUpload = False, **options: Any) -> Job:
        """Submits a job that super-resolves photos with its network.

        `options` are those of the API: `format`, `quality`, `metadata`, `color`, `depth` and `frames`.
        """
        return super_resolve(self._connection, paths, progress, model=self.id, tile=tile, **options)


class Models(Resource):
    def get(self, model: str) -> Model:
        return self._get(Model, f"/models/{model}")

    def list(self, limit: int | None = None, *, dataset: str | None = None) -> list[Model]:
        """Lists models, newest first."""
        return self._list(Model, "/models", limit, dataset=dataset)

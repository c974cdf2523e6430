"""Queries on trained models, on what trainings show of themselves and on the checkpoints that they go on from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from store.db.tables import Checkpoint, Model, Preview
from store.ids import new_id

REPORT = "report.json"  # the file that tells how good a model is; models older than reports have none
# What a degradation makes, to be looked at; likewise.
GALLERY, PATCHES, EXAMPLES = "gallery.json", "patches.png", "examples.png"

NEWEST = (Model.created.desc(), Model.id.desc())
CHECKPOINTS_KEPT = 2  # of a job


class ModelRepository:
    def __init__(self, session: Session):
        self.session = session

    def create(
        self,
        *,
        dataset_id: str,
        job_id: str,
        preset: str,
        scale: int,
        kernel_origin: tuple[int, int],
        steps: int,
        seconds: float,
        files: dict[str, str],
        history: list[dict[str, float]],
    ) -> Model:
        """`files` maps file names, such as degrader.safetensors, to the SHA-256 of their blobs."""
        model = Model(
            id=new_id(),
            dataset_id=dataset_id,
            job_id=job_id,
            preset=preset,
            scale=scale,
            kernel_origin=list(kernel_origin),
            steps=steps,
            seconds=seconds,
            files=dict[str, Any](files),
            history=history,
        )
        self.session.add(model)
        self.session.flush()
        return model

    def get(self, model_id: str) -> Model | None:
        return self.session.get(Model, model_id)

    def latest(self, dataset_id: str) -> Model | None:
        # By the database's clock: ids are made by workers, whose clocks may be apart.
        query = select(Model).where(Model.dataset_id == dataset_id).order_by(*NEWEST).limit(1)
        return self.session.scalars(query).first()

    def page(self, *, before: str | None, limit: int, dataset_id: str | None) -> Sequence[Model]:
        """The newest first, those older than `before`."""
        query = select(Model).order_by(Model.id.desc()).limit(limit)
        if before is not None:
            query = query.where(Model.id < before)
        if dataset_id is not None:
            query = query.where(Model.dataset_id == dataset_id)
        return self.session.scalars(query).all()

    def ids_of(self, dataset_ids: Sequence[str]) -> dict[str, list[str]]:
        """The ids of each dataset's models, the newest first."""
        rows = self.session.execute(
            select(Model.dataset_id, Model.id).where(Model.dataset_id.in_(dataset_ids)).order_by(*NEWEST)
        )
        ids: dict[str, list[str]] = {dataset_id: [] for dataset_id in dataset_ids}
        for dataset_id, model_id in rows:
            ids[dataset_id].append(model_id)
        return ids


class CheckpointRepository:
    def __init__(self, session: Session):
        self.session = session

    def of_job(self, job_id: str) -> Sequence[Checkpoint]:
        """The newest first."""
        query = select(Checkpoint).where(Checkpoint.job_id == job_id).order_by(Checkpoint.step.desc())
        return self.session.scalars(query).all()

    def put(self, job_id: str, *, step: int, seconds: float, sha256: str) -> list[str]:
        """Beside the one before it; those before that are forgotten. Gives the blobs that no checkpoint names now."""
        before = {checkpoint.sha256 for checkpoint in self.of_job(job_id)}
        self.session.merge(Checkpoint(job_id=job_id, step=step, seconds=seconds, sha256=sha256))
        self.session.flush()
        for forgotten in self.of_job(job_id)[CHECKPOINTS_KEPT:]:
            self.session.delete(forgotten)
        self.session.flush()
        # One that was continued has given its own to another job.
        named = select(Checkpoint.sha256).where(Checkpoint.sha256.in_(before))
        return sorted(before.difference(self.session.scalars(named)))

    def forget(self, job_id: str, step: int) -> None:
        self.session.execute(delete(Checkpoint).where(Checkpoint.job_id == job_id, Checkpoint.step == step))


class PreviewRepository:
    def __init__(self, session: Session):
        self.session = session

    def get(self, job_id: str) -> Preview | None:
        return self.session.get(Preview, job_id)

    def put(self, job_id: str, *, step: int, files: dict[str, str]) -> None:
        """In the place of the job's earlier one."""
        self.session.merge(Preview(job_id=job_id, step=step, files=dict[str, Any](files)))

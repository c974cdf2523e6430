"""Queries on trained models, and on the checkpoints and previews of trainings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from store.db.statements import list_newest
from store.db.tables import Checkpoint, Model, Preview
from store.ids import new_id

# By the database's clock: workers create the ids, and their clocks may differ.
NEWEST = (Model.created_at.desc(), Model.id.desc())
CHECKPOINTS_PER_JOB = 2


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
        """`files` maps names of `store.model_files` to the SHA-256 of their blobs."""
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

    def get_latest(self, dataset_id: str) -> Model | None:
        query = select(Model).where(Model.dataset_id == dataset_id).order_by(*NEWEST).limit(1)
        return self.session.scalars(query).first()

    def list_newest(self, *, before: str | None, limit: int, dataset_id: str | None) -> Sequence[Model]:
        conditions = [] if dataset_id is None else [Model.dataset_id == dataset_id]
        return list_newest(self.session, Model, *conditions, before=before, limit=limit)

    def list_ids(self, dataset_ids: Sequence[str]) -> dict[str, list[str]]:
        """Returns the ids of each dataset's models, the newest first."""
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

    def list_for_job(self, job_id: str) -> Sequence[Checkpoint]:
        """Returns the job's checkpoints, the newest first."""
        query = select(Checkpoint).where(Checkpoint.job_id == job_id).order_by(Checkpoint.step.desc())
        return self.session.scalars(query).all()

    def put(self, job_id: str, *, step: int, seconds: float, sha256: str) -> list[str]:
        """Adds a checkpoint and deletes all but the newest `CHECKPOINTS_PER_JOB`.

        Returns the SHA-256 of the blobs that no checkpoint names any more.
        """
        before = {checkpoint.sha256 for checkpoint in self.list_for_job(job_id)}
        self.session.merge(Checkpoint(job_id=job_id, step=step, seconds=seconds, sha256=sha256))
        self.session.flush()
        for old in self.list_for_job(job_id)[CHECKPOINTS_PER_JOB:]:
            self.session.delete(old)
        self.session.flush()
        # A job that resumes an earlier training shares that one's checkpoint.
        named = select(Checkpoint.sha256).where(Checkpoint.sha256.in_(before))
        return sorted(before.difference(self.session.scalars(named)))

    def delete(self, job_id: str, step: int) -> None:
        self.session.execute(delete(Checkpoint).where(Checkpoint.job_id == job_id, Checkpoint.step == step))


class PreviewRepository:
    def __init__(self, session: Session):
        self.session = session

    def get(self, job_id: str) -> Preview | None:
        return self.session.get(Preview, job_id)

    def put(self, job_id: str, *, step: int, files: dict[str, str]) -> None:
        """Replaces the job's earlier preview."""
        self.session.merge(Preview(job_id=job_id, step=step, files=dict[str, Any](files)))

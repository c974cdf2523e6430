"""Finds records for endpoints; a record that does not exist, or that the caller must not see, is a 404."""

from __future__ import annotations

from app.http.problems import not_found
from store.db.database import Session
from store.db.tables import Dataset, Job, Model
from store.repositories.datasets import DatasetRepository
from store.repositories.jobs import JobRepository
from store.repositories.models import ModelRepository


def get_dataset_or_404(session: Session, dataset_id: str) -> Dataset:
    """Raises `ProblemError` (404) if there is no such dataset."""
    dataset = DatasetRepository(session).get(dataset_id)
    if dataset is None:
        raise not_found("dataset", dataset_id)
    return dataset


def lock_dataset_or_404(session: Session, dataset_id: str) -> Dataset:
    """Protects a dataset from deletion until the transaction ends, so that no job is left without its dataset.

    Raises `ProblemError` (404) if it was deleted.
    """
    dataset = DatasetRepository(session).lock_shared(dataset_id)
    if dataset is None:
        raise not_found("dataset", dataset_id)
    return dataset


def get_job_or_404(session: Session, job_id: str) -> Job:
    """Raises `ProblemError` (404) if there is no such job."""
    job = JobRepository(session).get(job_id)
    if job is None:
        raise not_found("job", job_id)
    return job


def get_model_or_404(session: Session, model_id: str) -> Model:
    """Raises `ProblemError` (404) if there is no such model."""
    model = ModelRepository(session).get(model_id)
    if model is None:
        raise not_found("model", model_id)
    return model

"""Finds a dataset, and keeps it from being deleted while something is made for it."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.http.problems import not_found
from store.db.tables import Dataset
from store.repositories.datasets import DatasetRepository


def get_dataset_or_404(session: Session, dataset_id: str) -> Dataset:
    """Raises `ProblemError` where there is none."""
    dataset = DatasetRepository(session).get(dataset_id)
    if dataset is None:
        raise not_found("dataset", dataset_id)
    return dataset


def held(session: Session, dataset_id: str) -> Dataset:
    """Until the transaction's end it stays, so that what is accepted for it is there before it is deleted, or never.

    Raises `ProblemError` where it is gone.
    """
    dataset = DatasetRepository(session).hold(dataset_id)
    if dataset is None:
        raise not_found("dataset", dataset_id)
    return dataset

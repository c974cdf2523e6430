"""How long the results of jobs are kept."""

from __future__ import annotations

from sqlalchemy import update

from store.db.database import Session
from store.db.statements import execute_counted
from store.db.tables import Job

ENDED = ("succeeded", "failed", "canceled")


def end_retention(session: Session, job_id: str) -> bool:
    """Lets the results of a job that has ended be deleted from now on. Returns False if it has not ended."""
    ended = update(Job).where(Job.id == job_id, Job.status.in_(ENDED)).values(retention_seconds=0.0)
    return bool(execute_counted(session, ended))

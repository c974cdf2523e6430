"""Whose records a session sees. Every query of the session is narrowed, so that none can forget to be.

A dataset belongs to the token that made it, and so do its images, models and jobs. A shared dataset is seen by all;
what others make with it is seen by them and by its owner alone. Uploads and webhooks are seen by the token that made
them.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, SQLColumnExpression, and_, exists, or_, select
from sqlalchemy.event import listens_for
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria
from sqlalchemy.sql import FromClause

from store.db.tables import Dataset, Image, Item, Job, Model, Sample, Upload, Webhook


@dataclass(frozen=True)
class Caller:
    """Who asks: a token's id, or None for whoever may call without one; and whether other tokens' records are seen."""

    token: str | None
    sees_all: bool


LOCAL = Caller(None, sees_all=True)


def caller_of(session: Session) -> Caller:
    caller: Caller = session.info.get("caller", LOCAL)
    return caller


class NarrowedSession(Session):
    """A session of a caller that does not see all: other tokens' records are as if they were not there."""


@listens_for(NarrowedSession, "do_orm_execute")
def _narrow(execution: ORMExecuteState) -> None:
    token = caller_of(execution.session).token
    if token is None or not (execution.is_select or execution.is_update or execution.is_delete):
        return
    execution.statement = execution.statement.options(
        with_loader_criteria(Dataset, or_(Dataset.owner == token, Dataset.shared.is_(True))),
        with_loader_criteria(Image, _in_visible_dataset(Image.dataset_id, token)),
        with_loader_criteria(Model, _in_visible_dataset(Model.dataset_id, token)),
        with_loader_criteria(Job, _visible_job(Job.owner, Job.dataset_id, token)),
        with_loader_criteria(Item, _of_visible_job(Item.job_id, token)),
        with_loader_criteria(Sample, _of_visible_job(Sample.job_id, token)),
        with_loader_criteria(Upload, Upload.owner == token),
        with_loader_criteria(Webhook, Webhook.owner == token),
    )


# The subqueries name tables and not their classes, for a class would be narrowed again inside them.


def _in_visible_dataset(dataset_id: SQLColumnExpression[str], token: str) -> ColumnElement[bool]:
    datasets = _table(Dataset)
    visible = or_(datasets.c.owner == token, datasets.c.shared.is_(True))
    return exists(select(datasets.c.id).where(datasets.c.id == dataset_id, visible))


def _visible_job(
    owner: SQLColumnExpression[str | None], dataset_id: SQLColumnExpression[str | None], token: str
) -> ColumnElement[bool]:
    datasets = _table(Dataset)
    of_owner = datasets.c.owner == token
    shared = and_(datasets.c.shared.is_(True), datasets.c.owner.is_not_distinct_from(owner))
    return or_(owner == token, exists(select(datasets.c.id).where(datasets.c.id == dataset_id, or_(of_owner, shared))))


def _of_visible_job(job_id: SQLColumnExpression[str], token: str) -> ColumnElement[bool]:
    jobs = _table(Job)
    return exists(select(jobs.c.id).where(jobs.c.id == job_id, _visible_job(jobs.c.owner, jobs.c.dataset_id, token)))


def _table(of: type[Dataset | Job]) -> FromClause:
    return of.__table__.alias()

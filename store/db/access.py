"""Access control: every query of a session is limited to the records that its caller may see.

A dataset belongs to the token that created it, with its images, models and jobs. A shared dataset is visible to all;
what others create with it is visible to them and to its owner. Uploads, inputs and webhooks are visible to their own
token.
`CRITERIA` lists the tables that are limited, `UNLIMITED` all others. Who may change a record is decided in
app/auth/ownership.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import ColumnElement, SQLColumnExpression, and_, exists, or_, select
from sqlalchemy.event import listens_for
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria
from sqlalchemy.sql import FromClause
from sqlalchemy.sql.base import ExecutableOption

from store.db.tables import (
    Blob,
    Checkpoint,
    Dataset,
    Delivery,
    Deployment,
    Event,
    IdempotencyKey,
    Image,
    InputPart,
    Inputs,
    Item,
    Job,
    Lease,
    Model,
    Preview,
    ResultShard,
    Sample,
    Shard,
    Table,
    Token,
    Upload,
    Usage,
    Webhook,
)


@dataclass(frozen=True)
class Caller:
    """A token's id, or None where no token is needed. An admin also sees the records of other tokens."""

    token: str | None
    is_admin: bool


LOCAL = Caller(None, is_admin=True)


def caller_of(session: Session) -> Caller:
    caller: Caller = session.info.get("caller", LOCAL)
    return caller


class ScopedSession(Session):
    """A session of a caller who is no admin. It behaves as if other tokens' records did not exist."""


@listens_for(ScopedSession, "do_orm_execute")
def _add_criteria(execution: ORMExecuteState) -> None:
    token = caller_of(execution.session).token
    if token is None or not (execution.is_select or execution.is_update or execution.is_delete):
        return
    execution.statement = execution.statement.options(*_criteria(token))


@lru_cache(maxsize=1024)
def _criteria(token: str) -> Sequence[ExecutableOption]:
    """Returns the options of every statement. To build them takes longer than most queries."""
    return [with_loader_criteria(table, is_visible(token)) for table, is_visible in CRITERIA.items()]


# The subqueries use tables and not classes, since SQLAlchemy would add the criteria to a class again.


def _in_visible_dataset(dataset_id: SQLColumnExpression[str], token: str) -> ColumnElement[bool]:
    datasets = _alias(Dataset)
    visible = or_(datasets.c.owner == token, datasets.c.shared.is_(True))
    return exists(select(datasets.c.id).where(datasets.c.id == dataset_id, visible))


def _is_visible_job(
    owner: SQLColumnExpression[str | None], dataset_id: SQLColumnExpression[str | None], token: str
) -> ColumnElement[bool]:
    datasets = _alias(Dataset)
    owned = datasets.c.owner == token
    shared = and_(datasets.c.shared.is_(True), datasets.c.owner.is_not_distinct_from(owner))
    return or_(owner == token, exists(select(datasets.c.id).where(datasets.c.id == dataset_id, or_(owned, shared))))


def _in_visible_job(job_id: SQLColumnExpression[str], token: str) -> ColumnElement[bool]:
    jobs = _alias(Job)
    return exists(select(jobs.c.id).where(jobs.c.id == job_id, _is_visible_job(jobs.c.owner, jobs.c.dataset_id, token)))


def _alias(table: type[Dataset | Job]) -> FromClause:
    return table.__table__.alias()


CRITERIA: dict[type[Table], Callable[[str], ColumnElement[bool]]] = {
    Dataset: lambda token: or_(Dataset.owner == token, Dataset.shared.is_(True)),
    Image: lambda token: _in_visible_dataset(Image.dataset_id, token),
    Model: lambda token: _in_visible_dataset(Model.dataset_id, token),
    Job: lambda token: _is_visible_job(Job.owner, Job.dataset_id, token),
    Item: lambda token: _in_visible_job(Item.job_id, token),
    Sample: lambda token: _in_visible_job(Sample.job_id, token),
    Upload: lambda token: Upload.owner == token,
    Inputs: lambda token: Inputs.owner == token,
    Webhook: lambda token: Webhook.owner == token,
}
UNLIMITED: frozenset[type[Table]] = frozenset(
    {
        Event,  # this and the next six: endpoints first read the job, webhook or inputs, which are limited
        Preview,
        Checkpoint,
        ResultShard,
        Delivery,
        InputPart,
        Shard,
        Deployment,  # whose id no endpoint shows
        Usage,  # read for the caller's own token
        Blob,  # this and the next: no endpoint shows them
        Lease,
        IdempotencyKey,  # its key is hashed with the token
        Token,  # read to authenticate, before there is a caller
    }
)

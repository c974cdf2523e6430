"""Queries on result shards: the tars of jobs with `store=shards`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from store.db.tables import ResultShard
from store.repositories.samples import NewResultShard


class ResultShardRepository:
    def __init__(self, session: Session):
        self.session = session

    def add(self, job_id: str, shard: NewResultShard) -> int:
        """Adds a shard and returns its number. The caller has locked the job and adds the samples."""
        last = self.session.scalar(select(func.max(ResultShard.number)).where(ResultShard.job_id == job_id))
        number = 0 if last is None else last + 1
        row = {"job_id": job_id, "number": number, "sha256": shard.sha256, "size": shard.size}
        self.session.execute(insert(ResultShard).values(**row, samples=len(shard.samples)))
        return number

    def get(self, job_id: str, number: int) -> ResultShard | None:
        return self.session.get(ResultShard, (job_id, number))

    def list(self, job_id: str, *, after: int = -1, limit: int | None = None) -> Sequence[ResultShard]:
        """Returns shards in the order of their numbers, those after the number `after`."""
        query = select(ResultShard).where(ResultShard.job_id == job_id, ResultShard.number > after)
        return self.session.scalars(query.order_by(ResultShard.number).limit(limit)).all()

    def hashes(self, job_id: str, numbers: Collection[int]) -> dict[int, str]:
        """Returns the SHA-256 of the blobs of these shards, by number."""
        query = select(ResultShard.number, ResultShard.sha256).where(ResultShard.job_id == job_id)
        found = self.session.execute(query.where(ResultShard.number.in_(numbers))) if numbers else ()
        return {row.number: row.sha256 for row in found}

"""Random orders of claims, crashes, cancels, retries and ends of a job, compared with a model of the states."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import select, update

from store.db.tables import Shard, now
from store.errors import LeaseLostError
from store.repositories.jobs import JobRepository, Progress
from store.repositories.samples import NewItem, NewSample, SampleRepository
from store.store import Store
from tests.support.store_factories import create_job

LEASE = 1000.0
MAX_CRASHES = 3
ITEMS = 3


class JobStates(RuleBasedStateMachine):
    """One job and all workers that ever had it. Each continues as if it still had the job, as a frozen worker would."""

    def __init__(self, store: Store):
        super().__init__()
        self.store = store
        with store.database.write() as session:
            job = create_job(session, "degrade", total=ITEMS)
            SampleRepository(session).add_items(
                job.id, [(f"image{n}", NewItem(f"{n}.png", f"{n:064x}")) for n in range(ITEMS)]
            )
            self.job = job.id
        self.status = "queued"
        self.attempt = 0
        self.crashes = 0
        self.cancel = False
        self.samples: dict[int, str] = {}
        self.model: str | None = None

    def holds(self, attempt: int) -> bool:
        return self.status == "running" and attempt == self.attempt

    def requeue(self) -> None:
        self.status = "canceled" if self.cancel else "queued"

    def crashed(self) -> None:
        self.crashes += 1
        if self.cancel or self.crashes < MAX_CRASHES:
            self.requeue()
        else:
            self.status = "failed"

    @rule()
    def claim(self) -> None:
        with self.store.database.write() as session:
            claimed = JobRepository(session).claim(self.job, "a worker", LEASE)
        assert (claimed is not None) == (self.status == "queued")
        if claimed:
            self.attempt += 1
            self.status = "running"
            assert claimed.attempt == self.attempt

    @precondition(lambda self: self.attempt)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        attempt = data.draw(st.integers(1, self.attempt))
        try:
            with self.store.database.write() as session:
                cancel = JobRepository(session).renew(self.job, attempt, LEASE).cancel_requested
        except LeaseLostError:
            assert not self.holds(attempt)
        else:
            assert self.holds(attempt)
            assert cancel == self.cancel

    @precondition(lambda self: self.attempt)
    @rule(data=st.data(), position=st.integers(0, ITEMS - 1), fails=st.booleans())
    def record(self, data: st.DataObject, position: int, fails: bool) -> None:
        attempt = data.draw(st.integers(1, self.attempt))
        if self.holds(attempt) and position in self.samples:
            return  # a worker with the lease knows which samples are finished
        sample = NewSample(position, 0, {}, "bad", "It is bad.") if fails else NewSample(position, 0, {"lr": "a"})
        try:
            with self.store.database.write() as session:
                done = len(self.samples) + 1
                JobRepository(session).record(self.job, attempt, Progress(done, ITEMS, None, None), [sample])
        except LeaseLostError:
            assert not self.holds(attempt)
        else:
            assert self.holds(attempt)
            self.samples[position] = "failed" if fails else "ok"
            self.crashes = 0  # progress

    @precondition(lambda self: self.attempt)
    @rule(data=st.data(), kind=st.sampled_from(["progress", "checkpoint", "preview", "model"]))
    def train(self, data: st.DataObject, kind: str) -> None:
        """The writes of a training. Only a checkpoint counts as progress."""
        attempt = data.draw(st.integers(1, self.attempt))
        try:
            with self.store.database.write() as session:
                jobs = JobRepository(session)
                match kind:
                    case "progress":
                        jobs.record(self.job, attempt, Progress(len(self.samples), ITEMS, None, None))
                    case "checkpoint":
                        jobs.reset_failures(self.job, attempt)
                    case "preview":
                        jobs.check_lease(self.job, attempt)
                    case "model":
                        jobs.set_model(self.job, attempt, f"model {attempt}")
        except LeaseLostError:
            assert not self.holds(attempt)
        else:
            assert self.holds(attempt)
            if kind == "checkpoint":
                self.crashes = 0
            if kind == "model":
                self.model = f"model {attempt}"

    @precondition(lambda self: self.attempt)
    @rule(data=st.data(), status=st.sampled_from(["succeeded", "failed", "canceled"]))
    def finish(self, data: st.DataObject, status: str) -> None:
        attempt = data.draw(st.integers(1, self.attempt))
        error = {"code": "x", "message": "y"} if status == "failed" else None
        try:
            with self.store.database.write() as session:
                JobRepository(session).finish(self.job, attempt, status, error)
        except LeaseLostError:
            assert not self.holds(attempt)
        else:
            assert self.holds(attempt)
            self.status = status

    @precondition(lambda self: self.attempt)
    @rule(data=st.data(), dies=st.booleans())
    def release(self, data: st.DataObject, dies: bool) -> None:
        attempt = data.draw(st.integers(1, self.attempt))
        try:
            with self.store.database.write() as session:
                jobs = JobRepository(session)
                jobs.record_crash(self.job, attempt, MAX_CRASHES) if dies else jobs.release(self.job, attempt)
        except LeaseLostError:
            assert not self.holds(attempt)
        else:
            assert self.holds(attempt)
            self.crashed() if dies else self.requeue()

    @rule(expired=st.booleans())
    def expire_lease(self, expired: bool) -> None:
        with self.store.database.write() as session:
            if expired and self.status == "running":
                session.execute(update(Shard).where(Shard.job_id == self.job).values(lease_until=now() - 1))
            found = {job.id: job for job in JobRepository(session).requeue_expired_leases(MAX_CRASHES)}
        assert (self.job in found) == (expired and self.status == "running")
        if self.job in found:
            self.crashed()
            assert found[self.job].status == self.status

    @rule()
    def request_cancel(self) -> None:
        with self.store.database.write() as session:
            JobRepository(session).request_cancel(self.job)
        if self.status == "queued":
            self.status = "canceled"
        elif self.status == "running":
            self.cancel = True

    @rule()
    def retry(self) -> None:
        with self.store.database.write() as session:
            retried = JobRepository(session).retry(self.job)
        assert retried == (self.status in ("failed", "canceled"))
        if retried:
            self.status, self.crashes, self.cancel = "queued", 0, False
            self.samples = {position: status for position, status in self.samples.items() if status == "ok"}

    @invariant()
    def record_equals_the_model(self) -> None:
        with self.store.database.read() as session:
            jobs = JobRepository(session)
            job = jobs.get(self.job)
            assert job is not None
            found = {sample.position: sample.status for sample, _ in SampleRepository(session).list_samples(self.job)}
            shards = session.scalars(select(Shard).where(Shard.job_id == self.job)).all()
        assert (job.status, job.attempt) == (self.status, self.attempt)
        if self.status in ("queued", "running"):
            assert [(shard.status, shard.crash_count) for shard in shards] == [(self.status, self.crashes)]
            assert (shards[0].lease_until is not None) == (job.status == "running")
        else:
            assert shards == []
        assert job.model_id == self.model
        assert found == self.samples
        counted = list(self.samples.values())
        assert (job.ok, job.failed, job.done) == (counted.count("ok"), counted.count("failed"), len(counted))
        assert (job.finished_at is not None) == (job.status in ("succeeded", "failed", "canceled"))
        assert (job.error is not None) == (job.status == "failed")
        assert not (job.cancel_requested and job.status == "queued")


class Attempt:
    """Draws a fixed attempt, in place of a strategy."""

    def __init__(self, number: int):
        self._number = number

    def draw(self, _: object) -> int:
        return self._number


STEPS: dict[str, Callable[[JobStates], None]] = {
    "claim": lambda job: job.claim(),
    "first ends": lambda job: job.finish(Attempt(1), "succeeded"),
    "last ends": lambda job: job.finish(Attempt(job.attempt), "failed"),
    "lease lost": lambda job: job.expire_lease(True),
    "cancel": lambda job: job.request_cancel(),
    "retry": lambda job: job.retry(),
}


@pytest.mark.parametrize("other", ["last ends", "cancel"])
def test_every_interleaving_of_two_workers(store: Store, other: str) -> None:
    for order in sorted(set(permutations(["claim", "claim", "first ends", "lease lost", "retry", other]))):
        job = JobStates(store)
        for step in order:
            if job.attempt or "ends" not in step:
                STEPS[step](job)
        job.record_equals_the_model()


def test_random_orders_of_events(store: Store) -> None:
    run_state_machine_as_test(
        cast(type[RuleBasedStateMachine], lambda: JobStates(store)),  # any function that creates one will do
        settings=settings(
            max_examples=10,
            stateful_step_count=25,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

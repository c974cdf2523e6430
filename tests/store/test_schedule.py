"""Shards of jobs: how they are divided, the order of workers' claims, and what fences their writes."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from store.db.access import Caller
from store.db.tables import Job, Shard
from store.errors import LeaseLostError
from store.repositories.claims import Claim, ClaimRaced
from store.repositories.jobs import JobRepository, Progress
from store.repositories.samples import NewSample
from store.repositories.schedule import ScheduleRepository, TokenLimits
from store.repositories.usage import UsageRepository
from store.store import Store
from tests.support.store_factories import create_job

LEASE = 60.0
UNLIMITED = TokenLimits()
NOW, SOON = -1.0, 3600.0  # seconds of a slice: it was long enough, or it was not


def make_job(store: Store, owner: str = "alice", items: int = 1000, **fields: object) -> str:
    defaults: dict[str, object] = {"total": items, "num_items": items, "parameters": {"samples": 4}}
    with store.as_caller(Caller(owner, is_admin=False)).database.write() as session:
        return create_job(session, "degrade", **defaults | fields).id


def claim(
    store: Store, worker: str = "w", *, workers: int = 1, served: Job | None = None, limits: TokenLimits = UNLIMITED
) -> Claim | None:
    with store.database.write() as session:
        return ScheduleRepository(session, limits).claim_next("warm", worker, LEASE, workers=workers, served=served)


def claim_one(store: Store, **options: object) -> Claim:
    claimed = claim(store, **options)  # type: ignore[arg-type]
    assert claimed is not None
    return claimed


def finish(store: Store, claimed: Claim, status: str = "succeeded", **more: object) -> bool:
    with store.database.write() as session:
        return JobRepository(session).finish(claimed.job.id, claimed.job.attempt, status, **more)  # type: ignore[arg-type]


def get(store: Store, job_id: str) -> Job:
    with store.database.read() as session:
        return session.get_one(Job, job_id)


def reserve(store: Store, claimed: Claim, seconds: float = SOON) -> bool:
    """A shard that waits is noticed after a third of a second; the test does not wait for it."""
    with store.database.write() as session:
        session.execute(update(Shard).values(queued_at=Shard.queued_at - 10))
        return ScheduleRepository(session).reserve_better("warm", claimed.job, seconds=seconds)


def test_claims_cover_a_job_without_gap_or_overlap(store: Store) -> None:
    job = make_job(store, items=1000)
    claims = list[Claim]()
    while claimed := claim(store, f"worker {len(claims)}", workers=3):
        claims.append(claimed)
    assert [item for each in claims for item in range(each.start, each.stop)] == list(range(1000))
    assert [each.job.attempt for each in claims] == list(range(1, len(claims) + 1)), "each has a number of its own"
    assert [each.has_rest for each in claims] == [True] * (len(claims) - 1) + [False]
    assert len(claims) > 6, "no worker took a part for which others would wait for it at the end"
    assert [finish(store, each) for each in claims] == [False] * (len(claims) - 1) + [True]
    assert get(store, job).status == "succeeded"


def test_shards_grow_with_the_measured_speed(store: Store) -> None:
    make_job(store, items=10_000)
    first = claim_one(store)
    assert first.stop == 128, "512 samples, 4 of each image"
    finish(store, first, shard_items=700)
    second = claim_one(store)
    assert (second.start, second.stop) == (128, 828)


def test_progress_is_the_sum_of_all_workers(store: Store) -> None:
    job = make_job(store, items=100)
    claims = [claim_one(store, workers=4) for _ in range(3)]
    with store.database.write() as session:
        for number, each in enumerate(claims, 1):
            samples = [NewSample(each.start, sample, {}) for sample in range(number)]
            JobRepository(session).record(job, each.job.attempt, Progress(None, None, 10.0, None), samples)
    found = get(store, job)
    assert (found.done, found.ok, found.per_second) == (6, 6, 30.0)
    assert found.eta_seconds == pytest.approx((100 - 6) / 30)


def test_only_the_shard_of_a_dead_worker_is_fenced(store: Store) -> None:
    job = make_job(store)
    dead, alive = claim_one(store, workers=2), claim_one(store, workers=2)
    with store.database.write() as session:
        jobs = JobRepository(session)
        jobs.renew(job, dead.job.attempt, -1)
        (expired,) = jobs.requeue_expired_leases(5)
        session.execute(update(Shard).where(Shard.start == dead.start).values(queued_at=0))  # it went to the end
    assert expired.status == "running", "the other worker goes on"
    again = claim_one(store)
    assert (again.start, again.stop) == (dead.start, dead.stop)
    for attempt, is_lost in ((dead.job.attempt, True), (alive.job.attempt, False), (again.job.attempt, False)):
        sample = NewSample(dead.start if attempt == again.job.attempt else alive.start, 0, {})
        try:
            with store.database.write() as session:
                JobRepository(session).record(job, attempt, Progress(None, None, 1.0, None), [sample])
        except LeaseLostError:
            assert is_lost
        else:
            assert not is_lost
    assert get(store, job).done == 2


def test_a_canceled_job_ends_with_its_last_worker(store: Store) -> None:
    job = make_job(store)
    one, two = claim_one(store, workers=2), claim_one(store, workers=2)
    with store.database.write() as session:
        JobRepository(session).request_cancel(job)
    assert claim(store) is None, "nobody begins more of it"
    assert not finish(store, one, "canceled")
    assert get(store, job).status == "running"
    assert finish(store, two, "canceled")
    assert get(store, job).status == "canceled"
    with store.database.read() as session:
        assert session.scalars(select(Shard)).all() == []


def test_a_failed_shard_ends_the_job_of_all_workers(store: Store) -> None:
    job = make_job(store)
    one, two = claim_one(store, workers=2), claim_one(store, workers=2)
    error = {"code": "storage_full", "message": "Free space."}
    with store.database.write() as session:
        assert JobRepository(session).finish(job, one.job.attempt, "failed", error)
    assert get(store, job).error == error
    with pytest.raises(LeaseLostError), store.database.write() as session:
        JobRepository(session).renew(job, two.job.attempt, LEASE)


def test_a_job_of_which_nothing_is_ok_fails_at_its_end(store: Store) -> None:
    job = make_job(store, items=2)
    with store.database.write() as session:
        session.execute(update(Job).values(shard_items=1))
    none_ok = {"code": "all_failed", "message": "All images failed."}
    assert not finish(store, claim_one(store), error_if_none_ok=none_ok)
    assert finish(store, claim_one(store), error_if_none_ok=none_ok)
    assert (get(store, job).status, get(store, job).error) == ("failed", none_ok)


def test_a_shard_that_kills_its_workers_fails_the_job(store: Store) -> None:
    """Although other workers of the job make progress all the time."""
    job = make_job(store)
    with store.database.write() as session:
        session.execute(update(Job).values(shard_items=10))
    for deaths in range(1, 4):
        deadly, other = claim_one(store), claim_one(store)
        assert deadly.start == 0
        with store.database.write() as session:
            jobs = JobRepository(session)
            jobs.record(job, other.job.attempt, Progress(None, None, 1.0, None), [NewSample(other.start, deaths, {})])
            jobs.release(job, other.job.attempt)
            jobs.record_crash(job, deadly.job.attempt, 3)
            session.execute(update(Shard).where(Shard.start == 0).values(queued_at=0))
    assert (get(store, job).error or {})["code"] == "worker_died"


def test_owners_take_turns_whatever_they_queue(store: Store) -> None:
    for _ in range(3):
        make_job(store, "alice")
    small = make_job(store, "bob", items=1)
    assert [claim_one(store).job.owner for _ in range(4)] == ["alice", "bob", "alice", "alice"]
    assert get(store, small).status == "running"


def test_a_free_worker_turns_to_another_owner(store: Store) -> None:
    """Otherwise one worker alone would always return to the oldest job."""
    make_job(store, "alice")
    first = claim_one(store)
    make_job(store, "bob", items=1)
    finish(store, first)
    assert claim_one(store, served=first.job).job.owner == "bob"
    assert claim_one(store).job.owner == "alice"


def test_priority_counts_before_age_but_not_between_owners(store: Store) -> None:
    make_job(store, "alice")
    urgent = make_job(store, "alice", priority=5)
    make_job(store, "bob", priority=-5)
    order = [claim_one(store).job for _ in range(2)]
    assert order[0].id == urgent
    assert order[1].owner == "bob", "he has nothing that runs"


def test_a_worker_stops_for_an_owner_who_has_nothing_running(store: Store) -> None:
    make_job(store, "alice")
    large = claim_one(store)
    assert not reserve(store, large), "only she waits"
    make_job(store, "bob", items=1)
    make_job(store, "carol", items=1)
    assert reserve(store, large)
    others = claim_one(store)
    assert others.job.owner == "bob"
    assert reserve(store, large), "carol waits as well"
    assert not reserve(store, large), "each is reserved once, so that one worker stops for it and not all"


def test_jobs_that_were_begun_wait_for_a_longer_slice(store: Store) -> None:
    make_job(store, "alice")
    large = claim_one(store)
    make_job(store, "bob")
    begun = claim_one(store)
    with store.database.write() as session:
        JobRepository(session).release(begun.job.id, begun.job.attempt)
    assert not reserve(store, large, SOON)
    assert reserve(store, large, NOW)


def test_a_higher_priority_of_the_same_owner_goes_first(store: Store) -> None:
    make_job(store, "alice")
    large = claim_one(store)
    make_job(store, "alice", priority=1)
    assert reserve(store, large)


def test_limits_of_a_token_let_its_jobs_wait(store: Store) -> None:
    make_job(store, "alice")
    limits = TokenLimits(running=2, worker_seconds=100.0)
    assert [claim(store, limits=limits) is not None for _ in range(3)] == [True, True, False]
    last = make_job(store, "alice")
    with store.database.write() as session:
        place = ScheduleRepository(session, limits).find_place(last)
        assert place is not None
        assert (place.over_running, place.over_seconds) == (True, False)
        UsageRepository(session).add("bob", worker_seconds=60.0)
        UsageRepository(session).add("bob", worker_seconds=60.0, received_bytes=5)
        assert UsageRepository(session).received_bytes("bob") == 5
    waiting = make_job(store, "bob")
    assert claim(store, limits=limits) is None
    with store.database.read() as session:
        place = ScheduleRepository(session, limits).find_place(waiting)
        assert place is not None
        assert place.over_seconds


def test_time_of_workers_is_counted_for_the_owner(store: Store) -> None:
    make_job(store, "alice", items=1)
    claimed = claim_one(store)
    with store.database.write() as session:
        session.execute(update(Shard).values(claimed_at=Shard.claimed_at - 7))
    finish(store, claimed)
    with store.database.read() as session:
        assert 7 <= UsageRepository(session).worker_seconds("alice") < 20
        assert UsageRepository(session).worker_seconds("bob") == 0


def test_places_interleave_owners(store: Store) -> None:
    jobs = [make_job(store, "alice") for _ in range(3)] + [make_job(store, "bob")]
    with store.database.read() as session:
        places = [ScheduleRepository(session).find_place(job) for job in jobs]
    assert [place.place for place in places if place] == [1, 3, 4, 2]


def test_a_job_of_which_nothing_runs_is_queued_again(store: Store) -> None:
    job = make_job(store)
    finish(store, claim_one(store))
    assert get(store, job).status == "running"
    with store.database.write() as session:
        JobRepository(session).settle(job)
    assert get(store, job).status == "queued"


def test_two_workers_never_take_the_same_shard(store: Store) -> None:
    make_job(store, items=1)
    with store.database.read() as session:
        shard = session.scalars(select(Shard)).one()
    claim_one(store)
    with pytest.raises(ClaimRaced), store.database.write() as session:
        JobRepository(session).take(shard, "slower", LEASE, 10)

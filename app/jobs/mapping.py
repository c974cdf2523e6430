"""Maps records of jobs to their response schemas."""

from __future__ import annotations

from app.http.root_path import link
from app.http.schemas import FileWarning
from app.jobs.schemas import EventRead, JobError, JobRead, Kind, ProgressRead, ResultRead, Status
from store.db.tables import Event, Item, Job, Sample
from store.result_store import ResultStore, result_store


def to_job_read(job: Job) -> JobRead:
    return JobRead(
        id=job.id,
        kind=Kind(job.kind),
        status=Status(job.status),
        progress=ProgressRead(
            done=job.done,
            total=job.total,
            unit=job.unit,
            per_second=job.per_second,
            eta_seconds=job.eta_seconds,
        ),
        dataset=job.dataset_id,
        model=job.model_id,
        parameters={name: value for name, value in job.parameters.items() if name != "warnings"},
        warnings=[FileWarning.model_validate(warning) for warning in job.parameters.get("warnings", [])],
        metrics=job.metrics,
        attempt=job.attempt,
        priority=job.priority,
        created=job.created_at,
        started=job.started_at,
        finished=job.finished_at,
        expires=_expires(job),
        error=JobError.model_validate(job.error) if job.error else None,
        ended_early=job.finish_requested,
        counts=_counts(job),
        links=_links(job),
    )


def to_event_read(event: Event) -> EventRead:
    return EventRead(number=event.number, kind=event.kind, time=event.created_at, data=event.data)


def to_result_read(sample: Sample, item: Item) -> ResultRead:
    url = link(f"/jobs/{sample.job_id}/results/{sample.position}/{sample.sample}")
    return ResultRead(
        source=item.name,
        source_sha256=item.sha256,
        sample=sample.sample,
        status=sample.status,
        code=sample.code,
        message=sample.message,
        links={kind: f"{url}/{kind}" for kind in sample.files},
    )


def _links(job: Job) -> dict[str, str]:
    url = link(f"/jobs/{job.id}")
    links = {name: f"{url}/{name}" for name in ("events", "history", "cancel", "retry")} | {"self": url}
    if job.kind == Kind.train:
        links |= {name: f"{url}/{name}" for name in ("finish", "continue", "preview")}
    elif job.expired_at is None:
        links |= {name: f"{url}/{name}" for name in ("results", "archive")}
        if result_store(job.parameters) is ResultStore.shards:
            links["shards"] = f"{url}/shards"
    if job.model_id:
        links["model"] = link(f"/models/{job.model_id}")
    return links


def _counts(job: Job) -> dict[str, int]:
    counts = {"ok": job.ok, "failed": job.failed}
    if job.kind != Kind.train and (skipped := job.done - job.ok - job.failed):
        counts["skipped"] = skipped
    return counts


def _expires(job: Job) -> float | None:
    """Returns None for a succeeded training, which keeps everything; one that was ended early keeps its checkpoint."""
    permanent = job.kind == Kind.train and job.status == Status.succeeded and not job.finish_requested
    if job.finished_at is None or job.retention_seconds is None or permanent:
        return None
    return job.expired_at or job.finished_at + job.retention_seconds

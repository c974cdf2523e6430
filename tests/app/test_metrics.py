"""Prometheus metrics of a known database and queue."""

from __future__ import annotations

import shutil

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from store.repositories.jobs import JobRepository, Progress
from store.repositories.samples import NewItem, NewSample, SampleRepository
from store.store import Store
from tests.support.api import Api
from tests.support.store_factories import create_job
from worker.maintenance.measure_storage import MeasureStorage


def read_metrics(api: Api) -> dict[tuple[str, str], float]:
    """Returns metrics by name and labels, such as `kind=sr,status=failed`."""
    return {
        (sample.name, ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(api.http.get("/metrics").text)
        for sample in family.samples
    }


def create_job_in_state(
    store: Store, kind: str, *, status: str | None = None, code: str | None = None, seconds: float = 0
) -> str:
    with store.database.write() as session:
        jobs = JobRepository(session)
        created = create_job(session, kind, unit="images", total=3)
        if status is None:
            return created.id
        SampleRepository(session).add_items(
            created.id, [("a", NewItem("a.png", None, "corrupt_image", "It is corrupt."))]
        )
        claimed = jobs.claim(created.id, "worker", 60)
        assert claimed is not None
        failed = NewSample(0, 0, {}, "corrupt_image", "It is corrupt.")
        jobs.record(created.id, claimed.attempt, Progress(1, 3, 2.5, None), [failed])
        if status != "running":
            jobs.finish(created.id, claimed.attempt, status, {"code": code, "message": "words"} if code else None)
            session.expire_all()
            ended = jobs.get(created.id)
            assert ended is not None
            assert ended.finished_at is not None
            ended.started_at = ended.finished_at - seconds
        return created.id


def test_metrics_match_the_database_and_the_queue(api: Api) -> None:
    create_job_in_state(api.store, "sr", status="succeeded", seconds=3)
    create_job_in_state(api.store, "sr", status="succeeded", seconds=100)
    create_job_in_state(api.store, "degrade", status="failed", code="all_failed", seconds=2)
    create_job_in_state(api.store, "degrade", status="running")
    create_job_in_state(api.store, "sr")
    api.store.queue.enqueue(create_job_in_state(api.store, "degrade", status="canceled"), "degrade")
    heartbeats = [api.store.queue.heartbeat("warm", name) for name in ("big-host-gpu:1-a", "big-host-gpu:1-b", "pc-c")]
    for heartbeat in heartbeats:
        heartbeat.ping()
    api.store.queue.report_gpus(
        "host", {"0": {"used": 5, "total": 80, "utilization": 75}, "1": {"used": 0, "total": 8}}
    )
    api.store.queue.report_decoder_crashes("a worker", 2)
    metrics = read_metrics(api)
    for heartbeat in heartbeats:
        heartbeat.close()
    assert metrics["patina_jobs", "kind=sr,status=succeeded"] == 2
    assert metrics["patina_jobs", "kind=sr,status=queued"] == 1
    assert metrics["patina_job_failures", "code=all_failed,kind=degrade"] == 1
    assert metrics["patina_per_second", "kind=degrade,unit=images"] == 2.5
    assert metrics["patina_finished_samples", "kind=sr,outcome=failed"] == 2
    buckets = {
        le: metrics["patina_job_seconds_bucket", f"kind=sr,le={le},status=succeeded"]
        for le in ("1.0", "5.0", "60.0", "300.0", "+Inf")
    }
    assert buckets == {"1.0": 0, "5.0": 1, "60.0": 1, "300.0": 2, "+Inf": 2}
    assert abs(metrics["patina_job_seconds_sum", "kind=sr,status=succeeded"] - 103) < 1e-3
    assert metrics["patina_job_seconds_count", "kind=degrade,status=failed"] == 1
    assert metrics["patina_queue_depth", "queue=warm"] == 1
    assert metrics["patina_queue_depth", "queue=train"] == 0
    assert metrics["patina_workers", "queue=warm"] == 3
    assert metrics["patina_worker_processes", "gpu=1,host=big-host,queue=warm"] == 2
    assert metrics["patina_worker_processes", "gpu=,host=pc,queue=warm"] == 1
    assert metrics["patina_shards", "queue=warm,status=queued"] == 1
    assert metrics["patina_shards", "queue=warm,status=running"] == 1
    assert metrics["patina_shards", "queue=train,status=queued"] == 0
    assert metrics["patina_workers", "queue=train"] == 0
    assert metrics["patina_gpu_memory_used_bytes", "gpu=0,host=host"] == 5
    assert metrics["patina_gpu_memory_bytes", "gpu=0,host=host"] == 80
    assert metrics["patina_gpu_utilization_ratio", "gpu=0,host=host"] == 0.75
    assert ("patina_gpu_utilization_ratio", "gpu=1,host=host") not in metrics, "the driver does not report it"
    assert metrics["patina_decoder_crashes_total", "process=a worker"] == 2
    assert metrics["patina_decoder_crashes_total", "process=api"] == 0


def test_time_in_the_queue_is_measured(api: Api) -> None:
    waits = {"started": 3.0, "ended": 100.0, "waiting": 500.0}
    ids = {
        "started": create_job_in_state(api.store, "degrade", status="running"),
        "ended": create_job_in_state(api.store, "degrade", status="succeeded"),
        "waiting": create_job_in_state(api.store, "degrade"),
    }
    with api.store.database.write() as session:
        for name, job_id in ids.items():
            job = JobRepository(session).get(job_id)
            assert job is not None
            job.created_at = (job.started_at or job.created_at) - waits[name]
    metrics = read_metrics(api)
    buckets = [metrics["patina_queue_seconds_bucket", f"kind=degrade,le={le}"] for le in ("1.0", "5.0", "300.0")]
    assert buckets == [0, 1, 2]
    assert abs(metrics["patina_queue_seconds_sum", "kind=degrade"] - 103) < 1e-3
    assert 500 <= metrics["patina_queue_oldest_seconds", "queue=warm"] < 530
    assert metrics["patina_queue_oldest_seconds", "queue=train"] == 0


def test_request_latency_is_measured_by_route(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = api.create_dataset()
    for path in (f"/datasets/{dataset}", "/datasets/none", "/datasets/nobody", "/no/such/path", "/no/other/path"):
        api.http.get(path)
    api.http.request("BREW", "/health")
    monkeypatch.setattr("app.datasets.service.list_datasets", lambda *_: 1 / 0)
    api.http.get("/datasets")
    metrics = read_metrics(api)
    counts = {labels: n for (name, labels), n in metrics.items() if name == "patina_request_seconds_count"}
    assert counts == {
        "method=POST,route=/datasets,status=201": 1,
        "method=GET,route=/datasets/{dataset_id},status=200": 1,
        "method=GET,route=/datasets/{dataset_id},status=404": 2,
        "method=GET,route=/datasets,status=500": 1,
        "method=GET,route=other,status=404": 2,
        "method=other,route=/health,status=405": 1,
    }
    assert 0 < metrics["patina_request_seconds_sum", "method=POST,route=/datasets,status=201"] < 10


def test_connections_and_free_space_are_measured(api: Api) -> None:
    with api.store.database.read() as session:
        session.connection()
        metrics = read_metrics(api)
    assert metrics["patina_database_connections", "state=in_use"] >= 1
    assert metrics["patina_database_connections_limit", ""] == api.settings.database_connections
    free = shutil.disk_usage(api.settings.data_dir).free - api.settings.min_free_bytes
    assert abs(metrics["patina_free_bytes", ""] - free) < 2**30, "others write to the disk, too"


def test_the_reaper_measures_what_is_stored(api: Api) -> None:
    assert ("patina_stored_bytes", "") not in read_metrics(api)
    before = api.store.blobs.stored_bytes()
    api.store.blobs.put(b"x" * 1000)
    duty = MeasureStorage(api.store, api.settings)
    duty.run()
    assert read_metrics(api)["patina_stored_bytes", ""] == before + 1000
    api.store.blobs.put(b"y" * 1000)
    duty.run()
    assert read_metrics(api)["patina_stored_bytes", ""] == before + 1000, "measured once a minute"


def test_without_the_queue_other_metrics_are_returned(api: Api) -> None:
    create_job_in_state(api.store, "sr", status="succeeded", seconds=3)
    api.store.queue.redis = Redis(unix_socket_path="/nowhere")
    metrics = read_metrics(api)
    assert metrics["patina_jobs", "kind=sr,status=succeeded"] == 1
    assert not [name for name, _ in metrics if name.startswith("patina_workers")]

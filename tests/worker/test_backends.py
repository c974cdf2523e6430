"""The service on PostgreSQL, an external Redis and a bucket, instead of the embedded defaults."""

from __future__ import annotations

from pathlib import Path

from tests.support.images import make_photos
from tests.support.running_service import running_service


def test_a_job_survives_its_worker_on_other_backends(
    tmp_path: Path, postgresql_url: str, redis_url: str, bucket_url: str
) -> None:
    data_dir = tmp_path / "data"
    with running_service(
        data_dir, PATINA_DATABASE_URL=postgresql_url, PATINA_REDIS_URL=redis_url, PATINA_BLOBS_URL=bucket_url
    ) as service:
        dataset = service.create_dataset(lr=make_photos(2, 48))
        service.create_model(dataset)
        job_id = service.degrade(dataset, make_photos(2, 1500), samples=200)
        service.wait_until_running(job_id, 3)
        service.kill("worker", "warm")
        job = service.wait_until_finished(job_id)
        assert (job["status"], job["counts"]) == ("succeeded", {"ok": 400, "failed": 0})
        assert job["attempt"] >= 2
        assert service.http.get(f"/datasets/{dataset}").json()["last_job"]["id"] == job_id
        assert len(service.read_archive(job_id)) == 3 * 400 + 1
    assert not (data_dir / "patina.sqlite").exists()
    assert not (data_dir / "valkey").exists()
    assert not (data_dir / "blobs").exists()

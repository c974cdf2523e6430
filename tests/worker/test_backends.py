"""The service on PostgreSQL and on a Redis or Valkey of the user's own, instead of the embedded ones."""

from __future__ import annotations

from pathlib import Path

from tests.pictures import photos
from tests.worker.service import running_service


def test_work_and_a_dead_worker_on_postgresql(tmp_path: Path, postgresql_url: str, redis_url: str) -> None:
    data_dir = tmp_path / "data"
    with running_service(data_dir, PATINA_DATABASE_URL=postgresql_url, PATINA_REDIS_URL=redis_url) as service:
        dataset = service.dataset(lr=photos(2, 48))
        service.model(dataset)
        job_id = service.degrade(dataset, photos(2, 1500), samples=200)
        service.until_at_work(job_id, 3)
        service.kill("worker", "warm")
        job = service.until_finished(job_id)
        assert (job["status"], job["attempt"], job["counts"]) == ("succeeded", 2, {"ok": 400, "failed": 0})
        assert service.http.get(f"/datasets/{dataset}").json()["last_job"]["id"] == job_id
    assert not (data_dir / "patina.sqlite").exists()
    assert not (data_dir / "valkey").exists()

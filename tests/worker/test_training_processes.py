"""A training in several processes, as its worker runs it. They share the CPU; on a GPU computer each has a GPU."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from config.settings import Settings
from tests.support.running_service import Service, running_service
from worker.jobs.train import count_processes


def list_ranks(service: Service) -> list[psutil.Process]:
    """Returns the processes of the running training by rank, once all are there."""

    def find() -> dict[str, psutil.Process]:
        children = psutil.Process(service.process.pid).children(recursive=True)
        ranks = {child.environ().get("RANK", ""): child for child in children}
        return ranks if {"0", "1"} <= ranks.keys() else {}

    ranks = service.wait_until(find)
    return [ranks["0"], ranks["1"]]


def test_two_processes_train_and_survive_a_crash(tmp_path: Path) -> None:
    """One process is killed in the first steps, the other ends with it, and both continue from the checkpoint."""
    environment = {"PATINA_DEVICE": "cpu", "PATINA_TRAIN_PROCESSES": "2", "PATINA_CHECKPOINT_EVERY_SECONDS": "0.1"}
    with running_service(tmp_path / "data", **environment) as service:
        job_id = service.train(service.create_photo_dataset(), max_steps=8, seed=2)
        service.wait_until_logged(job=job_id, event="checkpoint saved")
        ranks = list_ranks(service)
        ranks[1].kill()
        service.wait_until_logged(job=job_id, event="training process died")
        assert not any(rank.is_running() for rank in ranks)
        job = service.wait_until_finished(job_id)
        assert (job["status"], job["attempt"], job["progress"]["done"]) == ("succeeded", 2, 8), job
        (resumed,) = service.find_logs(job=job_id, event="resuming from checkpoint")
        assert resumed["step"] > 0
        assert len(service.find_logs(event="training process died")) == 1


@pytest.mark.parametrize(
    ("device", "gpus", "expected"), [(None, 4, 3), (None, 2, 2), (None, 0, 1), ("cuda:1", 4, 1), ("cpu", 0, 3)]
)
def test_processes_of_a_training(device: str | None, gpus: int, expected: int) -> None:
    settings = Settings(device=device, train_processes=3)
    assert count_processes(settings, [str(number) for number in range(gpus)]) == expected

"""Rank 1 of trainings in two processes: `python -m tests.support.training_peer`. The test is rank 0 and sends tasks."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from training import follower
from training.config import TrainConfig
from training.data.photos import Photos
from training.distributed import process_group, share_object
from training.loop import train
from training.progress import Stopped


@dataclass(frozen=True)
class PeerTask:
    """Arguments of `train`, equal in both processes."""

    config: TrainConfig
    folder: Path  # with photos in `lr` and `hr`
    max_steps: int
    resume: Path | None = None
    dies: bool = False  # rank 1 ends at its first step, without a word

    def run(self, **callbacks: Any) -> Any:
        """Trains and returns the result."""
        photos = Photos(self.folder / "lr"), Photos(self.folder / "hr")
        return train(self.config, *photos, seed=1, max_steps=self.max_steps, resume=self.resume, **callbacks)


def run_tasks() -> None:
    torch.set_num_threads(1)
    with process_group("cpu"):
        while task := share_object():
            if task.dies:
                vars(follower)["joint_step"] = lambda *_: os._exit(1)
            with suppress(Stopped):
                task.run()


if __name__ == "__main__":
    run_tasks()

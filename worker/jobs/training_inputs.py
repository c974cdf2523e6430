"""What all processes of one training job train with. Rank 0 reads job and photos; the others get them from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from models.checkpoint import CheckpointError
from training.config import TrainConfig
from training.data.photos import PhotoCompression, Photos, PhotosError
from training.distributed import PeerLostError, share_object
from training.loop import TrainResult, train
from training.progress import Stopped
from training.warm_start import WarmStart, WarmStartError

ROLES = ("lr", "hr")

log = structlog.get_logger()


@dataclass(frozen=True)
class TrainingInputs:
    """The arguments of `train` that are the same in all processes. Paths are valid for all, on one computer."""

    config: TrainConfig
    parameters: Mapping[str, Any]  # of the job
    folder: Path  # of the decoded photos, in a folder for each role
    compressions: Mapping[str, list[PhotoCompression | None]]  # by role
    resume: Path | None
    warm_start: WarmStart | None

    def train(self, lr_photos: Photos, hr_photos: Photos, *, device: str, **callbacks: Any) -> TrainResult:
        """Trains, in rank 0 with its callbacks. Raises what `train` raises."""
        return train(
            self.config,
            lr_photos,
            hr_photos,
            seed=self.parameters["seed"],
            max_steps=self.parameters["max_steps"],
            max_minutes=self.parameters["max_minutes"],
            device=device,
            resume=self.resume,
            warm_start=self.warm_start,
            **callbacks,
        )

    def open_photos(self) -> list[Photos]:
        """Opens the photos that rank 0 has decoded."""
        opened = [Photos(self.folder / role) for role in ROLES]
        for role, photos in zip(ROLES, opened, strict=True):
            photos.compressions = list(self.compressions[role])
        return opened


def follow_training(device: str) -> None:
    """Trains with the inputs of rank 0, which records progress and outcome, also that the job has failed."""
    try:
        inputs: TrainingInputs = share_object()
        inputs.train(*inputs.open_photos(), device=device)
    except (Stopped, PhotosError, WarmStartError, CheckpointError):
        pass
    except PeerLostError as error:  # if that was a crash, the exit status of the one that crashed says so
        log.warning("training process lost", error=str(error))

"""Trained networks that stay in memory between jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import torch

from config.settings import Settings
from models.checkpoint import load_degradation, load_edsr
from models.compression import MissingEncoder, require_encoders
from models.device import choose_device, choose_devices
from models.inference.streaming import StreamingEDSR
from models.inference.triplet import TripletSampler
from store.db.tables import Model
from store.errors import BlobCorrupt, BlobMissing
from store.files.blobs import Blobs
from store.model_files import DEGRADER, SR
from worker.runtime.context import WorkerContext
from worker.runtime.outcome import JobFailedError

CACHE_SIZE = 4  # models of each kind, the last ones used
MAX_DEVICES = 8


def configure_torch(settings: Settings) -> None:
    """Sets the number of threads of torch. Importing this module loads torch."""
    torch.set_num_threads(settings.torch_threads)


@contextmanager
def single_threaded_torch(settings: Settings) -> Iterator[None]:
    """Inside, each new thread computes on one core, so that several threads do not compete for cores."""
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(settings.torch_threads)


def samplers_for(context: WorkerContext, model: Model) -> list[TripletSampler]:
    """Returns the model's sampler on each device of this worker."""
    sha256 = model.files[DEGRADER]
    return [_load_sampler(context.store.blobs, sha256, device) for device in choose_devices(context.settings.device)]


def edsr_for(context: WorkerContext, model: Model) -> StreamingEDSR:
    """Returns the model's super-resolution network."""
    return _load_edsr(context.store.blobs, model.files[SR], choose_device(context.settings.device))


@lru_cache(maxsize=CACHE_SIZE * MAX_DEVICES)
def _load_sampler(blobs: Blobs, sha256: str, device: str) -> TripletSampler:
    degradation = load_degradation(_verified_path(blobs, sha256), device)
    try:
        require_encoders(degradation.config.compressions)
    except MissingEncoder as error:
        raise JobFailedError("encoder_missing", f"{error} Then retry the job.") from error
    return TripletSampler(degradation)


@lru_cache(maxsize=CACHE_SIZE)
def _load_edsr(blobs: Blobs, sha256: str, device: str) -> StreamingEDSR:
    return StreamingEDSR(load_edsr(_verified_path(blobs, sha256), device))


def _verified_path(blobs: Blobs, sha256: str) -> Path:
    try:
        return blobs.verified_path(sha256)
    except (BlobMissing, BlobCorrupt) as error:
        raise JobFailedError(
            "model_corrupt",
            "A file of the model is missing or has changed on disk. Restore it from a backup and retry the job, or "
            "train again.",
        ) from error


def require_model(model: Model | None) -> Model:
    """Raises `JobFailedError` if the model was deleted after the job was accepted."""
    if model is None:
        raise JobFailedError("model_not_found", "The model was deleted. Send the request again with another model.")
    return model

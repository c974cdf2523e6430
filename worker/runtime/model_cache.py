"""Trained networks that stay in memory between jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import torch

from config.settings import Settings
from models.checkpoint import load_degradation, load_edsr
from models.device import choose_device, choose_devices
from models.inference.triplet import TripletMaker
from models.networks.edsr import EDSR
from store.db.tables import Model
from store.files.blobs import BlobDamagedError, Blobs
from worker.runtime.outcome import JobFailedError
from worker.runtime.worker import WorkerContext

DEGRADER, SR = "degrader.safetensors", "sr.safetensors"
KEPT = 4  # of each kind, the last that were used
MOST_DEVICES = 8


def prepare(settings: Settings) -> None:
    """Sets torch up for this process; importing this module has loaded it."""
    torch.set_num_threads(settings.torch_threads)


@contextmanager
def one_thread_each(settings: Settings) -> Iterator[None]:
    """Inside, threads that are started compute with one core each: so that several need not wait for each other."""
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(settings.torch_threads)


def makers_of(context: WorkerContext, model: Model) -> list[TripletMaker]:
    """The model's on each device that this worker has."""
    sha256 = model.files[DEGRADER]
    return [_maker(context.store.blobs, sha256, device) for device in choose_devices(context.settings.device)]


def edsr_of(context: WorkerContext, model: Model) -> EDSR:
    return _edsr(context.store.blobs, model.files[SR], choose_device(context.settings.device))


@lru_cache(maxsize=KEPT * MOST_DEVICES)
def _maker(blobs: Blobs, sha256: str, device: str) -> TripletMaker:
    return TripletMaker(load_degradation(_whole(blobs, sha256), device))


@lru_cache(maxsize=KEPT)
def _edsr(blobs: Blobs, sha256: str, device: str) -> EDSR:
    return load_edsr(_whole(blobs, sha256), device)


def _whole(blobs: Blobs, sha256: str) -> Path:
    try:
        return blobs.verified(sha256)
    except (FileNotFoundError, BlobDamagedError) as error:
        raise JobFailedError(
            "model_damaged",
            "A file of the model is gone or has changed on disk. Restore it from a backup and retry the job, or train "
            "again.",
        ) from error


def require_model(model: Model | None) -> Model:
    """Raises `JobFailedError` for a model that was deleted after the job was accepted."""
    if model is None:
        raise JobFailedError("model_not_found", "The model was deleted meanwhile; send the request with another.")
    return model

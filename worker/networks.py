"""Trained networks that stay in memory between jobs."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch

from config.settings import Settings
from models.checkpoint import load_degradation, load_edsr
from models.degradation import Degradation
from models.device import choose_device
from models.edsr import EDSR
from store.tables import Model
from worker.conclusion import JobFailedError
from worker.process import WorkerContext

DEGRADER, SR = "degrader.safetensors", "sr.safetensors"
KEPT = 4  # of each kind, the last that were used


def prepare(settings: Settings) -> None:
    """Sets torch up for this process; importing this module has loaded it."""
    torch.set_num_threads(settings.torch_threads)


def degradation_of(context: WorkerContext, model: Model) -> Degradation:
    return _degradation(context.store.blobs.path(model.files[DEGRADER]), choose_device(context.settings.device))


def edsr_of(context: WorkerContext, model: Model) -> EDSR:
    return _edsr(context.store.blobs.path(model.files[SR]), choose_device(context.settings.device))


@lru_cache(maxsize=KEPT)
def _degradation(path: Path, device: str) -> Degradation:
    return load_degradation(path, device)


@lru_cache(maxsize=KEPT)
def _edsr(path: Path, device: str) -> EDSR:
    return load_edsr(path, device)


def require_model(model: Model | None) -> Model:
    """Raises `JobFailedError` for a model that was deleted after the job was accepted."""
    if model is None:
        raise JobFailedError("model_not_found", "The model was deleted meanwhile; send the request with another.")
    return model

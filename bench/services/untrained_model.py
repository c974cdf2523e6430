"""Stores a model without a training: its networks have random weights, the same ones on every service."""

from __future__ import annotations

import torch

from models.checkpoint import save_degradation, save_edsr
from models.degradation import Degradation, DegradationConfig
from models.networks.edsr import EDSR, EDSRConfig
from store.ids import new_id
from store.model_files import DEGRADER, SR
from store.repositories.models import ModelRepository
from store.store import Store

SR_WIDTH, SR_BLOCKS = 16, 4


def add_untrained_model(store: Store, dataset_id: str, scale: int) -> str:
    """Adds the model to a dataset as a training does. Returns its id."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        degradation, edsr = Degradation(DegradationConfig(scale)), EDSR(EDSRConfig(scale, SR_WIDTH, SR_BLOCKS))
        for parameter in (*degradation.parameters(), *edsr.parameters()):  # initialized networks ignore z
            parameter.data += 0.1 * torch.randn(parameter.shape)
    with store.blobs.scratch() as folder:
        save_degradation(degradation, folder / DEGRADER)
        save_edsr(edsr, folder / SR)
        files = {name: store.blobs.put_file(folder / name) for name in (DEGRADER, SR)}
    with store.database.write() as session:
        model = ModelRepository(session).create(
            dataset_id=dataset_id,
            job_id=new_id(),  # of no job
            preset="default",
            scale=scale,
            kernel_origin=degradation.kernel_origin,
            steps=0,
            seconds=0.0,
            files=files,
            history=[],
        )
    return model.id

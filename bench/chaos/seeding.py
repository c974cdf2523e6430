"""Creates a model without a training: small networks with random weights, identical on every service."""

from __future__ import annotations

import torch

from bench.services.service import Service
from models.checkpoint import save_degradation, save_edsr
from models.degradation import Degradation, DegradationConfig
from models.networks.edsr import EDSR, EDSRConfig
from store.model_files import DEGRADER, SR
from store.repositories.datasets import DatasetRepository
from store.repositories.models import ModelRepository

SCALE = 4


def seed_model(service: Service) -> str:
    """Records the model as a training does. Returns its id."""
    generator = torch.Generator().manual_seed(0)
    networks = Degradation(DegradationConfig(SCALE)), EDSR(EDSRConfig(SCALE, width=16, blocks=4))
    for network in networks:
        for parameter in network.parameters():  # the initial weights are not seeded
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    store = service.open_store()
    try:
        with store.blobs.scratch() as folder:
            save_degradation(networks[0], folder / DEGRADER)
            save_edsr(networks[1], folder / SR)
            files = {name: store.blobs.put_file(folder / name) for name in (DEGRADER, SR)}
        with store.database.write() as session:
            dataset = DatasetRepository(session).create("seeded", SCALE)
            model = ModelRepository(session).create(
                dataset_id=dataset.id,
                job_id=dataset.id,
                preset="seed",
                scale=SCALE,
                kernel_origin=networks[0].kernel_origin,
                steps=1,
                seconds=1.0,
                files=files,
                history=[],
            )
        return model.id
    finally:
        store.close()

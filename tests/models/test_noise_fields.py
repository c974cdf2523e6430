from __future__ import annotations

import pytest
import torch
from torch import nn

import models.inference.noise_fields
from models.inference.noise_fields import FilteredNoiseSampler
from models.networks.noise import NoiseConfig, NoiseNetwork


def make_network(batch_norm: bool, blocks: int, num_filters: int, uniform: bool, edges: bool) -> NoiseNetwork:
    config = NoiseConfig(
        condition_on_image=True,
        dim=3,
        width=8,
        blocks=blocks,
        batch_norm=batch_norm,
        num_filters=num_filters,
        uniform_latent=uniform,
        edge_noise=0.2 if edges else 0.0,
    )
    network = NoiseNetwork(config)
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features, generator=generator)
            module.running_var = torch.rand(module.num_features, generator=generator) + 0.5
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("batch_norm", "blocks", "num_filters", "uniform", "edges"),
    [(False, 1, 4, True, False), (False, 1, 4, True, True), (True, 2, 3, False, False), (True, 0, 1, False, True)],
)
@pytest.mark.parametrize("size", [(1, 1), (3, 50), (37, 23), (101, 64)])
def test_the_sampler_draws_its_networks_noise(
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    batch_norm: bool,
    blocks: int,
    num_filters: int,
    uniform: bool,
    edges: bool,
) -> None:
    model = make_network(batch_norm, blocks, num_filters, uniform, edges)
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(1, 3, 1, 1, generator=generator)
    blurred = 255 * torch.rand(1, 3, *size, generator=generator)
    white = torch.randn(1, 3, size[0] + 4, size[1] + 4, generator=generator)
    expected = model(z, blurred / 255, white)
    sampler = FilteredNoiseSampler(model)
    for chunk_pixels in (models.inference.noise_fields.CHUNK_PIXELS, 300):  # in one chunk, and in bands
        monkeypatch.setattr(models.inference.noise_fields, "CHUNK_PIXELS", chunk_pixels)
        noise = sampler.draw(z, blurred, white)
        assert noise.shape == (1, 3, *size)
        assert (noise - expected).abs().max() < 1e-5 * expected.abs().max()
        assert torch.equal(sampler.draw(z, blurred, white), noise)

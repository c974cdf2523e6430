from __future__ import annotations

import math

import pytest
import torch

from training.spectra import FLOOR, OPPONENT, Spectra, energy_distance


def test_white_noise_has_its_variance_at_every_frequency() -> None:
    noise = 0.5 + 6 / 255 * torch.randn(400, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    power = Spectra(32, "cpu")(noise).exp() - FLOOR
    torch.testing.assert_close(power.mean(0), torch.full_like(power[0], 36), rtol=0.12, atol=0)


def test_a_wave_is_found_at_its_frequency_and_colour() -> None:
    _, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    wave = torch.cos(2 * math.pi * 0.35 * x)
    grey = Spectra(32, "cpu")((0.5 + 0.1 * wave).expand(1, 3, 32, 32))[0]
    red_blue = Spectra(32, "cpu")(0.5 + 0.1 * torch.stack([wave, 0 * wave, -wave])[None])[0]
    assert grey.max(1).indices[0] == red_blue.max(1).indices[1]
    assert grey[1:].max() < math.log(FLOOR) + 0.1
    assert red_blue[[0, 2]].max() < math.log(FLOOR) + 0.5
    along = Spectra(32, "cpu")((0.5 + 0.1 * wave.T).expand(1, 3, 32, 32))[0]
    assert along[0].argmax() != grey[0].argmax()


def test_opponent_colours_are_a_turn() -> None:
    colours = torch.tensor(OPPONENT)
    torch.testing.assert_close(colours @ colours.T, torch.eye(3), atol=2e-3, rtol=0)


def test_energy_distance_by_direct_summation() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(5, 2, generator=generator), torch.randn(4, 2, generator=generator) + 1

    def mean(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
        return sum(math.dist(a.tolist(), b.tolist()) for a, b in pairs) / len(pairs)

    expected = (
        2 * mean([(a, b) for a in one for b in other])
        - mean([(a, b) for i, a in enumerate(one) for j, b in enumerate(one) if i != j])
        - mean([(a, b) for i, a in enumerate(other) for j, b in enumerate(other) if i != j])
    )
    assert energy_distance(one, other).item() == pytest.approx(expected, rel=1e-5)


def test_energy_distance_is_unbiased() -> None:
    generator = torch.Generator().manual_seed(0)
    distances = [
        energy_distance(torch.randn(4, 2, generator=generator), torch.randn(4, 2, generator=generator)).item()
        for _ in range(2000)
    ]
    assert abs(sum(distances) / 2000) < 0.05

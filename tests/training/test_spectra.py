"""Power spectra of known signals, and energy distances by direct summation."""

from __future__ import annotations

import math

import pytest
import torch

from training.estimator.spectra import (
    K_NEAREST,
    OPPONENT,
    POWER_FLOOR,
    Spectra,
    energy_distance,
    energy_distance_given_brightness,
    energy_distance_of_differences,
)


def test_white_noise_has_its_variance_at_every_frequency() -> None:
    noise = 128 + 6 * torch.randn(400, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    power = Spectra().log_power(noise).exp() - POWER_FLOOR
    torch.testing.assert_close(power.mean(0), torch.full_like(power[0], 36), rtol=0.12, atol=0)


def test_wave_appears_at_its_frequency_and_color() -> None:
    wave = 30 * torch.cos(2 * math.pi * 0.35 * torch.arange(32.0)).expand(32, 32)
    spectra = Spectra()
    gray = spectra.log_power((128 + wave).expand(1, 3, 32, 32))[0]
    red_blue = spectra.log_power(128 + torch.stack([wave, 0 * wave, -wave])[None])[0]
    assert gray.argmax(1)[0] == red_blue.argmax(1)[1]
    assert gray[1:].max() < math.log(POWER_FLOOR) + 0.1
    along = spectra.log_power((128 + wave.T).expand(1, 3, 32, 32))[0]
    assert along[0].argmax() != gray[0].argmax()


def test_response_of_a_gaussian_is_a_gaussian() -> None:
    offset = torch.arange(24) - 11.5
    for sigma in (1.0, 2.5):
        kernel = (-(offset[:, None] ** 2 + offset[None] ** 2) / (2 * sigma**2)).exp()
        response = Spectra().kernel_power_response((kernel / kernel.sum())[None], scale=4)[0]
        spectra = Spectra()
        y, x = spectra.frequencies[:, None] / 4, spectra.frequencies[:17].abs()[None] / 4
        expected = (-4 * math.pi**2 * sigma**2 * (y**2 + x**2)).exp().flatten() @ spectra.bin_weights
        torch.testing.assert_close(response, expected, atol=2e-4, rtol=0)


def test_opponent_colors_are_a_rotation() -> None:
    opponent = torch.tensor(OPPONENT)
    torch.testing.assert_close(opponent @ opponent.T, torch.eye(3), atol=2e-3, rtol=0)


def test_energy_distance_by_direct_summation() -> None:
    generator = torch.Generator().manual_seed(0)
    generated, real = torch.randn(5, 2, generator=generator), torch.randn(4, 2, generator=generator) + 1

    def mean(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
        return sum(math.dist(a.tolist(), b.tolist()) for a, b in pairs) / len(pairs)

    between = mean([(a, b) for a in generated for b in real])
    within = mean([(a, b) for i, a in enumerate(generated) for j, b in enumerate(generated) if i != j])
    assert energy_distance(generated, real).item() == pytest.approx(2 * between - within, rel=1e-5)


def test_energy_distance_given_brightness_by_summation() -> None:
    generator = torch.Generator().manual_seed(0)
    generated, real = torch.randn(6, 2, generator=generator), torch.randn(80, 2, generator=generator)
    brightness, real_brightness = torch.randn(6, generator=generator), torch.randn(80, generator=generator)
    total, pairs = 0.0, [(i, j) for i in range(6) for j in range(6) if i // 2 != j // 2]
    for i, j in pairs:
        nearest = sorted(range(80), key=lambda index: abs(real_brightness[index] - brightness[j]))[:K_NEAREST]
        first, second = ([*generated[index].tolist(), brightness[index].item()] for index in (i, j))
        between = [math.dist(first, [*real[index].tolist(), brightness[j].item()]) for index in nearest]
        total += 2 * sum(between) / K_NEAREST - math.dist(first, second)
    distance = energy_distance_given_brightness(generated, brightness, real, real_brightness, group_size=2)
    assert distance.item() == pytest.approx(total / len(pairs), rel=1e-5)


@pytest.mark.parametrize("offset", [0.0, 4.0])
def test_distance_given_brightness_is_least_for_the_truth(offset: float) -> None:
    """If all generated photos are darker than the real ones, the truth is that of the darkest real ones."""

    def mean_distance(slope: float, level: float, spread: float) -> float:
        total, draws = 0.0, torch.Generator().manual_seed(1)
        for _ in range(500):
            brightness = 4 * torch.rand(6, generator=draws) - offset
            real_brightness = 4 * torch.rand(600, generator=draws)
            generated = level + slope * brightness[:, None] + spread * torch.randn(6, 1, generator=draws)
            real = real_brightness[:, None] + torch.randn(600, 1, generator=draws)
            total += energy_distance_given_brightness(generated, brightness, real, real_brightness).item()
        return total

    truth = {"slope": 0.0 if offset else 1.0, "level": 0.0, "spread": 1.0}
    least = mean_distance(**truth)
    for wrong in ({"slope": truth["slope"] + 0.5}, {"slope": truth["slope"] - 0.5}, {"level": 0.5}, {"level": -0.5}):
        assert mean_distance(**truth | wrong) > least
    assert mean_distance(**truth | {"spread": 0.5}) > least
    assert mean_distance(**truth | {"spread": 1.5}) > least


def test_energy_distance_of_differences_by_summation() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(5, 2, generator=generator), torch.randn(4, 2, generator=generator)
    generated, real = (
        [(sign * vector).tolist() for vector in vectors for sign in (1, -1)] for vectors in (first, second)
    )
    between = [math.dist(a, b) for a in generated for b in real]
    within = [math.dist(a, b) for i, a in enumerate(generated) for j, b in enumerate(generated) if i // 2 != j // 2]
    expected = 2 * sum(between) / len(between) - sum(within) / len(within)
    assert energy_distance_of_differences(first, second).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("content_std", "group_size"), [(0.0, 1), (1.0, 2)])
def test_small_batches_prefer_the_true_spread(content_std: float, group_size: int) -> None:
    """This also holds if predictions depend on content, and generated photos come in pairs of one content."""
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(1000, 1, generator=generator) + content_std * torch.randn(1000, 1, generator=generator)
    totals = dict.fromkeys((0.6, 1.0, 1.4), 0.0)
    for _ in range(3000):
        degradation = torch.randn(4, 1, generator=generator)
        content = content_std * torch.randn(4 // group_size, 1, generator=generator).repeat_interleave(group_size, 0)
        for spread in totals:
            totals[spread] += energy_distance(spread * degradation + content, real, group_size).item()
    assert totals[1.0] < totals[0.6]
    assert totals[1.0] < totals[1.4]

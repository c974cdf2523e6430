from __future__ import annotations

import math

import pytest
import torch

from training.estimator.spectra import (
    FLOOR,
    NEAREST,
    OPPONENT,
    Spectra,
    energy_distance,
    energy_distance_in_light,
    energy_distance_of_differences,
)


def test_white_noise_has_its_variance_at_every_frequency() -> None:
    noise = 128 + 6 * torch.randn(400, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    power = Spectra().log_power(noise).exp() - FLOOR
    torch.testing.assert_close(power.mean(0), torch.full_like(power[0], 36), rtol=0.12, atol=0)


def test_a_wave_is_found_at_its_frequency_and_colour() -> None:
    wave = 30 * torch.cos(2 * math.pi * 0.35 * torch.arange(32.0)).expand(32, 32)
    spectra = Spectra()
    grey = spectra.log_power((128 + wave).expand(1, 3, 32, 32))[0]
    red_blue = spectra.log_power(128 + torch.stack([wave, 0 * wave, -wave])[None])[0]
    assert grey.argmax(1)[0] == red_blue.argmax(1)[1]
    assert grey[1:].max() < math.log(FLOOR) + 0.1
    along = spectra.log_power((128 + wave.T).expand(1, 3, 32, 32))[0]
    assert along[0].argmax() != grey[0].argmax()


def test_a_gaussians_response_is_a_gaussian() -> None:
    offset = torch.arange(24) - 11.5
    for sigma in (1.0, 2.5):
        kernel = (-(offset[:, None] ** 2 + offset[None] ** 2) / (2 * sigma**2)).exp()
        response = Spectra().of_kernels((kernel / kernel.sum())[None], scale=4)[0]
        spectra = Spectra()
        y, x = spectra.frequencies[:, None] / 4, spectra.frequencies[:17].abs()[None] / 4
        expected = (-4 * math.pi**2 * sigma**2 * (y**2 + x**2)).exp().flatten() @ spectra.pools
        torch.testing.assert_close(response, expected, atol=2e-4, rtol=0)


def test_opponent_colours_are_a_turn() -> None:
    colours = torch.tensor(OPPONENT)
    torch.testing.assert_close(colours @ colours.T, torch.eye(3), atol=2e-3, rtol=0)


def test_energy_distance_by_direct_summation() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(5, 2, generator=generator), torch.randn(4, 2, generator=generator) + 1

    def mean(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
        return sum(math.dist(a.tolist(), b.tolist()) for a, b in pairs) / len(pairs)

    between = mean([(a, b) for a in one for b in other])
    within = mean([(a, b) for i, a in enumerate(one) for j, b in enumerate(one) if i != j])
    assert energy_distance(one, other).item() == pytest.approx(2 * between - within, rel=1e-5)


def test_energy_distance_in_light_by_direct_summation() -> None:
    generator = torch.Generator().manual_seed(0)
    made, real = torch.randn(6, 2, generator=generator), torch.randn(80, 2, generator=generator)
    light, light_real = torch.randn(6, generator=generator), torch.randn(80, generator=generator)
    total, pairs = 0.0, [(i, j) for i in range(6) for j in range(6) if i // 2 != j // 2]
    for i, j in pairs:
        nearest = sorted(range(80), key=lambda one: abs(light_real[one] - light[j]))[:NEAREST]
        here, there = ([*made[one].tolist(), light[one].item()] for one in (i, j))
        between = [math.dist(here, [*real[one].tolist(), light[j].item()]) for one in nearest]
        total += 2 * sum(between) / NEAREST - math.dist(here, there)
    distance = energy_distance_in_light(made, light, real, light_real, per_place=2)
    assert distance.item() == pytest.approx(total / len(pairs), rel=1e-5)


@pytest.mark.parametrize("offset", [0.0, 4.0])
def test_energy_distance_in_light_is_least_for_what_is_told_in_that_light(offset: float) -> None:
    """Also where made photos are darker than real ones: then for what is told of the darkest of these."""

    def mean_distance(slope: float, level: float, spread: float) -> float:
        total, draws = 0.0, torch.Generator().manual_seed(1)
        for _ in range(500):
            light, light_real = 4 * torch.rand(6, generator=draws) - offset, 4 * torch.rand(600, generator=draws)
            made = level + slope * light[:, None] + spread * torch.randn(6, 1, generator=draws)
            real = light_real[:, None] + torch.randn(600, 1, generator=draws)
            total += energy_distance_in_light(made, light, real, light_real).item()
        return total

    right = {"slope": 0.0 if offset else 1.0, "level": 0.0, "spread": 1.0}
    least = mean_distance(**right)
    for wrong in ({"slope": right["slope"] + 0.5}, {"slope": right["slope"] - 0.5}, {"level": 0.5}, {"level": -0.5}):
        assert mean_distance(**right | wrong) > least
    assert mean_distance(**right | {"spread": 0.5}) > least
    assert mean_distance(**right | {"spread": 1.5}) > least


def test_energy_distance_of_differences_by_direct_summation() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(5, 2, generator=generator), torch.randn(4, 2, generator=generator)
    made, real = ([(sign * vector).tolist() for vector in of for sign in (1, -1)] for of in (one, other))
    between = [math.dist(a, b) for a in made for b in real]
    within = [math.dist(a, b) for i, a in enumerate(made) for j, b in enumerate(made) if i // 2 != j // 2]
    expected = 2 * sum(between) / len(between) - sum(within) / len(within)
    assert energy_distance_of_differences(one, other).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("shown", "per_place"), [(0.0, 1), (1.0, 2)])
def test_energy_distance_of_small_batches_is_least_at_the_true_spread(shown: float, per_place: int) -> None:
    """Also where photos are told by what they show, too, and are made two and two of one place."""
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(1000, 1, generator=generator) + shown * torch.randn(1000, 1, generator=generator)
    totals = dict.fromkeys((0.6, 1.0, 1.4), 0.0)
    for _ in range(3000):
        degradation = torch.randn(4, 1, generator=generator)
        place = shown * torch.randn(4 // per_place, 1, generator=generator).repeat_interleave(per_place, 0)
        for spread in totals:
            totals[spread] += energy_distance(spread * degradation + place, real, per_place).item()
    assert totals[1.0] < totals[0.6]
    assert totals[1.0] < totals[1.4]

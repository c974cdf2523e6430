from __future__ import annotations

import math

import pytest
import torch

from training.data.simulation import in_other_light, random_kernels, random_noise
from training.estimator.network import NOISE_RINGS, Estimator, Statistics


def test_a_kernels_targets_grow_with_its_width_and_know_its_direction() -> None:
    statistics = Statistics(4)
    offset = torch.arange(24) - 11.5

    def targets(across: float, down: float) -> torch.Tensor:
        kernel = (-((offset[:, None] / down) ** 2) / 2 - (offset[None] / across) ** 2 / 2).exp()
        return statistics.of_kernels((kernel / kernel.sum())[None])[0]

    # For a Gaussian they are the root of -log response: 2π · width · frequency, so in proportion to the width.
    torch.testing.assert_close(targets(2, 2), 2 * targets(1, 1), rtol=0.02, atol=0.02)
    wide, tall = targets(2, 1), targets(1, 2)
    assert (wide - tall).abs().max() > 0.5
    torch.testing.assert_close(wide.sort().values, tall.sort().values, rtol=0.1, atol=0.1)


def test_noise_targets_are_its_level_colour_and_tilt() -> None:
    generator = torch.Generator().manual_seed(0)
    blurred = torch.zeros(8, 3, 64, 64)
    blurred[:, :, :, 32:] = 200
    white = torch.randn(8, 3, 64, 64, generator=generator)
    rings = len(NOISE_RINGS)
    statistics = Statistics(4)
    told = statistics.of_noise(5 * white, blurred, 4)
    assert told.shape == (2, 3 * rings + 1)
    torch.testing.assert_close(told[:, :-1], torch.full((2, 3 * rings), math.sqrt(5)), atol=0.1, rtol=0)
    assert told[:, -1].abs().max() < 0.05
    shaded = statistics.of_noise(white * (2 + 4 * (blurred > 0)), blurred, 4)
    assert shaded[:, -1].tolist() == pytest.approx([math.log(3)] * 2, abs=0.05)
    grey = statistics.of_noise(5 * white[:, :1].expand(-1, 3, -1, -1), blurred, 4)
    assert (grey[:, :rings] - grey[:, rings : 2 * rings]).min() > 2


def test_windows_are_of_the_photo_they_are_cut_from() -> None:
    generator = torch.Generator().manual_seed(0)
    crops = 255 * torch.rand(6, 3, 64, 64, generator=generator)
    statistics = Statistics(4)
    quality = torch.tensor([100.0, 100, 100, 60, 60, 60])
    both = statistics.windows(crops, quality, 3)
    assert both.shape == (2, 27, Estimator().features)
    torch.testing.assert_close(both[1], statistics.windows(crops[3:], quality[3:], 3)[0])
    single = statistics.windows(crops[4:5, :, 16:48, :32], quality[4:5], 1)
    torch.testing.assert_close(both[1, 9 + 3], single[0, 0])


def test_what_never_varies_among_the_examples_does_no_harm() -> None:
    estimator = Estimator(width=16)
    windows = torch.zeros(4, 9, estimator.features)
    estimator.scale_to(windows, torch.rand(4, estimator.kernel_targets), torch.rand(4, estimator.noise_targets))
    assert torch.isfinite(estimator(windows)).all()


def test_windows_count_in_any_order_and_number() -> None:
    generator = torch.Generator().manual_seed(0)
    estimator = Estimator(width=16)
    windows = torch.randn(2, 9, estimator.features, generator=generator)
    told = estimator(windows)
    torch.testing.assert_close(estimator(windows.flip(1)), told)
    torch.testing.assert_close(estimator(windows.repeat(1, 3, 1)), told, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_random_kernels_are_centred_and_of_all_widths(scale: int) -> None:
    size = 20 + scale
    kernel = random_kernels(400, size, scale, torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(kernel.sum((1, 2)).float(), torch.ones(400))
    assert kernel.min() >= 0
    offset = torch.arange(size) - (size - 1) / 2
    assert (kernel.sum(1) @ offset.double()).abs().max() < 1e-6
    width = (kernel.sum(1) @ offset.double() ** 2).sqrt() / scale
    assert width.min() < 0.3
    assert width.max() > 0.9


def test_random_noise_is_one_kind_for_a_photo() -> None:
    noise = random_noise(torch.full((80, 3, 64, 64), 128.0), 4, torch.Generator().manual_seed(0))
    level = noise.std((1, 2, 3)).view(20, 4)
    assert (level.std(1) < 0.1 * level.mean(1)).all()
    assert level.mean(1).min() < 1.5
    assert level.mean(1).max() > 8
    neighbours = (noise[..., 1:] * noise[..., :-1]).mean((1, 2, 3)) / noise.square().mean((1, 2, 3))
    assert neighbours.max() > 0.2
    assert neighbours.abs().median() < 0.1


def test_random_noise_is_coarse_or_fine_and_of_one_colour_or_another() -> None:
    """And each apart from the other, so that nothing can be concluded from one part of a spectrum to another."""
    noise = random_noise(torch.full((1600, 3, 32, 32), 128.0), 4, torch.Generator().manual_seed(0))
    photo = noise.view(400, -1)
    neighbours = (noise[..., 1:] * noise[..., :-1]).view(400, -1).sum(1) / photo.square().sum(1)
    red_blue = torch.stack([noise[:, 0], noise[:, 2]]).view(2, 400, -1)
    shared = red_blue.prod(0).sum(1) / red_blue.norm(dim=2).prod(0)
    for correlation in (neighbours, shared):  # three of ten or more of each kind are independent
        assert 0.3 < (correlation.abs() < 0.05).float().mean() < 0.8
        assert (correlation < -0.15).float().mean() > 0.03
        assert (correlation > 0.15).float().mean() > 0.1
    assert torch.corrcoef(torch.stack([neighbours, shared]))[0, 1].abs() < 0.15


def test_crops_of_a_photo_are_seen_in_one_light() -> None:
    generator = torch.Generator().manual_seed(0)
    photos = torch.rand(2, 3, 8, 8, generator=generator).repeat_interleave(3, 0)
    photos[:, 0] *= 0.5
    lit = in_other_light(photos, 3, generator)
    assert lit.shape == photos.shape
    assert lit.min() >= 0
    assert lit.max() <= 1
    for photo in (0, 3):
        torch.testing.assert_close(lit[photo], lit[photo + 2])
        assert not torch.allclose(lit[photo], photos[photo])
    assert not torch.allclose(lit[0], lit[3])

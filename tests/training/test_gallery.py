"""A gallery of a degradation whose kernels and noise are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from patina.demo.camera import blur_and_downsample
from tests.support.degradation_stubs import SIZE, make_stub
from tests.support.training_factories import PhotoSets, have_same_weights, make_config
from training.loop import train
from training.progress import Progress
from training.report.gallery import NOISE_GAIN, Gallery, make_gallery, make_grid


@pytest.fixture(scope="module")
def gallery(photos: PhotoSets) -> Gallery:
    return make_gallery(make_stub(), *photos, seed=3)


def test_widths_and_transfer_are_those_of_gaussians(gallery: Gallery) -> None:
    assert len(gallery.widths) == 128
    assert all(0.9 < width.minor <= width.major < 2.6 for width in gallery.widths)
    assert all(0 <= width.angle < 180 for width in gallery.widths)
    assert gallery.transfer[0].mean == pytest.approx(1)
    # Round Gaussians with sigmas of 1 and 2.5 pixels bound the response of all kernels.
    for response in gallery.transfer[1:8]:
        low, high = (math.exp(-2 * (math.pi * sigma * response.frequency) ** 2) for sigma in (2.6, 0.95))
        assert low <= response.p5 <= response.mean <= response.p95 <= high


def test_noise_is_white_with_the_cameras_std(gallery: Gallery) -> None:
    centers = gallery.hist_start + gallery.bin_width * (np.arange(len(gallery.noise_hist)) + 0.5)
    shares = np.array(gallery.noise_hist)
    assert shares.sum() == pytest.approx(1)
    assert abs((shares * centers).sum()) < 0.3
    assert 3 < math.sqrt((shares * centers**2).sum()) < 7
    correlation = np.array(gallery.noise_correlation)
    assert correlation[3, 3] == pytest.approx(1)
    correlation[3, 3] = 0
    assert np.abs(correlation).max() < 0.05


def test_half_of_the_patches_are_from_real_photos(gallery: Gallery, photos: PhotoSets) -> None:
    assert sum(gallery.real) == len(gallery.real) / 2

    def is_from_a_real_photo(patch: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bool:
        side = patch.shape[0]
        for photo in (photos[0][index] for index in range(len(photos[0]))):
            windows = np.lib.stride_tricks.sliding_window_view(photo, (side, side), axis=(0, 1))
            if (windows == patch.transpose(2, 0, 1)).all((2, 3, 4)).any():
                return True
        return False

    real = [is_from_a_real_photo(patch.permute(1, 2, 0).numpy()) for patch in gallery.patches]
    assert tuple(real) == gallery.real
    grid = make_grid(gallery.patches, 6)
    side = gallery.patches.shape[-1]
    assert torch.equal(grid[side : 2 * side, :side].permute(2, 0, 1), gallery.patches[6])


def test_example_panels_add_up(gallery: Gallery) -> None:
    """The clean patch, blurred by its kernel and with its noise, is the generated patch."""
    for panels, kernel in zip(gallery.examples, gallery.example_kernels, strict=True):
        clean, lr, noise = (panel.permute(1, 2, 0).double().numpy() for panel in panels)
        inside = slice(4, -4)  # the panels lack the context of the patch
        noise = (noise[::4, ::4] - 127.5) / NOISE_GAIN
        expected = blur_and_downsample(clean, kernel.numpy(), ((4 - SIZE) // 2,) * 2, 4) + noise
        difference = np.clip(expected, 0, 255)[inside, inside] - lr[::4, ::4][inside, inside]
        assert np.quantile(np.abs(difference), 0.99) < 1.2  # of 255: all three were rounded, noise is clipped at 21


def test_bad_kernels_and_colors_raise_alarms(photos: PhotoSets) -> None:
    bad = make_gallery(make_stub(one_kernel=True, shift=1.0, tint=(8, 0, 0)), *photos, seed=0)
    assert {alarm.code for alarm in bad.alarms} == {"kernels_collapsed", "kernels_off_center", "color_shift"}
    assert bad.kernels.shape == (24, SIZE, SIZE)


@pytest.mark.parametrize("name", ["seed", "default"])
def test_gallery_does_not_affect_the_training(photos: PhotoSets, name: str) -> None:
    galleries = []

    def on_progress(progress: Progress) -> None:
        torch.manual_seed(1)
        before = torch.get_rng_state()
        galleries.append(make_gallery(progress.degradation, *photos, seed=0))
        assert torch.equal(torch.get_rng_state(), before)

    config = make_config(name)
    watched = train(config, *photos, seed=1, max_steps=4, on_progress=on_progress)
    assert galleries
    assert have_same_weights(watched, train(config, *photos, seed=1, max_steps=4))

"""What is shown of a degradation, against what it was built to be."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from patina.demo.camera import blur_and_downsample
from tests.training.networks import Both, same, small
from tests.training.stubs import SIZE, camera
from training.loop import Progress, train
from training.report.gallery import NOISE_GAIN, Gallery, gallery_of, grid_of


@pytest.fixture(scope="module")
def gallery(photos: Both) -> Gallery:
    return gallery_of(camera(), *photos, seed=3)


def test_widths_and_the_transfer_are_those_of_the_gaussians(gallery: Gallery) -> None:
    assert len(gallery.widths) == 128
    assert all(0.9 < width.minor <= width.major < 2.6 for width in gallery.widths)
    assert all(0 <= width.angle < 180 for width in gallery.widths)
    assert gallery.transfer[0].mean == pytest.approx(1)
    # A round Gaussian of 1 and one of 2.5 pixels bound what any of the camera's leaves of a frequency.
    for response in gallery.transfer[1:8]:
        least, most = (math.exp(-2 * (math.pi * sigma * response.frequency) ** 2) for sigma in (2.6, 0.95))
        assert least <= response.p5 <= response.mean <= response.p95 <= most


def test_noise_is_white_of_three_to_seven_levels(gallery: Gallery) -> None:
    middles = gallery.noise_from + gallery.noise_step * (np.arange(len(gallery.noise_shares)) + 0.5)
    shares = np.array(gallery.noise_shares)
    assert shares.sum() == pytest.approx(1)
    assert abs((shares * middles).sum()) < 0.3
    assert 3 < math.sqrt((shares * middles**2).sum()) < 7
    correlation = np.array(gallery.noise_correlation)
    assert correlation[3, 3] == pytest.approx(1)
    correlation[3, 3] = 0
    assert np.abs(correlation).max() < 0.05


def test_half_of_the_patches_are_cut_from_real_photos(gallery: Gallery, photos: Both) -> None:
    assert sum(gallery.real) == len(gallery.real) / 2

    def is_cut_from_a_photo(patch: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bool:
        side = patch.shape[0]
        for photo in (photos[0][index] for index in range(len(photos[0]))):
            windows = np.lib.stride_tricks.sliding_window_view(photo, (side, side), axis=(0, 1))
            if (windows == patch.transpose(2, 0, 1)).all((2, 3, 4)).any():
                return True
        return False

    cut = [is_cut_from_a_photo(patch.permute(1, 2, 0).numpy()) for patch in gallery.patches]
    assert tuple(cut) == gallery.real
    grid = grid_of(gallery.patches, 6)
    side = gallery.patches.shape[-1]
    assert torch.equal(grid[side : 2 * side, :side].permute(2, 0, 1), gallery.patches[6])


def test_an_example_is_its_clean_patch_blurred_by_its_kernel_with_its_noise_added(gallery: Gallery) -> None:
    for tiles, kernel in zip(gallery.examples, gallery.example_kernels, strict=True):
        clean, lr, noise = (tile.permute(1, 2, 0).double().numpy() for tile in tiles)
        inside = slice(4, -4)  # the patch's surroundings are not shown
        noise = (noise[::4, ::4] - 127.5) / NOISE_GAIN
        told = blur_and_downsample(clean, kernel.numpy(), ((4 - SIZE) // 2,) * 2, 4) + noise
        apart = np.clip(told, 0, 255)[inside, inside] - lr[::4, ::4][inside, inside]
        assert np.quantile(np.abs(apart), 0.99) < 1.2  # of 255: all three were rounded, and noise is cut off at 21


def test_it_says_what_is_wrong_with_kernels_and_colours(photos: Both) -> None:
    bad = gallery_of(camera(one_kernel=True, shift=1.0, tint=(8, 0, 0)), *photos, seed=0)
    assert {alarm.code for alarm in bad.alarms} == {"kernels_collapsed", "kernels_off_centre", "colours_drift"}
    assert bad.kernels.shape == (24, SIZE, SIZE)


@pytest.mark.parametrize("name", ["seed", "default"])
def test_looking_changes_nothing_in_a_training(photos: Both, name: str) -> None:
    shown = []

    def look(progress: Progress) -> None:
        torch.manual_seed(1)
        before = torch.get_rng_state()
        shown.append(gallery_of(progress.degradation, *photos, seed=0))
        assert torch.equal(torch.get_rng_state(), before)

    recipe = small(name)
    watched = train(recipe, *photos, seed=1, max_steps=4, on_progress=look)
    assert shown
    assert same(watched, train(recipe, *photos, seed=1, max_steps=4))


def test_a_training_ends_early_with_what_it_has_learned(photos: Both) -> None:
    asked = iter([False, False, True])
    trained = train(small("seed"), *photos, seed=1, max_steps=20, should_finish=lambda: next(asked))
    assert trained.steps == 3

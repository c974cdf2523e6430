"""Simulated camera noise, and its measurement on gray steps, against computations with numpy and Pillow."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor

from models.networks.noise import local_contrast
from training.data.camera_noise import Cameras, blur, demosaic, draw_cameras, expose, to_display, to_linear
from training.estimator.network import NOISE_RINGS, EstimatorFeatures
from training.estimator.noise_curve import STEPS, NoiseCurve, measure_steps
from training.estimator.pretrain_noise import draw_scene
from training.estimator.spectra import OPPONENT

LEVELS = torch.tensor(STEPS).view(-1, 1, 1, 1)


def plain_cameras(count: int, sigma: float) -> Cameras:
    """Cameras that add white noise and do nothing else."""
    cameras = draw_cameras(count, torch.full((count,), sigma), torch.Generator().manual_seed(0))
    off = {name: torch.zeros(count, 1, 1, 1) for name in ("chroma_sigma", "luma_share", "sharpen_amount", "edge_gain")}
    ones = {name: torch.ones(count, 1, 1, 1) for name in ("read_share", "gamma", "contrast", "saturation")}
    white = torch.ones(count, 3, 1, 1)
    return dataclasses.replace(cameras, **off, **ones, white_balance=white, mosaic=torch.zeros(count, 1, 1, 1).bool())


def take_steps(cameras: Cameras) -> Tensor:
    images = torch.full((len(cameras.sigma), 1, 3, 64, 64), 128.0)
    return expose(cameras, images, LEVELS, torch.Generator().manual_seed(1))[1]


def test_tone_curves_rise_and_have_an_inverse() -> None:
    cameras = draw_cameras(50, torch.ones(50), torch.Generator().manual_seed(0))
    linear = torch.linspace(0, 1, 101).view(1, 1, 1, -1).expand(50, -1, -1, -1)
    display = to_display(linear, cameras.gamma, cameras.toe, cameras.contrast)
    assert (display.diff() > 0).all()
    assert display[..., 0].abs().max() < 1e-4
    assert (display[..., -1] - 1).abs().max() < 1e-4
    restored = to_linear(display, cameras.gamma, cameras.toe, cameras.contrast)
    torch.testing.assert_close(restored, linear, atol=2e-3, rtol=0)


def test_demosaicing_is_bilinear() -> None:
    image = torch.rand(1, 3, 8, 10, generator=torch.Generator().manual_seed(0))
    plain = demosaic(image, torch.tensor(False).view(1, 1, 1, 1))[0].numpy()
    raw = image[0].numpy()
    # Red is known at even rows and columns, green at (even, odd) and (odd, even), blue at odd ones.
    assert plain[0, 4, 4] == pytest.approx(raw[0, 4, 4])
    assert plain[0, 4, 5] == pytest.approx(raw[0, 4, [4, 6]].mean())
    assert plain[0, 5, 5] == pytest.approx(raw[0][np.ix_([4, 6], [4, 6])].mean(), rel=1e-5)
    assert plain[1, 4, 4] == pytest.approx((raw[1, 3, 4] + raw[1, 5, 4] + raw[1, 4, 3] + raw[1, 4, 5]) / 4, rel=1e-5)
    assert plain[2, 4, 4] == pytest.approx(raw[2][np.ix_([3, 5], [3, 5])].mean(), rel=1e-5)
    guided = demosaic(image, torch.tensor(True).view(1, 1, 1, 1))[0].numpy()
    green = plain[1]
    assert guided[1] == pytest.approx(green, abs=1e-6)
    difference = raw[0] - green
    assert guided[0, 4, 5] == pytest.approx(green[4, 5] + difference[4, [4, 6]].mean(), abs=1e-5)


def test_each_image_is_blurred_by_its_own_gaussian() -> None:
    impulse = torch.zeros(2, 1, 15, 15)
    impulse[:, :, 7, 7] = 1
    blurred = blur(impulse, torch.tensor([0.6, 1.5]).view(2, 1, 1, 1))
    offset = torch.arange(15.0) - 7
    variance = (blurred[:, 0].sum(1) * offset**2).sum(1)
    assert blurred.sum((1, 2, 3)).tolist() == pytest.approx([1, 1])
    assert variance.sqrt().tolist() == pytest.approx([0.6, 1.5], rel=0.02)


def test_plain_cameras_make_white_noise() -> None:
    steps = take_steps(plain_cameras(4, 5.0))
    noise = (steps - LEVELS).numpy()
    assert noise.std() == pytest.approx(5, rel=0.03)
    assert noise.std((3, 4)).mean((0, 2)).tolist() == pytest.approx([5.0] * 5, rel=0.05)  # at every brightness
    assert abs((noise[..., 1:] * noise[..., :-1]).mean() / noise.var()) < 0.02
    assert abs((noise[:, :, 0] * noise[:, :, 1]).mean() / noise.var()) < 0.02


def test_tone_curves_shape_noise_by_brightness() -> None:
    cameras = plain_cameras(4, 5.0)
    setting = torch.ones(4, 1, 1, 1)
    curved = dataclasses.replace(cameras, gamma=2.2 * setting, toe=0.01 * setting, contrast=1.8 * setting)
    curved = dataclasses.replace(curved, read_share=0.1 * setting)
    std = take_steps(curved).std((3, 4)).mean((0, 2))
    assert std.square().mean().sqrt().item() == pytest.approx(5, rel=0.1)  # strength is that over all steps
    assert std[1] > 1.5 * std[0]
    assert std[2] > 1.5 * std[4]


def test_demosaicing_and_denoising_correlate_noise() -> None:
    cameras = plain_cameras(4, 5.0)
    on = torch.ones(4, 1, 1, 1)
    noise = take_steps(dataclasses.replace(cameras, mosaic=on.bool(), chroma_sigma=1.5 * on)) - LEVELS

    def correlation(first: Tensor, second: Tensor) -> float:
        return float((first * second).mean() / (first.square().mean() * second.square().mean()).sqrt())

    assert correlation(noise[..., 1:], noise[..., :-1]) > 0.4
    assert correlation(noise[:, :, 0], noise[:, :, 1]) > 0.4
    difference = noise[:, :, 0] - noise[:, :, 2]
    assert correlation(difference[..., 1:], difference[..., :-1]) > 0.8  # smoother in color than in luma


def test_edges_are_spared_by_denoising() -> None:
    cameras = plain_cameras(2, 3.0)
    on = torch.ones(2, 1, 1, 1)
    cameras = dataclasses.replace(cameras, luma_share=on, luma_sigma=1.4 * on)
    image = torch.full((2, 1, 3, 64, 64), 60.0)
    image[..., 32:] = 180

    def step_height(edge_sparing: bool) -> float:
        taken = dataclasses.replace(cameras, edge_sparing=torch.full((2, 1, 1, 1), edge_sparing))
        photo = expose(taken, image, LEVELS, torch.Generator().manual_seed(1))[0]
        return float(photo[..., 32].mean() - photo[..., 31].mean())

    assert step_height(edge_sparing=True) > 100 > step_height(edge_sparing=False)


def test_noise_grows_with_the_local_contrast() -> None:
    cameras = dataclasses.replace(plain_cameras(2, 1.0), edge_gain=torch.full((2, 1, 1, 1), 0.5))
    ramp = torch.arange(64.0).clamp(20, 44) * 4  # a slope of 4 levels a pixel between two even areas
    image = ramp.view(1, 1, 1, 1, 64).expand(2, 1, 3, 64, -1)
    noise = expose(cameras, image, LEVELS, torch.Generator().manual_seed(1))[0] - image
    assert noise[..., :14].std().item() == pytest.approx(1, rel=0.1)
    assert noise[..., 26:38].std().item() == pytest.approx(math.hypot(1, 0.5 * 4), rel=0.1)


def test_local_contrast_is_the_slope() -> None:
    rng = np.random.default_rng(0)
    image = gaussian_filter(rng.normal(size=(3, 24, 24)), (0, 2, 2))
    mean = image.mean(0)
    power = ((mean[1:-1, 2:] - mean[1:-1, :-2]) / 2) ** 2 + ((mean[2:, 1:-1] - mean[:-2, 1:-1]) / 2) ** 2
    expected = np.sqrt(gaussian_filter(power, 1, truncate=3))
    contrast = local_contrast(torch.tensor(image)[None])[0, 0].numpy()
    assert contrast[8:-8, 8:-8] == pytest.approx(expected[7:-7, 7:-7], rel=1e-4, abs=2e-5)


@pytest.mark.parametrize("name", ["luma_share", "sharpen_amount"])
def test_cameras_know_what_they_do_to_frequencies(name: str) -> None:
    on = torch.ones(1, 1, 1, 1)
    changes = {name: on, "luma_sigma": on, "sharpen_sigma": on, "edge_sparing": (0 * on).bool()}
    cameras = dataclasses.replace(plain_cameras(1, 1e-3), **changes)
    for cycles in (4, 8, 16):
        wave = 128 + 20 * torch.sin(2 * math.pi * cycles / 64 * torch.arange(64.0)).view(1, 1, 1, 1, 64)
        photo = expose(cameras, wave.expand(1, 1, 3, 64, -1), LEVELS, torch.Generator().manual_seed(1))[0]
        measured = photo[0, 0, 0, 30, 16:48].var() / wave[..., 16:48].var()
        expected = cameras.power_response(torch.tensor([cycles / 64]))[0, 0]
        assert measured.item() == pytest.approx(expected.item(), rel=0.05)


def test_noise_curves_are_stds_by_brightness_and_color() -> None:
    rng = np.random.default_rng(0)
    std = np.array([1.0, 3, 6, 5, 2])
    noise = rng.normal(size=(3, 5, 3, 32, 32)) * std[:, None, None, None]
    noise[:, :, 2] *= 0.5
    curve = measure_steps(EstimatorFeatures(4), torch.tensor(noise, dtype=torch.float32), torch.zeros(3, 1))
    opponent = np.einsum("oc,nschw->nsohw", np.array(OPPONENT), noise)
    expected = np.sqrt(opponent.var((3, 4)))  # (photos, steps, colors)
    assert curve.by_brightness.square().view(3, 5, 3).numpy() == pytest.approx(expected, rel=0.1)
    assert curve.by_frequency.shape == (3, 3 * len(NOISE_RINGS))
    power = np.square(curve.by_frequency.square().view(3, 3, -1).numpy()).mean((0, 2))
    assert power == pytest.approx(np.square(opponent).mean((0, 1, 3, 4)), rel=0.15)
    assert torch.equal(NoiseCurve.split(curve.concat()).by_frequency, curve.by_frequency)


def test_fine_noise_has_little_power_in_coarse_rings() -> None:
    rng = np.random.default_rng(0)
    white = rng.normal(size=(2, 5, 3, 33, 33)) * 5
    coarse = (white[..., 1:, 1:] + white[..., :-1, 1:] + white[..., 1:, :-1] + white[..., :-1, :-1]) / 4
    curve = measure_steps(EstimatorFeatures(4), torch.tensor(coarse, dtype=torch.float32), torch.zeros(2, 1))
    std = curve.by_frequency.square().view(2, 3, -1).mean((0, 1))
    for ring, (low, high) in enumerate(NOISE_RINGS[:3]):
        frequency = (low + high) / 2
        # Means of two neighbors in each direction have the response cos(π f), averaged over directions.
        angles = np.linspace(0, math.pi, 64)
        across, down = frequency * np.cos(angles), frequency * np.sin(angles)
        response = np.sqrt(np.mean((np.cos(np.pi * across) * np.cos(np.pi * down)) ** 2))
        assert std[ring].item() == pytest.approx(5 * response, rel=0.12)


def test_drawings_have_edges_and_differ() -> None:
    first, second = draw_scene(1), draw_scene(2)
    assert first.shape == second.shape
    assert first.dtype == np.uint8
    assert np.abs(first.astype(int) - second).mean() > 10
    assert np.abs(np.diff(first.astype(int), axis=1)).max() > 40
    assert np.asarray(Image.fromarray(first).convert("L")).std() > 5

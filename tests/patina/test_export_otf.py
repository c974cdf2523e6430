"""A learned degradation as options of hand-made pipelines, and as kernels for convolution."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from scipy.io import loadmat
from scipy.ndimage import convolve
from torch.nn import functional

from models.compression import standard_compression
from models.geometry import centered_origin, paper_origin
from patina.demo.camera import blur_and_downsample
from patina.export.otf import write_otf_options
from patina.export.otf_fit import distance, fit, measure
from patina.export.samples import save_mat
from tests.support.degradation_stubs import StubDegradation, make_gaussian

# The options that each trainer reads, from their documented schemas; traiNNer-redux refuses any other.
SECOND = ["resize_prob", "resize_range", "gaussian_noise_prob", "noise_range", "poisson_scale_range"]
SECOND += ["gray_noise_prob", "jpeg_range"]
MODEL = {"scale", "high_order_degradation", *SECOND, *(f"{name}2" for name in SECOND)}
BLUR = ["blur_kernel_size", "kernel_list", "kernel_prob", "sinc_prob", "blur_sigma", "betag_range", "betap_range"]
DATASET = {*BLUR, *(f"{name}2" for name in BLUR), "final_sinc_prob"}
TRAINNER = {"blur_prob", "jpeg_prob", "blur_prob2", "jpeg_prob2"}
TRAINNER |= {f"resize_mode_{kind}{number}" for kind in ("list", "prob") for number in ("", "2", "3")}


def make_camera(
    *, isotropic: float, sigmas: tuple[float, float], noise: tuple[float, float], qualities: tuple[int, ...] = ()
) -> StubDegradation:
    """Returns a degradation that draws what a hand-made pipeline draws."""
    rng = np.random.default_rng(0)
    kernels = []
    for _ in range(400):
        major, minor = rng.uniform(*sigmas, 2)
        minor = major if rng.random() < isotropic else minor
        kernels.append(make_gaussian(major, minor, rng.uniform(0, np.pi)))
    camera = StubDegradation(torch.stack(kernels), noise)
    camera.config = replace(camera.config, compressions=tuple(map(standard_compression, qualities)))
    return camera


@pytest.mark.parametrize("isotropic", [0.0, 0.6, 1.0])
def test_a_pipelines_own_options_are_found(isotropic: float) -> None:
    camera = make_camera(isotropic=isotropic, sigmas=(1.0, 3.0), noise=(2.0, 8.0), qualities=(60, 70, 80, 100))
    options = fit(measure(camera, 400, seed=0))
    assert options.isotropic == pytest.approx(isotropic, abs=0.21)
    assert options.blur_sigma == pytest.approx((1.0, 3.0), abs=0.25)
    assert options.gaussian_share == 1
    assert options.noise_range == pytest.approx((2.3, 7.7), abs=0.4)  # without a twentieth at either end
    assert options.gray_share == pytest.approx(0, abs=0.02)
    assert (options.jpeg_share, *options.jpeg_range) == pytest.approx((0.75, 61, 79), abs=1.5)
    assert options.kernel_size == 19
    assert options.shape is None


@pytest.mark.parametrize(("beta", "sigma"), [(0.7, 1.2), (2.0, 2.0)])
def test_flat_and_peaked_kernels_are_generalized_gaussians(beta: float, sigma: float) -> None:
    """The options draw exp(-r^(2β) / 2) with r relative to `blur_sigma`."""
    offset = torch.arange(24.0) - 11.5
    squared = (offset[:, None] / sigma) ** 2 + (offset[None] / sigma) ** 2
    kernel = (-0.5 * squared**beta).exp()
    options = fit(measure(StubDegradation((kernel / kernel.sum())[None], (1.0, 1.1)), 16, seed=0))
    assert options.shape == pytest.approx((beta, beta), rel=0.1)
    assert options.blur_sigma == pytest.approx((sigma, sigma), rel=0.1)


def test_noise_that_grows_with_brightness_is_poisson() -> None:
    camera = StubDegradation(make_gaussian(1.5, 1.5)[None], (0.5, 1.0), by_brightness=0.04)
    options = fit(measure(camera, 64, seed=0))
    assert options.gaussian_share == 0
    # Its std at mid-gray is that of the model: scale · sqrt(brightness / 256), in units of white.
    stds = [255 * scale * np.sqrt(0.5 / 256) for scale in options.poisson_range]
    assert stds == pytest.approx([5.6, 6.1], abs=0.3)


def test_downsampling_adds_the_variance_that_blur_leaves_out(tmp_path: Path) -> None:
    """A filter turns x² into x² plus its variance. So interpolation itself shows what it adds."""
    camera = make_camera(isotropic=1.0, sigmas=(2.0, 2.0001), noise=(1.0, 1.1))
    list(write_otf_options(camera, tmp_path, seed=0))
    parabola = (torch.arange(64.0).double() - 31.5).square().expand(1, 1, 64, 64)
    variances = []
    for mode in ("area", "bilinear", "bicubic"):
        small = functional.interpolate(parabola, size=(16, 16), mode=mode)[0, 0, 8]
        centers = 4 * torch.arange(16) + 1.5 - 31.5
        variances.append(float((small - centers.square())[8]))
    sigma = yaml.safe_load((tmp_path / "otf-realesrgan.yml").read_text())["datasets"]["train"]["blur_sigma"]
    assert np.mean(sigma) ** 2 + np.mean(variances) == pytest.approx(4, abs=0.05)
    sigma = yaml.safe_load((tmp_path / "otf-trainner-redux.yml").read_text())["datasets"]["train"]["blur_sigma"]
    assert np.mean(sigma) ** 2 + variances[1] == pytest.approx(4, abs=0.05)


def test_files_have_each_trainers_options(tmp_path: Path) -> None:
    camera = make_camera(isotropic=0.5, sigmas=(1.0, 3.0), noise=(2.0, 8.0), qualities=(60, 100))
    files = list(write_otf_options(camera, tmp_path, seed=0))
    assert sorted(file.name for file in files) == sorted(path.name for path in tmp_path.iterdir())

    real, redux = (
        yaml.safe_load((tmp_path / f"otf-{name}.yml").read_text()) for name in ("realesrgan", "trainner-redux")
    )
    assert real.keys() == {"datasets", *MODEL, "second_blur_prob"}
    assert real["datasets"]["train"].keys() == DATASET
    assert redux.keys() == {"datasets", *MODEL, *TRAINNER}
    assert redux["datasets"]["train"].keys() == {*DATASET, "kernel_range", "kernel_range2", "final_kernel_range"}
    neosr = tomllib.loads((tmp_path / "otf-neosr.toml").read_text())
    assert neosr.keys() == {"scale", "degradations"}
    assert neosr["degradations"].keys() == {*MODEL, *DATASET, "second_blur_prob"} - {"scale", "high_order_degradation"}
    for options in (real | real["datasets"]["train"], redux | redux["datasets"]["train"], neosr["degradations"]):
        check_options(options)
    assert redux["jpeg_prob2"] == 0.5
    text = (tmp_path / "otf-wtp.hcl").read_text()
    assert text.count("degradation {") == 4
    assert [line.split('"')[1] for line in text.splitlines() if line.startswith("  type =")] == [
        *("blur", "resize", "noise", "compress")
    ]
    notes = (tmp_path / "otf-notes.md").read_text()
    assert "50% of the photos, quality 60.00" in notes
    assert "What a hand-made pipeline cannot express" in notes


def check_options(options: dict[str, Any]) -> None:
    """Checks what the pipelines require of ranges and probabilities."""
    for name, value in options.items():
        if "_range" in name or name.startswith("blur_sigma"):
            assert len(value) == 2
            assert 0 <= value[0] <= value[1]
        if name.endswith(("_prob", "_prob2")) and isinstance(value, list):
            assert sum(value) == pytest.approx(1)
            assert min(value) >= 0
    assert len(options["kernel_list"]) == len(options["kernel_prob"])
    assert options["blur_kernel_size"] % 2 == 1
    assert options["jpeg_range2"][1] < 100  # their JPEG divides by zero at 100


@pytest.mark.parametrize(("scale", "size", "centered"), [(4, 24, True), (3, 23, True), (1, 21, True), (4, 21, False)])
def test_mat_kernels_convolve(scale: int, size: int, centered: bool, tmp_path: Path) -> None:
    """As USRNet does: `scipy.ndimage.convolve`, then every s-th pixel from the first on."""
    rng = np.random.default_rng(0)
    hr, kernels = rng.uniform(size=(60, 72, 3)), rng.uniform(size=(2, size, size))
    kernels /= kernels.sum((1, 2), keepdims=True)
    first = centered_origin(size, scale) if centered else paper_origin(size)
    save_mat({"kernels": kernels, "scale": np.array(scale), "origin": np.array([first, first])}, tmp_path / "k.mat")
    stored = loadmat(tmp_path / "k.mat")
    assert "origin" not in stored
    for kernel, cell in zip(kernels, stored["kernels"][0], strict=True):
        assert cell.shape[0] % 2 == 1
        convolved = convolve(hr, cell[..., np.newaxis], mode="mirror")[::scale, ::scale]
        expected = blur_and_downsample(hr, kernel, (first, first), scale)
        np.testing.assert_allclose(convolved[: len(expected), : expected.shape[1]], expected, atol=1e-12)


def test_distance_is_that_of_the_distributions() -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(size=4000)
    assert distance(one, one + 0.5) == pytest.approx(0.5, abs=1e-6)

"""The prior on degradations: the covariance between luma and color differences."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.support.training_factories import PhotoSets, make_config
from training.data.preparation import adapt_config
from training.estimator.spectra import OPPONENT, Spectra
from training.losses.regularizers import opponent_covariance
from training.phases.encode import encode_real_photos
from training.phases.fit import fit_step
from training.state import TrainState


def covariance(noise: Tensor) -> float:
    return opponent_covariance(Spectra().to_opponent(noise)).item()


def test_white_and_gray_noise_have_no_covariance() -> None:
    generator = torch.Generator().manual_seed(0)
    white = torch.randn(4, 3, 200, 200, generator=generator)
    gray = torch.randn(4, 1, 200, 200, generator=generator).expand(-1, 3, -1, -1)
    for noise in (white, gray, white + 2 * gray):
        assert covariance(noise) < 1e-3
        assert covariance(5 * noise) == pytest.approx(covariance(noise), rel=1e-3)


def test_covariance_of_luma_and_a_color_difference() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second, third = torch.randn(3, 4, 200, 200, generator=generator)
    opponent = torch.stack([first, 0.6 * first + 0.8 * second, third], 1)  # a covariance of 0.6, variances of 1
    noise = torch.einsum("oc,nohw->nchw", torch.tensor(OPPONENT), opponent)
    assert covariance(noise) == pytest.approx(2 * 0.6**2, rel=0.03)


def test_fit_removes_covariance_between_colors(photos: PhotoSets) -> None:
    """The estimator predicts the std of luma and of each color difference, so photos do not require more."""
    state = TrainState(adapt_config(make_config("default"), *photos), 0, "cpu")
    network = state.degradation.noise
    assert network is not None
    assert network.filters is not None
    with torch.no_grad():
        network.filters.weight[1, 0, 2, 2] = -0.9  # green, from the white noise of red
    blurred = torch.full((100, 3, 32, 32), 0.5)
    latents = state.degradation.draw_latents(100, (32, 32), torch.Generator().manual_seed(0))

    def learned() -> float:
        with torch.no_grad():
            return covariance(state.degradation.draw_noise(latents, blurred))

    before = learned()
    encode_real_photos(state, *photos)
    fit_step(state, photos[1], 0.0)
    state.config = replace(state.config, matching=replace(state.matching, fit_batch=16))
    for step in range(15):
        fit_step(state, photos[1], step / 15)
    assert before > 0.2
    assert learned() < 0.1 * before

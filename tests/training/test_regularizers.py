from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.training.networks import Both, small
from training.data.preparation import fitted_to
from training.estimator.spectra import OPPONENT, Spectra
from training.losses.regularizers import colours_in_common
from training.phases.fit import aim_step
from training.schedule import training_step
from training.state import State


def in_common(noise: Tensor) -> float:
    return colours_in_common(Spectra().opponents_of(noise)).item()


def test_noise_alike_in_all_channels_or_grey_has_nothing_in_common_between_brightness_and_colours() -> None:
    generator = torch.Generator().manual_seed(0)
    white = torch.randn(4, 3, 200, 200, generator=generator)
    grey = torch.randn(4, 1, 200, 200, generator=generator).expand(-1, 3, -1, -1)
    for noise in (white, grey, white + 2 * grey):
        assert in_common(noise) < 1e-3
        assert in_common(5 * noise) == pytest.approx(in_common(noise), rel=1e-3)


def test_what_brightness_and_a_colour_share_is_in_common() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second, third = torch.randn(3, 4, 200, 200, generator=generator)
    opponent = torch.stack([first, 0.6 * first + 0.8 * second, third], 1)  # a covariance of 0.6, variances of 1
    noise = torch.einsum("oc,nohw->nchw", torch.tensor(OPPONENT), opponent)
    assert in_common(noise) == pytest.approx(2 * 0.6**2, rel=0.03)


def test_noise_of_which_colours_are_opposed_is_led_to_what_the_estimator_tells(photos: Both) -> None:
    """Which is the strength of brightness and of either difference of colour: photos ask for no more."""
    state = State(fitted_to(small("default"), *photos), 0, "cpu")
    assert state.recipe.matching is not None
    filters = state.degradation.noise
    assert filters is not None
    assert filters.filters is not None
    with torch.no_grad():
        filters.filters.weight[1, 0, 2, 2] = -0.9  # green, of what red is made of
    blurred = torch.full((100, 3, 32, 32), 0.5)
    latents = state.degradation.draw_latents(100, (32, 32), torch.Generator().manual_seed(0))

    def learned() -> float:
        with torch.no_grad():
            return in_common(state.degradation.draw_noise(latents, blurred))

    before = learned()
    training_step(state, *photos, 0.0)
    matching = replace(state.recipe.matching, aimed=16)
    for step in range(15):
        aim_step(state, matching, photos[1], step / 15)
    assert before > 0.2
    assert learned() < 0.1 * before

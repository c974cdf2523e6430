"""Priors on what photos hardly show of a degradation: of equally good ones, the simplest is learned.

For kernels these are tails, small lumps and a slight elongation. For noise these are the share of coarse noise, the
correlation between colors, and differences between photos in anything but their noise std.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.networks.kernel import elongation_penalty, log_concavity_penalty
from models.networks.noise import NoiseNetwork, filter_correlation_penalty, latent_gain_penalty
from training.config import MatchingConfig
from training.estimator.spectra import Spectra


def degradation_prior(
    matching: MatchingConfig,
    kernel: Tensor,
    network: NoiseNetwork | None,
    noise: Tensor,
    spectra: Spectra,
    *,
    white_noise: bool = True,
) -> Tensor:
    """Returns the weighted sum of all penalties on kernel (B, K, K) and noise (N, 3, h, w); 0 is simplest.

    The noise includes the JPEG residual. `white_noise`: whether noise should be independent between pixels and colors.
    """
    return kernel_prior(matching, kernel) + noise_prior(matching, network, noise, spectra, white_noise=white_noise)


def kernel_prior(matching: MatchingConfig, kernel: Tensor) -> Tensor:
    """Returns the weighted penalties on kernel (B, K, K)."""
    log_concavity = matching.log_concavity_weight * log_concavity_penalty(kernel)
    return log_concavity + matching.roundness_weight * elongation_penalty(kernel)


def noise_prior(
    matching: MatchingConfig, network: NoiseNetwork | None, noise: Tensor, spectra: Spectra, *, white_noise: bool
) -> Tensor:
    """Returns the weighted penalties on the noise network and its noise (N, 3, h, w); arguments as above."""
    if network is None:
        return noise.new_zeros(())
    latent_prior = matching.latent_gain_weight * latent_gain_penalty(network)
    if not white_noise:
        return latent_prior
    filter_prior = matching.filter_correlation_weight * filter_correlation_penalty(network) + latent_prior
    return filter_prior + matching.color_weight * opponent_covariance(spectra.to_opponent(noise))


def opponent_covariance(opponent: Tensor) -> Tensor:
    """Returns the covariance of luma and two color differences, opponent (N, 3, h, w); 0 is uncorrelated.

    It is the sum of squared covariances, relative to the squared mean variance. The estimator only predicts the three
    variances: white noise in all channels and noise with opposed red and green look the same to it.
    """
    opponent = opponent.flatten(2)
    covariance = opponent @ opponent.mT / opponent.shape[2]
    variance = covariance.diagonal(dim1=1, dim2=2)
    off_diagonal = (covariance - torch.diag_embed(variance)).square().sum((1, 2))
    return (off_diagonal / (variance.mean(1).square() + 1e-12)).mean()

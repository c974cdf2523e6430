"""What photos hardly tell of a degradation: of those that are alike in all else the plainest is taken.

Of kernels these are tails, small lumps and a slight elongation; of noise how much of it is coarse and how much fine,
what its colours have in common, and whether it differs from photo to photo in anything but its level.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.networks.kernel import convexity, elongated
from models.networks.noise import NoiseNetwork, correlation, diversity
from training.config import Matching
from training.estimator.spectra import Spectra


def plainness_of(
    matching: Matching, kernel: Tensor, network: NoiseNetwork | None, noise: Tensor, spectra: Spectra
) -> Tensor:
    """How far kernels (B, K, K) and noise (N, 3, h, w), as compression has left it, are from the plainest."""
    of_kernels = matching.convexity_weight * convexity(kernel) + matching.roundness_weight * elongated(kernel)
    if network is None:
        return of_kernels
    of_filters = matching.correlation_weight * correlation(network) + matching.diversity_weight * diversity(network)
    return of_kernels + of_filters + matching.colour_weight * colours_in_common(spectra.opponents_of(noise))


def colours_in_common(opponent: Tensor) -> Tensor:
    """How much the three of noise as Spectra.opponents_of has it, (N, 3, h, w), have in common, 0 for nothing.

    The sum of the squares of their covariances, over that of their mean variance. The estimator tells how strong each
    of the three is, and not this: noise that is white in all channels and noise of which red and green are opposed look
    the same to it.
    """
    opponent = opponent.flatten(2)
    covariance = opponent @ opponent.mT / opponent.shape[2]
    variance = covariance.diagonal(dim1=1, dim2=2)
    in_common = (covariance - torch.diag_embed(variance)).square().sum((1, 2))
    return (in_common / (variance.mean(1).square() + 1e-12)).mean()

"""What photos hardly tell of a degradation: of those that are alike in all else the plainest is taken.

Of kernels these are tails, small lumps and a slight elongation; of noise how much of it is coarse and how much fine,
and whether it differs from photo to photo in anything but its level.
"""

from __future__ import annotations

from torch import Tensor

from models.kernel import convexity, elongated
from models.noise import NoiseNetwork, correlation, diversity
from training.presets import Matching


def plainness_of(matching: Matching, kernel: Tensor, noise: NoiseNetwork | None) -> Tensor:
    """How far kernels (B, K, K) and noise are from the plainest."""
    of_kernels = matching.convexity_weight * convexity(kernel) + matching.roundness_weight * elongated(kernel)
    if noise is None:
        return of_kernels
    return of_kernels + matching.correlation_weight * correlation(noise) + matching.diversity_weight * diversity(noise)

"""Reads kernel widths and noise from the estimator's targets, to report them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from training.estimator.network import COLORS, NOISE_RINGS
from training.estimator.spectra import POWER_FLOOR, WINDOW, Spectra

MIN_WEIGHT = 0.02  # of frequencies that a kernel removes: its width hardly shows there
RIDGE = 1e-6  # keeps the equations of kernels without any blur solvable


def widths_of_spectrum(spectra: Spectra, spectrum: Tensor, scale: int) -> tuple[Tensor, Tensor]:
    """Returns the sigmas along major and minor axis, (N,) each, in high-resolution pixels.

    `spectrum` (N, bins) is a kernel spectrum that is not normalized, see DegradationTargets. A Gaussian with the
    covariance S has −log |K(f)|² = 4π² fᵀ S f, so S is fitted by least squares. Frequencies that pass count most.
    Other shapes get the widths of a similar Gaussian: camera shake is 0.06 pixels off on average. At scale 4, 3 pixels
    come out 4% too low, because a bin holds several frequencies.
    """
    y = spectra.frequencies[:, None] / scale
    x = spectra.frequencies[: WINDOW // 2 + 1].abs()[None] / scale
    products = torch.stack([(y * y).expand(-1, x.shape[1]), 2 * y * x, (x * x).expand(len(y), -1)]).flatten(1)
    design = (2 * math.pi) ** 2 * (products @ spectra.bin_weights).T  # (bins, 3)
    target = spectrum.clamp_min(0).square()  # −log |K|²
    weight = ((-target).exp() + MIN_WEIGHT).square()
    normal = torch.einsum("nb,bi,bj->nij", weight, design, design) + RIDGE * torch.eye(3, device=spectrum.device)
    yy, yx, xx = torch.linalg.solve(normal, torch.einsum("nb,bi,nb->ni", weight, design, target)).unbind(1)
    middle, half = (yy + xx) / 2, (((yy - xx) / 2).square() + yx.square()).sqrt()
    return (middle + half).clamp_min(0).sqrt(), (middle - half).clamp_min(0).sqrt()


def noise_std_of_amplitude(amplitude: Tensor) -> Tensor:
    """Returns the noise's standard deviation (N,), mean over colors, in 8-bit levels.

    `amplitude` (N, 3 · noise rings) is not normalized, see DegradationTargets.
    """
    area = amplitude.new_tensor([high**2 - low**2 for low, high in NOISE_RINGS])
    power = (amplitude.unflatten(1, (COLORS, -1)) ** 4 - POWER_FLOOR).clamp_min(0)  # (N, colors, rings)
    std: Tensor = (power @ (area / area.sum())).mean(1).sqrt()
    return std

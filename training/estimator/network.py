"""A network that predicts a photo's blur and noise, pretrained on other photos that were degraded at random.

A comparison of photos compares their content as much as their cameras. So the estimator predicts kernel and noise from
a photo's windows, independent of content. It was pretrained (pretraining.py), and comes with Patina. The kernel and
noise network learn until its predictions for their images have the distribution of those for the real photos. Its
errors do no harm if they are equal on both sides. Only the first phase, which fits its predictions, relies on them.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models.checkpoint import CheckpointError, build_config
from training.estimator.spectra import POWER_FLOOR, RINGS, SECTORS, WINDOW, Spectra, extract_windows

MIN_RESPONSE = 3e-4  # of a kernel's power response; anything below is invisible
NOISE_RINGS = ((0.05, 0.15), (0.15, 0.28), (0.28, 0.4), (0.4, 0.71))  # in cycles per pixel
COLORS = 3  # luma and two color differences
WEIGHTS_FILE = Path(__file__).with_name("weights.safetensors")  # in half precision


class WindowFeatures(NamedTuple):
    """The parts of an estimator's input (…, F), one after the other on the last axis."""

    log_power: Tensor  # (…, 3 · bins), natural logarithms, by color
    brightness: Tensor  # (…, 3), means of luma and color differences in hundreds of 8-bit levels
    compression: Tensor  # (…, 1), 0 without JPEG, 1 at quality 0

    def concat(self) -> Tensor:
        return torch.cat(self, -1)

    @classmethod
    def split(cls, features: Tensor) -> WindowFeatures:
        num_log_powers = features.shape[-1] - COLORS - 1
        return cls(*torch.split(features, [num_log_powers, COLORS, 1], -1))


class DegradationTargets(NamedTuple):
    """What an estimator predicts for N photos, one part after the other in (N, T)."""

    kernel_spectrum: Tensor  # (N, bins); for a Gaussian, sigma in that direction times the frequency
    noise_amplitude: Tensor  # (N, 3 · noise rings), square roots, by color and frequency
    brightness_slope: Tensor  # (N, 1), half the log ratio of noise power in the brighter to that in the darker half

    @property
    def noise(self) -> Tensor:
        """All noise targets, (N, 3 · noise rings + 1)."""
        return torch.cat([self.noise_amplitude, self.brightness_slope], -1)

    def concat(self) -> Tensor:
        return torch.cat(self, -1)

    @classmethod
    def split(cls, targets: Tensor) -> DegradationTargets:
        num_amplitudes = COLORS * len(NOISE_RINGS)
        num_bins = targets.shape[-1] - num_amplitudes - 1
        return cls(*torch.split(targets, [num_bins, num_amplitudes, 1], -1))


@dataclass(frozen=True)
class EstimatorConfig:
    """Width of the layers, and the measurements that the estimator was trained on. Stored with its weights."""

    width: int = 192
    num_features: int = 148
    num_kernel_targets: int = 48
    num_noise_targets: int = 13
    window: int = WINDOW
    rings: int = RINGS
    sectors: int = SECTORS
    noise_rings: tuple[tuple[float, float], ...] = NOISE_RINGS


class DegradationEstimator(nn.Module):
    """Maps a photo's windows, in any number and order, to its kernel's spectrum and its noise.

    Each window is embedded, then refined with a summary of all windows; the head sees a summary of the result.
    """

    def __init__(self, config: EstimatorConfig | None = None):
        super().__init__()
        self.config = config = config or EstimatorConfig()
        width, num_targets = config.width, config.num_kernel_targets + config.num_noise_targets
        self.embed = nn.Sequential(nn.Linear(config.num_features, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.pool_mlp = nn.Sequential(nn.Linear(3 * width, width), nn.SiLU())
        self.refine = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.head = nn.Sequential(nn.Linear(3 * width, width), nn.SiLU(), nn.Linear(width, num_targets))
        self.register_buffer("mean", torch.zeros(config.num_features))
        self.register_buffer("std", torch.ones(config.num_features))
        self.register_buffer("target_mean", torch.zeros(num_targets))
        self.register_buffer("target_std", torch.ones(num_targets))

    def fit_normalization(self, features: Tensor, targets: DegradationTargets) -> None:
        """Sets means and scales of inputs (N, W, F) and targets (N, …) from examples."""
        self.mean.copy_(features.mean((0, 1)))  # type: ignore[operator]
        self.std.copy_(features.std((0, 1)).clamp_min(0.01))  # type: ignore[operator]
        self.target_mean.copy_(targets.concat().mean(0))  # type: ignore[operator]
        # One scale for all kernel targets and one for all noise targets, so that those that hardly vary count less.
        scales = [part.std(0).mean().expand(part.shape[1]) for part in (targets.kernel_spectrum, targets.noise)]
        self.target_std.copy_(torch.cat(scales))  # type: ignore[operator]

    def normalize_targets(self, targets: DegradationTargets) -> DegradationTargets:
        """Normalizes targets (N, …) to the scale of the predictions."""
        normalized: Tensor = (targets.concat() - self.target_mean) / self.target_std  # type: ignore[operator]
        return DegradationTargets.split(normalized)

    def normalize_kernel_spectrum(self, spectrum: Tensor) -> Tensor:
        """Does the same with kernel spectra (N, bins) alone."""
        bins = spectrum.shape[1]
        normalized: Tensor = (spectrum - self.target_mean[:bins]) / self.target_std[:bins]  # type: ignore[index]
        return normalized

    def forward(self, features: Tensor) -> DegradationTargets:
        """Predicts normalized targets of N photos from their windows' features (N, W, F)."""
        embedded: Tensor = self.embed((features - self.mean) / self.std)  # type: ignore[operator]  # (N, W, width)
        summary = self.pool_mlp(_pool_windows(embedded))[:, None].expand_as(embedded)
        embedded = embedded + self.refine(torch.cat([embedded, summary], 2))
        return DegradationTargets.split(self.head(_pool_windows(embedded)))


def _pool_windows(embedded: Tensor) -> Tensor:
    """Pools (N, W, width) to (N, 3 · width): mean, std and soft maximum. The sharpest windows show blur best."""
    soft_maximum = (3 * embedded).logsumexp(1) / 3 - math.log(embedded.shape[1]) / 3
    mean = embedded.mean(1)
    std = ((embedded - mean[:, None]).square().mean(1) + 1e-12).sqrt()  # seven times as fast as Tensor.std
    return torch.cat([mean, std, soft_maximum], 1)


class EstimatorFeatures:
    """Computes the estimator's inputs from photos, and its targets from kernels and noise."""

    def __init__(self, scale: int, device: torch.device | str = "cpu"):
        self.scale = scale
        self.spectra = Spectra(device)
        radius = self.spectra.radius
        rings = torch.stack([(radius >= low) & (radius < high) for low, high in NOISE_RINGS]).flatten(1).float()
        self.ring_weights = (rings / rings.sum(1, keepdim=True)).T  # (frequencies, rings)

    def window_features(self, crops: Tensor, jpeg_quality: Tensor, crops_per_photo: int) -> Tensor:
        """Computes features (B / crops_per_photo, W, F) of overlapping windows. Parts: see WindowFeatures.

        crops (B, 3, side, side) are in 8-bit levels; jpeg_quality (B,) is 100 without compression.
        """
        windows = extract_windows(crops, WINDOW // 2)  # (B·n², 3, 32, 32)
        features = WindowFeatures(
            log_power=self.spectra.log_power(windows).flatten(1),
            brightness=torch.einsum("oc,bc->bo", self.spectra.opponent, windows.mean((2, 3))) / 100,
            compression=(1 - jpeg_quality / 100).repeat_interleave(len(windows) // len(crops))[:, None],
        ).concat()
        return features.view(len(crops) // crops_per_photo, -1, features.shape[1])

    @staticmethod
    def mean_brightness(features: Tensor) -> Tensor:
        """Computes the brightness (N,) of N photos from features (N, W, F): 0 is black, 9 is white."""
        luma = WindowFeatures.split(features).brightness[:, :, 0]
        return 2 * luma.mean(1)  # at this scale it weighs about as much as the noise targets

    def kernel_targets(self, kernel: Tensor) -> Tensor:
        """Computes the kernel spectrum (B, bins) of kernel (B, K, K), see DegradationTargets."""
        response = self.spectra.kernel_power_response(kernel, self.scale)
        # Above 0: the root's derivative is infinite there, where a kernel passes a frequency unchanged.
        return (-(response + MIN_RESPONSE).log()).clamp_min(1e-6).sqrt()

    def noise_targets(self, noise: Tensor, blurred: Tensor, crops_per_photo: int) -> tuple[Tensor, Tensor]:
        """Computes noise amplitude and brightness slope, see DegradationTargets.

        noise and blurred are (B, 3, side, side) in 8-bit levels; the result is for B / crops_per_photo photos. The
        amplitude is a square root, because with a logarithm a few photos with far too much noise would hardly count.
        """
        windows = extract_windows(noise, WINDOW)
        power = (self.spectra.power(windows).flatten(2) @ self.ring_weights).flatten(1)  # (B·n², 3 · rings)
        power = power.view(len(noise) // crops_per_photo, -1, power.shape[1]).mean(1)
        square = noise.square().mean(1).view(len(power), -1)
        brightness = blurred.mean(1).view(len(power), -1)
        bright = (brightness > brightness.median(1, keepdim=True).values).float()
        bright_power = (square * bright).sum(1) / bright.sum(1).clamp_min(1)
        dark_power = (square * (1 - bright)).sum(1) / (1 - bright).sum(1).clamp_min(1)
        slope = (bright_power + POWER_FLOOR).log() - (dark_power + POWER_FLOOR).log()
        return (power + POWER_FLOOR) ** 0.25, slope[:, None] / 2


def save_estimator(estimator: DegradationEstimator, path: Path) -> None:
    """Writes an estimator with its configuration, in half precision. The same estimator gives the same bytes."""
    description = {"kind": "estimator", "config": dataclasses.asdict(estimator.config)}
    tensors = {name: tensor.half().contiguous() for name, tensor in estimator.state_dict().items()}
    save_file(tensors, path, metadata={"patina": json.dumps(description, sort_keys=True)})


def load_estimator(path: Path) -> DegradationEstimator:
    """Builds an estimator from the configuration and weights in a file.

    Raises CheckpointError if the file is no estimator, or if its measurements are not those of this version.
    """
    try:
        with safe_open(path, framework="pt") as file:
            description = json.loads((file.metadata() or {}).get("patina", "{}"))
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (it is not a dict)
    except (SafetensorError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path.name} is not a complete safetensors file: {error}") from error
    if description.get("kind") != "estimator":
        raise CheckpointError(f"{path.name} is not an estimator. Train one with training/estimator/pretraining.py.")
    config = build_config(EstimatorConfig, description["config"])
    noise_rings = tuple((low, high) for low, high in config.noise_rings)
    config = dataclasses.replace(config, noise_rings=noise_rings)
    expected = EstimatorConfig(width=config.width)
    if config != expected:
        raise CheckpointError(
            f"{path.name} was trained on other measurements than this version computes: it has {config}, expected is "
            f"{expected}. Train it again with training/estimator/pretraining.py."
        )
    estimator = DegradationEstimator(config)
    try:
        estimator.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{path.name} does not fit its own configuration: {error}") from error
    return estimator


def load_pretrained_estimator() -> DegradationEstimator:
    """Loads the estimator that comes with Patina."""
    return load_estimator(WEIGHTS_FILE)


@cache
def get_features(scale: int, device: str = "cpu") -> EstimatorFeatures:
    """Returns shared EstimatorFeatures. Building their tables takes longer than using them."""
    return EstimatorFeatures(scale, device)

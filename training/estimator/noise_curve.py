"""A second estimator, of noise alone: how strong it is on gray steps from dark to bright, and how coarse.

Its targets do not depend on what a photo shows: the noise that the same camera leaves on five gray steps. Where a photo
has no such brightness, the prediction is what cameras with such noise have there. Cameras for its pretraining:
training/data/camera_noise.py.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from models.checkpoint import CheckpointError, build_config
from training.estimator.network import COLORS, NOISE_RINGS, EstimatorFeatures, WindowNetwork
from training.estimator.spectra import POWER_FLOOR, WINDOW

STEPS = (20.0, 70.0, 120.0, 170.0, 220.0)  # brightness of the gray steps, in 8-bit levels
EDGE_SCALE = 4.0  # so that gains at edges vary about as much as amplitudes do
WEIGHTS_FILE = Path(__file__).with_name("noise_curve.safetensors")  # in half precision


class NoiseCurve(NamedTuple):
    """Noise of N photos. Amplitudes are square roots of stds in 8-bit levels."""

    by_brightness: Tensor  # (N, 5 · colors), by gray step and color
    by_frequency: Tensor  # (N, colors · noise rings), mean of all steps
    edge_gain: Tensor  # (N, 1), EDGE_SCALE times the std of noise at edges relative to the local contrast

    def concat(self) -> Tensor:
        return torch.cat(self, -1)

    @classmethod
    def split(cls, values: Tensor) -> NoiseCurve:
        return cls(*torch.split(values, [len(STEPS) * COLORS, COLORS * len(NOISE_RINGS), 1], -1))


@dataclass(frozen=True)
class NoiseCurveConfig:
    """Width of the layers, and the measurements that the estimator was trained on. Stored with its weights."""

    width: int = 128
    num_features: int = 148
    steps: tuple[float, ...] = STEPS
    noise_rings: tuple[tuple[float, float], ...] = NOISE_RINGS

    @property
    def num_targets(self) -> int:
        return COLORS * (len(self.steps) + len(self.noise_rings)) + 1


class NoiseCurveEstimator(WindowNetwork):
    """Maps a photo's windows, in any number and order, to its noise on gray steps."""

    def __init__(self, config: NoiseCurveConfig | None = None):
        config = config or NoiseCurveConfig()
        super().__init__(config.width, config.num_features, config.num_targets)
        self.config = config

    def fit_normalization(self, features: Tensor, targets: Tensor) -> None:
        """Sets means and scales of inputs (N, W, F) and targets (N, T) from examples. All targets have one scale."""
        self.set_normalization(features, targets.mean(0), targets.std(0).mean().expand(targets.shape[1]))

    def normalize_targets(self, targets: NoiseCurve) -> NoiseCurve:
        """Normalizes targets (N, …) to the scale of the predictions."""
        return NoiseCurve.split(self.normalize(targets.concat()))

    def forward(self, features: Tensor) -> NoiseCurve:
        """Predicts normalized targets of N photos from their windows' features (N, W, F)."""
        return NoiseCurve.split(self.predict(features))


def measure_steps(features: EstimatorFeatures, steps: Tensor, edge_gain: Tensor) -> NoiseCurve:
    """Measures the noise of gray steps (N, 5, 3, 32, 32) in 8-bit levels. Their mean does not matter.

    edge_gain (N, 1) is the std of noise at edges relative to the local contrast.
    """
    power = features.spectra.power(steps.flatten(0, 1)).flatten(2) @ features.ring_weights  # (N · 5, colors, rings)
    power = power.view(len(steps), len(STEPS), *power.shape[1:])
    opponent = features.spectra.to_opponent(steps.flatten(0, 1))
    variance = (opponent - opponent.mean((2, 3), keepdim=True)).square().mean((2, 3))
    by_brightness = variance.view(len(steps), -1)  # (N, 5 · colors)
    amplitudes = [(part + POWER_FLOOR) ** 0.25 for part in (by_brightness, power.mean(1).flatten(1))]
    return NoiseCurve(*amplitudes, EDGE_SCALE * edge_gain)


def gray_steps(batch: int, device: torch.device | str) -> Tensor:
    """Returns clean gray steps (batch · 5, 3, 32, 32) in 0..1, five for each photo."""
    steps = torch.tensor(STEPS, device=device).view(1, -1, 1, 1, 1) / 255
    return steps.expand(batch, -1, 3, WINDOW, WINDOW).flatten(0, 1)


def save_noise_curve_estimator(estimator: NoiseCurveEstimator, path: Path) -> None:
    """Writes an estimator with its configuration, in half precision. The same estimator gives the same bytes."""
    description = {"kind": "noise curve estimator", "config": dataclasses.asdict(estimator.config)}
    tensors = {name: tensor.half().contiguous() for name, tensor in estimator.state_dict().items()}
    save_file(tensors, path, metadata={"patina": json.dumps(description, sort_keys=True)})


def load_noise_curve_estimator(path: Path = WEIGHTS_FILE) -> NoiseCurveEstimator:
    """Reads the noise curve estimator that comes with Patina, or the one at `path`.

    Raises CheckpointError if the file is none, or if its measurements are not those of this version.
    """
    try:
        with safe_open(path, framework="pt") as file:
            description = json.loads((file.metadata() or {}).get("patina", "{}"))
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (it is not a dict)
    except (SafetensorError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path.name} is not a complete safetensors file: {error}") from error
    if description.get("kind") != "noise curve estimator":
        raise CheckpointError(f"{path.name} is no noise curve estimator. Train one with pretrain_noise.py.")
    config = build_config(NoiseCurveConfig, description["config"])
    config = dataclasses.replace(config, noise_rings=tuple((low, high) for low, high in config.noise_rings))
    if config != (expected := NoiseCurveConfig(width=config.width)):
        raise CheckpointError(
            f"{path.name} was trained on other measurements than this version computes: it has {config}, expected is "
            f"{expected}. Train it again with training/estimator/pretrain_noise.py."
        )
    estimator = NoiseCurveEstimator(config)
    estimator.load_state_dict(tensors)
    return estimator

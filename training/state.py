"""The state of a training, its phases, and the checkpoint file that it continues from."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models.checkpoint import CheckpointError, build_config
from models.degradation import Degradation
from models.networks.discriminator import PatchDiscriminator
from models.networks.edsr import EDSR
from training.config import MatchingConfig, TrainConfig
from training.cuda_graph import CUDAGraphRunner
from training.distributed import gather_generators, set_generators
from training.estimator.network import DegradationTargets, load_pretrained_estimator

MAX_HISTORY_POINTS = 400

# What earlier versions wrote in a training checkpoint: old name -> new name. Config fields: models/checkpoint.py.
RENAMED_ENTRIES = {
    "aimed": "fit_steps",
    "curve": "history",
    "judged": "num_evaluated",
    "matched": "match_steps",
    "recipe": "config",
    "restoring_from": "sr_started_at",
}
RENAMED_TENSORS = {"real.told": "real.predicted", "real.light": "real.brightness", "real.places": "real.group"}
# The same in app/models/report.py, which may not import this package.
RENAMED_METRICS = {"aim": "fit", "noise_levels": "noise_std", "plainness": "regularization"}
# Config fields of earlier versions that have no effect anymore.
REMOVED_FIELDS = {"turned", "folds", "learning_on_rate", "elongation_weight"}


class Phase(Enum):
    """The part of a training that a step belongs to."""

    JOINT = "joint"  # the paper's training: all networks in every step
    FIT = "fit"  # kernel and noise network are fitted to the estimator's predictions for the real photos
    MATCH = "match"  # generated images are matched to real photos
    SR = "sr"  # the EDSR trains on the finished degradation


@dataclass
class MetricHistory:
    """The metrics of a training in a few hundred points. Every other point is dropped when there are too many.

    Points with a score are few and are all kept.
    """

    points: list[dict[str, float]] = field(default_factory=list)
    stride: int = 1

    def add(self, step: int, metrics: dict[str, float]) -> None:
        if step % self.stride == 0 or "score" in metrics:
            self.points.append({"step": step, **metrics})
        if len(self.points) > MAX_HISTORY_POINTS:
            self.stride *= 2
            self.points = [point for point in self.points if point["step"] % self.stride == 0 or "score" in point]


class RealFeatures(NamedTuple):
    """What the estimator predicts for N groups of crops of real photos. It does not change in a training."""

    predicted: DegradationTargets  # normalized
    brightness: Tensor  # (N,), see EstimatorFeatures.mean_brightness
    group: Tensor  # (N,); consecutive entries with one number show the same patch of one scene
    noise_curves: Tensor = torch.zeros(0, 5, 18)  # (photos, 5, 18), see training/estimator/flat_noise.py; may be empty
    # (N, bins), the predicted kernel spectrum without scenes' effects (training/estimator/scene_effects.py); or empty
    corrected_spectrum: Tensor = torch.zeros(0, 0)

    @property
    def pairs(self) -> Tensor:
        """Indices (P, 2) of entries in one group that are at most three apart."""
        same_group = self.group[:, None] == self.group[None]
        return same_group.triu(1).tril(3).nonzero()


class TrainState:
    """Networks, optimizers, random number generators, and the progress of the phases."""

    def __init__(self, config: TrainConfig, seed: int, device: str):
        self.config = config
        self.seed = seed
        self.device = device
        with torch.random.fork_rng(devices=[]):  # layers draw from torch's global generator, which is not ours to move
            torch.manual_seed(seed)
            self.degradation = Degradation(config.degradation).to(device)
            self.discriminator = PatchDiscriminator(config.discriminator).to(device)
            self.edsr = EDSR(config.edsr).to(device)
            self.estimator = load_pretrained_estimator().requires_grad_(False).to(device)  # frozen, so not saved
            # The layout that convolutions compute in; they would convert to it and back otherwise.
            for network in (self.discriminator, self.edsr):
                network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        degradation_groups = [list(network.parameters()) for network in self.degradation.children()]
        edsr_weights = [weight for weight in self.edsr.parameters() if weight.requires_grad]
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "degradation": self._make_adam(*degradation_groups, betas=config.betas),
            "discriminator": self._make_adam(list(self.discriminator.parameters())),
            "edsr": self._make_adam(edsr_weights),
        }
        self.real: RealFeatures | None = None
        # On the CPU for every device. Each purpose has its own, so that none disturbs another's sequence.
        self.generators = {
            name: torch.Generator().manual_seed((seed * 8 + index) & 0x7FFF_FFFF_FFFF_FFFF)
            for index, name in enumerate(("real", "clean", "latents"))
        }
        set_generators(self.generators, {}, seed, 0)
        self.fit_steps, self.match_steps = 0, 0  # steps of these phases so far
        self.sr_started_at = 0.0  # fraction of the training at the last step of the matching
        self.sharpened = config.matching is None  # whether the sharpen phase is over; the paper's presets have none
        self.num_evaluated = 0  # candidates for the degradation
        self.best_score = math.inf
        self.best: dict[str, Tensor] = {}  # weights of the best candidate
        self.step = 0
        self.seconds = 0.0
        self.history = MetricHistory()
        self._graph_runners: dict[Callable[..., Tensor], CUDAGraphRunner] = {}

    def _make_adam(self, *groups: list[nn.Parameter], betas: tuple[float, float] = (0.9, 0.999)) -> torch.optim.Adam:
        """Builds a fused Adam. On a GPU its steps can be captured, so its learning rates are tensors."""
        on_gpu = torch.device(self.device).type == "cuda"
        param_groups = [
            {"params": group, "lr": torch.zeros((), device=self.device) if on_gpu else 0.0} for group in groups
        ]
        return torch.optim.Adam(param_groups, betas=betas, fused=True, capturable=on_gpu)

    @property
    def matching(self) -> MatchingConfig:
        """The configuration of the matching. Only for a training that has one."""
        assert self.config.matching is not None
        return self.config.matching

    def get_phase(self, fraction: float) -> tuple[Phase, float]:
        """Returns the phase at `fraction` of the training, and the progress of that phase, 0..1."""
        if self.config.matching is None:
            return Phase.JOINT, fraction
        matching = self.matching
        fit = max(self.fit_steps / matching.fit_steps, fraction / matching.fit_until)
        if fit < 1:
            return Phase.FIT, fit
        match = self.get_match_progress(fraction)
        if match < 1:
            return Phase.MATCH, match
        return Phase.SR, fraction_between(fraction, self.sr_started_at, 1.0)

    def get_match_progress(self, fraction: float) -> float:
        """Returns the progress of the matching, 0..1: by its steps, or by the time that it may take."""
        matching = self.matching
        by_time = fraction_between(fraction, matching.fit_until, matching.match_until)
        return max(min(1.0, self.match_steps / matching.match_steps), by_time)

    def get_num_evaluations_due(self, fraction: float) -> int:
        """Returns how many candidates should be evaluated by now: the first at `select_after`, the last at the end."""
        if self.config.matching is None:
            return 0
        matching = self.matching
        progress = (self.get_match_progress(fraction) - matching.select_after) / (1 - matching.select_after)
        if progress < 0:
            return 0
        return min(matching.num_candidates, int(progress * (matching.num_candidates - 1)) + 1)

    def get_graph_runner(self, fn: Callable[..., Tensor]) -> CUDAGraphRunner:
        """Returns the runner of `fn(self, *inputs)`, which is created once."""
        return self._graph_runners.setdefault(fn, CUDAGraphRunner(partial(fn, self)))

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks that are trained."""
        return {"degradation": self.degradation, "discriminator": self.discriminator, "edsr": self.edsr}

    def save(self, path: Path) -> None:
        """Writes everything that the training needs to continue, as safetensors."""
        tensors = {f"generator.{name}": generator.get_state() for name, generator in self.generators.items()}
        tensors |= gather_generators(self.generators)
        for name, network in self.networks.items():
            tensors |= {f"{name}.{key}": tensor.detach() for key, tensor in network.state_dict().items()}
            for index, moments in self.optimizers[name].state_dict()["state"].items():
                tensors |= {f"optimizer.{name}.{index}.{key}": tensor for key, tensor in moments.items()}
        if self.real:
            tensors["real.predicted"] = self.real.predicted.concat()
            others = ("brightness", "group", "noise_curves", "corrected_spectrum")
            tensors |= {f"real.{name}": getattr(self.real, name) for name in others}
        tensors |= {f"best.{key}": tensor for key, tensor in self.best.items()}
        description = {
            "kind": "training",
            "fit_steps": self.fit_steps,
            "match_steps": self.match_steps,
            "sr_started_at": self.sr_started_at,
            "sharpened": self.sharpened,
            "num_evaluated": self.num_evaluated,
            "best_score": self.best_score if self.best else None,
            "config": dataclasses.asdict(self.config),
            "seed": self.seed,
            "step": self.step,
            "seconds": self.seconds,
            "history": dataclasses.asdict(self.history),
        }
        tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        save_file(tensors, path, metadata={"patina": json.dumps(description, sort_keys=True)})

    @classmethod
    def load(cls, path: Path, device: str) -> TrainState:
        """Reads what `save` of this or an earlier version wrote.

        Raises CheckpointError if the file holds something else or is damaged, OSError if it cannot be read.
        """
        try:
            with safe_open(path, framework="pt") as file:
                description = json.loads((file.metadata() or {}).get("patina", "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is not a dict)
        except (SafetensorError, json.JSONDecodeError) as error:
            raise CheckpointError(f"{path.name} is not a complete safetensors file: {error}") from error
        if description.get("kind") != "training":
            raise CheckpointError(f"{path.name} holds {description.get('kind') or 'no Patina checkpoint'}, no training")
        description = _rename(description, RENAMED_ENTRIES)
        tensors = _rename(tensors, RENAMED_TENSORS)
        state = cls(build_config(TrainConfig, _drop_removed(description["config"])), description["seed"], device)
        for name, network in state.networks.items():
            network.load_state_dict(_with_prefix(tensors, f"{name}."))
            moments: dict[int, dict[str, Tensor]] = {}
            for key, tensor in _with_prefix(tensors, f"optimizer.{name}.").items():
                index, moment = key.split(".")
                moments.setdefault(int(index), {})[moment] = tensor
            optimizer = state.optimizers[name]
            optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
            for weight, loaded in optimizer.state.items():
                for key, moment in loaded.items():
                    if moment.shape == weight.shape:  # a fused step requires one memory layout for both
                        loaded[key] = torch.empty_like(weight).copy_(moment)
        real = {key: tensor.to(device) for key, tensor in _with_prefix(tensors, "real.").items()}
        # Earlier versions lack entries with a default, and before that had others: the photos are encoded again.
        if real.keys() | RealFeatures._field_defaults.keys() == set(RealFeatures._fields):
            state.real = RealFeatures(**real | {"predicted": DegradationTargets.split(real["predicted"])})
        for name, generator in state.generators.items():
            generator.set_state(tensors[f"generator.{name}"])
        set_generators(state.generators, tensors, description["seed"], description["step"])
        state.best = {key: tensor.to(device) for key, tensor in _with_prefix(tensors, "best.").items()}
        # A version that did not count steps ended its phases by time alone.
        state.fit_steps, state.match_steps = description.get("fit_steps", 0), description.get("match_steps", 0)
        state.sr_started_at = description.get("sr_started_at", 0.0)
        # An earlier version sharpened nothing. Its EDSR learns from the degradation that it began with.
        state.sharpened = description.get("sharpened", True)
        state.num_evaluated = description["num_evaluated"]
        state.best_score = math.inf if description["best_score"] is None else description["best_score"]
        state.step, state.seconds = description["step"], description["seconds"]
        history = _rename(description["history"], {"every": "stride"})
        points = [_rename(point, RENAMED_METRICS) for point in history["points"]]
        state.history = MetricHistory(points, history["stride"])
        return state


def fraction_between(value: float, start: float, end: float) -> float:
    """Returns where `value` lies from start to end, clamped to 0..1."""
    return min(1.0, max(0.0, (value - start) / (end - start)))


def _rename(entries: dict[str, Any], renamed: dict[str, str]) -> dict[str, Any]:
    return {renamed.get(name, name): value for name, value in entries.items()}


def _drop_removed(config: Any) -> Any:
    if not isinstance(config, dict):
        return config
    return {key: _drop_removed(value) for key, value in config.items() if key not in REMOVED_FIELDS}


def _with_prefix(tensors: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

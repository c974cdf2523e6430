"""All that changes while a degradation is learned, and how it is kept."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models.checkpoint import CheckpointError, config_from
from models.degradation import Degradation
from models.networks.discriminator import PatchDiscriminator
from models.networks.edsr import EDSR
from training.config import Recipe
from training.cuda_graph import Captured
from training.estimator.network import experienced

CURVE_POINTS = 400
# What Recipe and Matching had in earlier versions, whose trainings go on without.
RETIRED = {"turned", "folds", "learning_on_rate", "elongation_weight"}


@dataclass
class Curve:
    """The metrics of a training, a few hundred points of them: every second is dropped when there are too many.

    Scores are few, and all are kept.
    """

    points: list[dict[str, float]] = field(default_factory=list)
    every: int = 1

    def add(self, step: int, metrics: dict[str, float]) -> None:
        if step % self.every == 0 or "score" in metrics:
            self.points.append({"step": step, **metrics})
        if len(self.points) > CURVE_POINTS:
            self.every *= 2
            self.points = [point for point in self.points if point["step"] % self.every == 0 or "score" in point]


class RealLooks(NamedTuple):
    """What the estimator says of the real photos, and their light; both stay so."""

    told: Tensor  # (looks, kernel and noise targets), scaled
    light: Tensor  # (looks,), as Statistics has it
    places: Tensor  # (looks,): looks of one number, one after the other, are at one place of one view

    @property
    def pairs(self) -> Tensor:
        """(pairs, 2): two looks at one place, at most three apart."""
        alike = self.places[:, None] == self.places[None]
        return alike.triu(1).tril(3).nonzero()


class State:
    """Networks, optimizers, random numbers and clocks."""

    def __init__(self, recipe: Recipe, seed: int, device: str):
        self.recipe = recipe
        self.seed = seed
        self.device = device
        with torch.random.fork_rng(devices=[]):  # layers start from torch's own random numbers, not ours to move
            torch.manual_seed(seed)
            self.degradation = Degradation(recipe.degradation).to(device)
            self.discriminator = PatchDiscriminator(recipe.discriminator).to(device)
            self.edsr = EDSR(recipe.edsr).to(device)
            self.estimator = experienced().requires_grad_(False).to(device)  # stands still, so it is not kept
            # In the order that convolutions compute in; else they would bring everything into it and back.
            for network in (self.discriminator, self.edsr):
                network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        of_degradation = [list(network.parameters()) for network in self.degradation.children()]
        of_edsr = [weight for weight in self.edsr.parameters() if weight.requires_grad]
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "degradation": self._adam(*of_degradation, betas=recipe.betas),
            "discriminator": self._adam(list(self.discriminator.parameters())),
            "edsr": self._adam(of_edsr),
        }
        self.real: RealLooks | None = None
        # On the CPU whatever the device, and one for each purpose, so that none disturbs another's sequence.
        self.generators = {
            name: torch.Generator().manual_seed((seed * 8 + index) & 0x7FFF_FFFF_FFFF_FFFF)
            for index, name in enumerate(("real", "clean", "latents"))
        }
        # Steps of these phases so far, and how much of the training was done when the last of them began.
        self.aimed, self.matched = 0, 0
        self.restoring_from = 0.0
        # How many candidates for the degradation have been judged, the best one's score and its weights.
        self.judged = 0
        self.best_score = math.inf
        self.best: dict[str, Tensor] = {}
        self.step = 0
        self.seconds = 0.0
        self.curve = Curve()
        self._captured: dict[Callable[..., Tensor], Captured] = {}

    def _adam(self, *groups: list[nn.Parameter], betas: tuple[float, float] = (0.9, 0.999)) -> torch.optim.Adam:
        """On a GPU one whose steps can be captured, and so with rates in tensors."""
        gpu = torch.device(self.device).type == "cuda"
        rates = [torch.zeros((), device=self.device) if gpu else 0.0 for _ in groups]
        with_rates = [{"params": group, "lr": rate} for group, rate in zip(groups, rates, strict=True)]
        return torch.optim.Adam(with_rates, betas=betas, fused=True, capturable=gpu)

    def captured(self, work: Callable[..., Tensor]) -> Captured:
        """`work(self, *inputs)`, captured when it is first asked for."""
        return self._captured.setdefault(work, Captured(partial(work, self)))

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Those that are trained."""
        return {"degradation": self.degradation, "discriminator": self.discriminator, "edsr": self.edsr}

    def save(self, path: Path) -> None:
        tensors = {f"generator.{name}": generator.get_state() for name, generator in self.generators.items()}
        for name, network in self.networks.items():
            tensors |= {f"{name}.{key}": tensor.detach() for key, tensor in network.state_dict().items()}
            for index, moments in self.optimizers[name].state_dict()["state"].items():
                tensors |= {f"optimizer.{name}.{index}.{key}": tensor for key, tensor in moments.items()}
        if self.real:
            tensors |= {f"real.{key}": tensor for key, tensor in self.real._asdict().items()}
        tensors |= {f"best.{key}": tensor for key, tensor in self.best.items()}
        description = {
            "kind": "training",
            "aimed": self.aimed,
            "matched": self.matched,
            "restoring_from": self.restoring_from,
            "judged": self.judged,
            "best_score": self.best_score if self.best else None,
            "recipe": dataclasses.asdict(self.recipe),
            "seed": self.seed,
            "step": self.step,
            "seconds": self.seconds,
            "curve": dataclasses.asdict(self.curve),
        }
        tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        save_file(tensors, path, metadata={"patina": json.dumps(description, sort_keys=True)})

    @classmethod
    def load(cls, path: Path, device: str) -> State:
        """What `save` wrote. Raises CheckpointError for another file, OSError where it cannot be read."""
        try:
            with safe_open(path, framework="pt") as file:
                description = json.loads((file.metadata() or {}).get("patina", "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is not a dict)
        except (SafetensorError, json.JSONDecodeError) as error:
            raise CheckpointError(f"{path.name} is not a whole safetensors file: {error}") from error
        if description.get("kind") != "training":
            raise CheckpointError(f"{path.name} holds {description.get('kind') or 'nothing of ours'}, not a training")
        recipe = config_from(Recipe, _without_retired(description["recipe"]))
        state = cls(recipe, description["seed"], device)
        for name, network in state.networks.items():
            network.load_state_dict(_below(tensors, f"{name}."))
            moments: dict[int, dict[str, Tensor]] = {}
            for key, tensor in _below(tensors, f"optimizer.{name}.").items():
                index, moment = key.split(".")
                moments.setdefault(int(index), {})[moment] = tensor
            optimizer = state.optimizers[name]
            optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
            for weight, loaded in optimizer.state.items():
                for key, moment in loaded.items():
                    if moment.shape == weight.shape:  # a fused step takes both to lie alike in memory
                        loaded[key] = torch.empty_like(weight).copy_(moment)
        real = _below(tensors, "real.")
        if real.keys() == set(RealLooks._fields):  # an earlier version kept others; they are looked at again
            state.real = RealLooks(**{key: tensor.to(device) for key, tensor in real.items()})
        for name, generator in state.generators.items():
            generator.set_state(tensors[f"generator.{name}"])
        state.best = {key: tensor.to(device) for key, tensor in _below(tensors, "best.").items()}
        # A version that did not count steps ended its phases when the shares of time were over.
        state.aimed, state.matched = description.get("aimed", 0), description.get("matched", 0)
        state.restoring_from, state.judged = description.get("restoring_from", 0.0), description["judged"]
        state.best_score = math.inf if description["best_score"] is None else description["best_score"]
        state.step, state.seconds = description["step"], description["seconds"]
        state.curve = Curve(**description["curve"])
        return state


def _without_retired(recipe: Any) -> Any:
    if not isinstance(recipe, dict):
        return recipe
    return {key: _without_retired(value) for key, value in recipe.items() if key not in RETIRED}


def _below(tensors: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

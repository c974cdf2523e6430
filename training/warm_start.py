"""Starts a training from the networks of a model that exists, when photos were added to a dataset."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.checkpoint import load_degradation, load_edsr
from training.config import TrainConfig
from training.state import TrainState


class WarmStartError(ValueError):
    """The model's networks are others than those that the training would have."""


@dataclass(frozen=True)
class WarmStart:
    """The files of a model: its degradation and its EDSR."""

    degrader: Path
    sr: Path

    def apply(self, state: TrainState, config: TrainConfig) -> None:
        """Copies the model's weights into a new state. `config` is the training's before it was adapted to its photos.

        What depends on the photos is that of the new ones. Raises `WarmStartError` for networks of another kind,
        CheckpointError if a file is damaged.
        """
        degradation, edsr = load_degradation(self.degrader), load_edsr(self.sr)
        adapted = _differences(config.degradation, state.config.degradation)
        # The sharpening is the training's last step, from the photos' edges. It has no weights.
        kernel = replace(degradation.config.kernel, sharpening_amount=0.0, sharpening_radius=1.0, temperature=1.0)
        before = replace(degradation.config, kernel=kernel)
        if differing := _differences(before, state.config.degradation) - adapted:
            raise WarmStartError(f"its degradation differs in {', '.join(sorted(differing))}")
        if differing := _differences(edsr.config, state.config.edsr):
            raise WarmStartError(f"its EDSR differs in {', '.join(sorted(differing))}")
        _copy_weights(degradation, state.degradation)
        _copy_weights(edsr, state.edsr)


def _differences(one: Any, other: Any) -> set[str]:
    """Returns the names of the fields that differ between two configs."""
    return {field.name for field in dataclasses.fields(one) if getattr(one, field.name) != getattr(other, field.name)}


@torch.no_grad()
def _copy_weights(source: nn.Module, target: nn.Module) -> None:
    weights = dict(source.named_parameters())
    for name, weight in target.named_parameters():
        weight.copy_(weights[name])

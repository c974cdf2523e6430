"""Saves and loads networks. A checkpoint is a safetensors file that carries its configuration, so it needs no other."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models.degradation import Degradation, DegradationConfig
from models.networks.edsr import EDSR, EDSRConfig

Config = TypeVar("Config")
Network = TypeVar("Network", bound=nn.Module)

MAX_CONFIG_VALUE = 1024  # of layers, channels or taps

# Config fields that an earlier version stored by another name: old -> new. The names of tensors have never changed.
RENAMED = {
    "body_size": "body_kernel",
    "centred": "center_kernels",
    "ellipse": "parametric_ellipse",
    "even": "uniform_latent",
    "field_size": "filter_size",
    "fields": "num_filters",
    "head_size": "head_kernel",
    "mix": "condition_on_image",
    "single_stage": "single_upsample",
    # Those of training/config.py, in training checkpoints.
    "aim_noise_rate": "fit_noise_lr",
    "aim_rate": "fit_kernel_lr",
    "aim_steps": "fit_steps",
    "aim_until": "fit_until",
    "aimed": "fit_batch",
    "batch": "batch_size",
    "candidates": "num_candidates",
    "clip_gradient": "max_grad_norm",
    "colour_weight": "color_weight",
    "convexity_weight": "log_concavity_weight",
    "correlation_weight": "filter_correlation_weight",
    "cosine": "cosine_decay",
    "crops": "crops_per_photo",
    "degradation_rate": "degradation_lr",
    "difference_weight": "pair_difference_weight",
    "discriminator_rate": "discriminator_lr",
    "diversity_weight": "latent_gain_weight",
    "edsr_rate": "edsr_lr",
    "judged_from": "select_after",
    "kernel_rate": "match_kernel_lr",
    "noise_rate": "match_noise_lr",
    "noise_weight": "noise_l2_weight",
    "photos": "match_batch",
    "real_looks": "num_real_crops",
    "surrounded": "real_context",
}


class CheckpointError(ValueError):
    """The file is not a checkpoint of this kind, or is damaged."""


def save_degradation(model: Degradation, path: Path) -> None:
    """Writes a degradation. The same model gives the same bytes."""
    _save(model, model.config, "degradation", path)


def load_degradation(path: Path, device: str = "cpu") -> Degradation:
    """Reads a degradation bit for bit, in eval mode.

    Raises CheckpointError if the file holds something else or is damaged, OSError if it cannot be read.
    """
    state, config = _load(path, "degradation")
    return _build_validated(Degradation, build_config(DegradationConfig, config), state, path).to(device).eval()


def save_edsr(model: EDSR, path: Path) -> None:
    """Writes an EDSR. The same model gives the same bytes."""
    _save(model, model.config, "edsr", path)


def load_edsr(path: Path, device: str = "cpu") -> EDSR:
    """Reads an EDSR bit for bit, in eval mode.

    Raises CheckpointError if the file holds something else or is damaged, OSError if it cannot be read.
    """
    state, config = _load(path, "edsr")
    return _build_validated(EDSR, build_config(EDSRConfig, config), state, path).to(device).eval()


def build_config(kind: type[Config], values: Any, renamed: Mapping[str, str] = RENAMED) -> Config:
    """Builds a config dataclass, and those inside it, from decoded JSON.

    `renamed` maps old field names to new ones, at every depth. It applies where a class lacks the old name.
    Raises CheckpointError for a field that the class does not have.
    """
    if not isinstance(values, dict):
        raise CheckpointError(f"{kind.__name__} is not an object in this file's configuration")
    hints = typing.get_type_hints(kind)
    values = {name if name in hints else renamed.get(name, name): value for name, value in values.items()}
    if unknown := values.keys() - hints.keys():
        raise CheckpointError(
            f"{kind.__name__} has no {', '.join(sorted(unknown))}. This file was written by a newer version. "
            "Update Patina."
        )
    built = {}
    for name, value in values.items():
        inner = [part for part in (hints[name], *typing.get_args(hints[name])) if dataclasses.is_dataclass(part)]
        if inner and value is not None:
            part = typing.cast(type[Any], inner[0])
            if isinstance(value, list | tuple):
                built[name] = tuple(build_config(part, entry, renamed) for entry in value)
            else:
                built[name] = build_config(part, value, renamed)
        else:
            built[name] = tuple(value) if isinstance(value, list) else value
    try:
        return kind(**built)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"not a {kind.__name__}: {error}") from error


def _save(model: nn.Module, config: Any, kind: str, path: Path) -> None:
    # One entry, because safetensors writes several in no fixed order.
    description = json.dumps({"kind": kind, "config": dataclasses.asdict(config)}, sort_keys=True)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, path, metadata={"patina": description})


def _load(path: Path, kind: str) -> tuple[dict[str, Tensor], Any]:
    try:
        with safe_open(path, framework="pt") as file:
            description = json.loads((file.metadata() or {}).get("patina", "{}"))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is not a dict)
    except (SafetensorError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path.name} is not a complete safetensors file: {error}") from error
    found = description.get("kind") if isinstance(description, dict) else None
    if not found:
        raise CheckpointError(f"{path.name} is not a Patina checkpoint")
    if found != kind:
        raise CheckpointError(f"{path.name} holds {found}, not {kind}")
    return state, description.get("config")


def _build_validated(
    network: Callable[[Any], Network], config: DegradationConfig | EDSRConfig, state: Mapping[str, Tensor], path: Path
) -> Network:
    # A file of a kilobyte may ask for networks of any size. A build on the meta device takes no memory. Its shapes must
    # be those of the file, so the real network is no larger than the file.
    try:
        _check_size_limits(dataclasses.asdict(config))
        with torch.device("meta"):
            shapes = {name: tensor.shape for name, tensor in network(config).state_dict().items()}
    except (RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path.name} has a configuration that no network can be built from: {error}") from error
    if shapes != {name: tensor.shape for name, tensor in state.items()}:
        raise CheckpointError(f"{path.name} does not fit its own configuration")
    model = network(config)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{path.name} does not fit its own configuration: {error}") from error
    return model


def _check_size_limits(value: Any) -> None:
    """Raises ValueError if a number in a configuration is larger than any network needs."""
    if isinstance(value, dict | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            _check_size_limits(part)
    elif isinstance(value, int | float) and not abs(value) <= MAX_CONFIG_VALUE:
        raise ValueError(f"{value} is larger than {MAX_CONFIG_VALUE}")

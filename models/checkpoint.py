"""Saving and loading. A checkpoint is a safetensors file that carries its configuration, so it needs no other file."""

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

LARGEST_NUMBER = 1024  # of layers, channels, taps, in a network's configuration


class CheckpointError(ValueError):
    """The file is not a checkpoint of this kind, or is damaged."""


def save_degradation(model: Degradation, path: Path) -> None:
    """The same model gives the same bytes."""
    _save(model, model.config, "degradation", path)


def load_degradation(path: Path, device: str = "cpu") -> Degradation:
    """Bit for bit what was saved, ready for use. Raises CheckpointError, and OSError where the file cannot be read."""
    state, config = _load(path, "degradation")
    return _built(Degradation, config_from(DegradationConfig, config), state, path).to(device).eval()


def save_edsr(model: EDSR, path: Path) -> None:
    """The same model gives the same bytes."""
    _save(model, model.config, "edsr", path)


def load_edsr(path: Path, device: str = "cpu") -> EDSR:
    """Bit for bit what was saved, ready for use. Raises CheckpointError, and OSError where the file cannot be read."""
    state, config = _load(path, "edsr")
    return _built(EDSR, config_from(EDSRConfig, config), state, path).to(device).eval()


def config_from(kind: type[Config], values: Any) -> Config:
    """Builds a config dataclass, with those inside it, from what JSON gave. A name that it lacks is an error."""
    if not isinstance(values, dict):
        raise CheckpointError(f"{kind.__name__} is not an object in this file's configuration")
    hints = typing.get_type_hints(kind)
    if unknown := values.keys() - hints.keys():
        raise CheckpointError(f"{kind.__name__} has no {', '.join(sorted(unknown))}: another version wrote this file?")
    built = {}
    for name, value in values.items():
        inner = [part for part in (hints[name], *typing.get_args(hints[name])) if dataclasses.is_dataclass(part)]
        if inner and value is not None:
            built[name] = config_from(typing.cast(type[Any], inner[0]), value)
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
        raise CheckpointError(f"{path.name} is not a whole safetensors file: {error}") from error
    found = description.get("kind") if isinstance(description, dict) else None
    if found != kind:
        raise CheckpointError(f"{path.name} holds {found or 'nothing of ours'}, not {kind}")
    return state, description.get("config")


def _built(
    network: Callable[[Any], Network], config: DegradationConfig | EDSRConfig, state: Mapping[str, Tensor], path: Path
) -> Network:
    # A file of a kilobyte may ask for networks of any size. First they are built of shapes alone, which must be the
    # file's own; so what is built for good is no larger than the file.
    try:
        _require_modest(dataclasses.asdict(config))
        with torch.device("meta"):
            shapes = {name: tensor.shape for name, tensor in network(config).state_dict().items()}
    except (RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path.name} has a configuration that nothing can be built by: {error}") from error
    if shapes != {name: tensor.shape for name, tensor in state.items()}:
        raise CheckpointError(f"{path.name} does not fit its own configuration")
    model = network(config)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{path.name} does not fit its own configuration: {error}") from error
    return model


def _require_modest(value: Any) -> None:
    """Raises ValueError where a number in a configuration is larger than any network needs."""
    if isinstance(value, dict | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            _require_modest(part)
    elif isinstance(value, int | float) and not abs(value) <= LARGEST_NUMBER:
        raise ValueError(f"{value} is not a number for a network")

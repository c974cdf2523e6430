from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from models.checkpoint import (
    CheckpointError,
    load_degradation,
    load_edsr,
    save_degradation,
    save_edsr,
)
from models.degradation import Degradation, DegradationConfig
from models.networks.edsr import EDSR, EDSRConfig
from models.networks.kernel import KernelConfig
from models.networks.noise import NoiseConfig

CONFIGS = [
    DegradationConfig(),
    DegradationConfig(3, KernelConfig(size=9, batch_norm=False, initial_sigma=1.5), None, center_kernels=True),
    DegradationConfig(
        2, KernelConfig(blocks=1), NoiseConfig(condition_on_image=True, spatial=True, dim=3, body_kernel=3, blocks=1)
    ),
]


def same(one: nn.Module, other: nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_degradation_comes_back_bit_for_bit(tmp_path: Path, config: DegradationConfig) -> None:
    model = Degradation(config)
    save_degradation(model, tmp_path / "one")
    loaded = load_degradation(tmp_path / "one")
    assert loaded.config == config
    assert same(model, loaded)
    assert not loaded.training
    save_degradation(loaded, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_an_edsr_comes_back_bit_for_bit(tmp_path: Path) -> None:
    model = EDSR(EDSRConfig(3, width=8, blocks=2, global_skip=True))
    save_edsr(model, tmp_path / "one")
    loaded = load_edsr(tmp_path / "one")
    assert loaded.config == model.config
    assert same(model, loaded)
    assert not any(p.requires_grad for p in loaded.add_mean.parameters())


def test_damaged_and_foreign_files_are_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "model"
    save_edsr(EDSR(EDSRConfig(width=8, blocks=1)), path)
    whole = path.read_bytes()
    with pytest.raises(CheckpointError, match="holds edsr, not degradation"):
        load_degradation(path)
    for damaged in (whole[: len(whole) // 2], whole[:4], b"", b"not a checkpoint at all"):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="not a complete"):
            load_edsr(path)
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="not a Patina checkpoint"):
        load_edsr(path)
    with pytest.raises(FileNotFoundError):
        load_edsr(tmp_path / "missing")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"scales": 4}, "has no scales"),
        ({"scale": 7}, "scale is 2, 3 or 4"),
        ({"noise": {"spacial": True}}, "NoiseConfig has no spacial"),
        ({"noise": 3}, "not an object"),
        ({"scale": 2, "kernel": {"size": 5}}, "does not fit"),
    ],
)
def test_a_wrong_configuration_is_an_error(tmp_path: Path, config: object, words: str) -> None:
    state = Degradation(DegradationConfig()).state_dict()
    save_file(state, tmp_path / "model", metadata={"patina": json.dumps({"kind": "degradation", "config": config})})
    with pytest.raises(CheckpointError, match=words):
        load_degradation(tmp_path / "model")

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from models.checkpoint import (
    CheckpointError,
    build_config,
    load_degradation,
    load_edsr,
    save_degradation,
    save_edsr,
)
from models.degradation import Degradation, DegradationConfig
from models.networks.edsr import EDSR, EDSRConfig
from models.networks.kernel import KernelConfig
from models.networks.noise import NoiseConfig

DATA = Path(__file__).parent / "data"
SPATIAL = NoiseConfig(condition_on_image=True, spatial=True, dim=3, body_kernel=3, blocks=1)
CONFIGS = [
    DegradationConfig(),
    DegradationConfig(3, KernelConfig(size=9, batch_norm=False, initial_sigma=1.5), None, center_kernels=True),
    DegradationConfig(2, KernelConfig(blocks=1), SPATIAL),
]


def have_same_weights(one: nn.Module, other: nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_degradation_loads_bit_for_bit(tmp_path: Path, config: DegradationConfig) -> None:
    model = Degradation(config)
    save_degradation(model, tmp_path / "one")
    loaded = load_degradation(tmp_path / "one")
    assert loaded.config == config
    assert have_same_weights(model, loaded)
    assert not loaded.training
    save_degradation(loaded, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_an_edsr_loads_bit_for_bit(tmp_path: Path) -> None:
    model = EDSR(EDSRConfig(3, width=8, blocks=2, global_skip=True))
    save_edsr(model, tmp_path / "one")
    loaded = load_edsr(tmp_path / "one")
    assert loaded.config == model.config
    assert have_same_weights(model, loaded)
    assert not any(p.requires_grad for p in loaded.add_mean.parameters())


def test_loading_an_edsr_imports_no_compiler(tmp_path: Path) -> None:
    """It would take the first job of a worker seconds. In a process of its own: other tests may have imported it."""
    save_edsr(EDSR(EDSRConfig(4, width=8, blocks=1)), tmp_path / "sr")
    code = (
        "import sys; from pathlib import Path; from models.checkpoint import load_edsr; load_edsr(Path(sys.argv[1])); "
        "sys.exit('sympy' in sys.modules or 'torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path / "sr"], check=False).returncode == 0


def test_a_degradation_with_old_field_names_loads() -> None:
    """The file was written when fields had other names. Its outputs were printed by the same code."""
    degradation = load_degradation(DATA / "degrader-old-fields.safetensors")
    kernel = KernelConfig(2, 4, 1, 6, batch_norm=False, initial_sigma=1.0, smoothing=0.7, parametric_ellipse=True)
    filters = {"num_filters": 2, "filter_size": 3, "uniform_latent": True}
    noise = NoiseConfig(True, z=2, width=4, blocks=1, dim=3, batch_norm=False, **filters)  # type: ignore[arg-type]
    assert degradation.config == DegradationConfig(2, kernel, noise, center_kernels=True, jpeg_qualities=(80,))
    latents = degradation.draw_latents(2, (8, 8), torch.Generator().manual_seed(1))
    degraded = degradation(torch.linspace(0, 1, 2 * 3 * 16 * 16).view(2, 3, 16, 16), latents)
    assert degraded.lr.double().sum().item() == pytest.approx(192.11765, abs=0.1)
    row = [0.0073349, 0.0482104, 0.1263414, 0.1198683, 0.0455212, 0.0073168]
    assert degraded.kernel[0, 2].tolist() == pytest.approx(row, abs=1e-6)


def test_paper_networks_with_old_field_names_load() -> None:
    noise = load_degradation(DATA / "degrader-paper-old-fields.safetensors").config.noise
    assert noise == NoiseConfig(True, True, z=2, width=4, blocks=1, dim=3, head_kernel=3, body_kernel=3)
    assert load_edsr(DATA / "sr-old-fields.safetensors").config == EDSRConfig(
        2, width=4, blocks=1, global_skip=True, single_upsample=True
    )


@dataclass(frozen=True)
class _Outer:
    inner: EDSRConfig
    rate: float = 1.0


@dataclass(frozen=True)
class _Keeps:
    single_stage: bool


def test_renamed_fields_apply_at_every_depth() -> None:
    values = {"inner": {"single_stage": True}, "speed": 3.0}
    renamed = {"speed": "rate", "single_stage": "single_upsample"}
    assert build_config(_Outer, values, renamed) == _Outer(EDSRConfig(single_upsample=True), 3.0)


def test_a_field_that_still_exists_is_not_renamed() -> None:
    assert build_config(_Keeps, {"single_stage": True}) == _Keeps(True)


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model"
    save_edsr(EDSR(EDSRConfig(width=8, blocks=1)), path)
    complete = path.read_bytes()
    with pytest.raises(CheckpointError, match="holds edsr, not degradation"):
        load_degradation(path)
    for damaged in (complete[: len(complete) // 2], complete[:4], b"", b"not a checkpoint at all"):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="not a complete"):
            load_edsr(path)
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="not a Patina checkpoint"):
        load_edsr(path)
    with pytest.raises(FileNotFoundError):
        load_edsr(tmp_path / "missing")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"scales": 4}, "has no scales. This file was written by a newer version. Update Patina"),
        ({"scale": 7}, "scale is 1, 2, 3, 4 or 8, not 7"),
        ({"noise": {"spacial": True}}, "NoiseConfig has no spacial"),
        ({"noise": 3}, "not an object"),
        ({"scale": 2, "kernel": {"size": 5}}, "does not fit"),
    ],
)
def test_a_wrong_configuration_is_refused(tmp_path: Path, config: object, message: str) -> None:
    state = Degradation(DegradationConfig()).state_dict()
    save_file(state, tmp_path / "model", metadata={"patina": json.dumps({"kind": "degradation", "config": config})})
    with pytest.raises(CheckpointError, match=message):
        load_degradation(tmp_path / "model")

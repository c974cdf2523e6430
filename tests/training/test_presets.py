"""The presets: sizes of networks and the settings of the paper's table."""

from __future__ import annotations

import pytest
from torch import nn

from models.degradation import Degradation
from models.networks.discriminator import PatchDiscriminator
from models.networks.edsr import EDSR
from training.presets import PRESET_NAMES, get_preset


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_seed_preset_equals_the_paper() -> None:
    seed = get_preset("seed", 4, device="cpu")
    assert count_parameters(Degradation(seed.degradation)) == 114_266
    assert count_parameters(PatchDiscriminator(seed.discriminator)) == 1_845_952
    assert count_parameters(EDSR(seed.edsr)) == 1_517_595
    assert (seed.batch_size, seed.lr_patch, seed.noise_l2_weight, seed.max_grad_norm) == (32, 32, 1, 50)
    assert seed.degradation_lr == seed.discriminator_lr == seed.edsr_lr == 2e-4


@pytest.mark.parametrize(
    ("name", "kernel", "noise", "noise_l2_weight", "stride"),
    [
        ("seed", (3, 8, 21), (False, False, 3, 32, 8, 1), 1, 2),
        ("ntire2020-track1", (3, 8, 11), (True, True, 3, 64, 8, 3), 100, 1),
        ("ntire2018-track2", (64, 16, 21), (False, False, 3, 64, 16, 3), 10, 2),
        ("ntire2018-track4", (3, 16, 21), (True, False, 3, 64, 16, 3), 100, 2),
        ("ntire2017-track2", (64, 16, 21), None, 0, 2),
    ],
)
def test_presets_equal_the_papers_table(
    name: str, kernel: tuple[int, ...], noise: tuple[object, ...] | None, noise_l2_weight: float, stride: int
) -> None:
    config = get_preset(name, 4, device="cpu")
    degradation = config.degradation
    assert (degradation.kernel.z, degradation.kernel.blocks, degradation.kernel.size) == kernel
    settings = degradation.noise and (
        degradation.noise.condition_on_image,
        degradation.noise.spatial,
        degradation.noise.z,
        degradation.noise.width,
        degradation.noise.blocks,
        degradation.noise.dim,
    )
    assert settings == noise
    assert config.noise_l2_weight == noise_l2_weight
    assert config.discriminator.stride == stride
    assert not degradation.center_kernels


def test_published_learning_rates_halve_at_each_quarter() -> None:
    get_lr_factor = get_preset("seed", 4, device="cpu").get_lr_factor
    assert [get_lr_factor(step / 200_000) for step in (0, 49_999, 50_000, 100_000, 150_000, 199_999)] == [
        1, 1, 0.5, 0.25, 0.125, 0.125,
    ]  # fmt: skip


def test_full_edsr_is_for_a_gpu() -> None:
    assert get_preset("default", 4, device="cuda").edsr == get_preset("seed", 4, device="cpu").edsr
    assert count_parameters(EDSR(get_preset("default", 4, device="cpu").edsr)) < 300_000


def test_unknown_names_and_scales_are_refused() -> None:
    with pytest.raises(ValueError, match="known are default, seed"):
        get_preset("sead", 4, device="cpu")
    for name in PRESET_NAMES:
        with pytest.raises(ValueError, match="scale"):
            get_preset(name, 5, device="cpu")

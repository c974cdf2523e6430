from __future__ import annotations

import pytest
from torch import nn

from models.degradation import Degradation
from models.networks.discriminator import PatchDiscriminator
from models.networks.edsr import EDSR
from training.config import PRESET_NAMES, preset


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_seeds_run_to_the_parameter() -> None:
    seed = preset("seed", 4, device="cpu")
    assert count(Degradation(seed.degradation)) == 114_266
    assert count(PatchDiscriminator(seed.discriminator)) == 1_845_952
    assert count(EDSR(seed.edsr)) == 1_517_595
    assert (seed.batch, seed.lr_patch, seed.noise_weight, seed.clip_gradient) == (32, 32, 1, 50)
    assert seed.degradation_rate == seed.discriminator_rate == seed.edsr_rate == 2e-4


@pytest.mark.parametrize(
    ("name", "kernel", "noise", "weight", "stride"),
    [
        ("seed", (3, 8, 21), (False, False, 3, 32, 8, 1), 1, 2),
        ("ntire2020-track1", (3, 8, 11), (True, True, 3, 64, 8, 3), 100, 1),
        ("ntire2018-track2", (64, 16, 21), (False, False, 3, 64, 16, 3), 10, 2),
        ("ntire2018-track4", (3, 16, 21), (True, False, 3, 64, 16, 3), 100, 2),
        ("ntire2017-track2", (64, 16, 21), None, 0, 2),
    ],
)
def test_the_papers_table(
    name: str, kernel: tuple[int, ...], noise: tuple[object, ...] | None, weight: float, stride: int
) -> None:
    recipe = preset(name, 4, device="cpu")
    got = recipe.degradation
    assert (got.kernel.z, got.kernel.blocks, got.kernel.size) == kernel
    of_noise = got.noise and (
        got.noise.mix, got.noise.spatial, got.noise.z, got.noise.width, got.noise.blocks, got.noise.dim
    )  # fmt: skip
    assert of_noise == noise
    assert recipe.noise_weight == weight
    assert recipe.discriminator.stride == stride
    assert not got.centred


def test_published_rates_are_halved_at_each_quarter() -> None:
    rate = preset("seed", 4, device="cpu").rate_at
    assert [rate(step / 200_000) for step in (0, 49_999, 50_000, 100_000, 150_000, 199_999)] == [
        1, 1, 0.5, 0.25, 0.125, 0.125,
    ]  # fmt: skip


def test_the_full_edsr_is_for_a_gpu() -> None:
    assert preset("default", 4, device="cuda").edsr == preset("seed", 4, device="cpu").edsr
    assert count(EDSR(preset("default", 4, device="cpu").edsr)) < 300_000


def test_unknown_names_and_scales_are_refused() -> None:
    with pytest.raises(ValueError, match="known are default, seed"):
        preset("sead", 4, device="cpu")
    for name in PRESET_NAMES:
        with pytest.raises(ValueError, match="scale"):
            preset(name, 5, device="cpu")

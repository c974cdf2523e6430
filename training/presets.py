"""Named training configurations: `default`, and the runs of the paper (its table of settings)."""

from __future__ import annotations

from dataclasses import replace

from models.degradation import DegradationConfig
from models.geometry import centered_kernel_size
from models.networks.discriminator import DiscriminatorConfig
from models.networks.edsr import EDSRConfig
from models.networks.kernel import KernelConfig
from models.networks.noise import NoiseConfig
from training.config import MatchingConfig, TrainConfig


def get_preset(name: str, scale: int, *, device: str) -> TrainConfig:
    """Returns the configuration called `name` with networks that `device` can train.

    Raises ValueError for a name outside PRESET_NAMES and for a scale outside `models.geometry.SCALES`.
    """
    if name == "default":
        return _default(scale, device)
    if name not in _PAPER:
        raise ValueError(f"unknown preset {name!r}; known are {', '.join(PRESET_NAMES)}")
    config = _PAPER[name]
    return replace(config, degradation=replace(config.degradation, scale=scale), edsr=replace(config.edsr, scale=scale))


def _default(scale: int, device: str) -> TrainConfig:
    on_gpu = device.startswith("cuda")
    small_edsr = EDSRConfig(scale, width=32, blocks=4, global_skip=True, single_upsample=True, pixel_range=1, border=8)
    return TrainConfig(
        "default",
        degradation=DegradationConfig(
            scale,
            KernelConfig(
                z=4,
                blocks=3,
                size=centered_kernel_size(scale),
                batch_norm=False,
                initial_sigma=scale / 2,
                smoothing=scale / 3,
                parametric_ellipse=True,
            ),
            NoiseConfig(
                condition_on_image=True,
                z=4,
                width=16,
                blocks=1,
                dim=3,
                batch_norm=False,
                num_filters=4,
                uniform_latent=True,
            ),
            center_kernels=True,
        ),
        discriminator=DiscriminatorConfig(width=64 if on_gpu else 16, scores=1, spectral_norm=True),
        edsr=EDSRConfig(scale) if on_gpu else small_edsr,
        batch_size=16 if on_gpu else 8,  # in a short training, more steps are worth more than larger ones
        real_context=True,
        noise_l2_weight=0.0,
        adversarial_weight=0.02,
        edsr_lr=2e-4 if on_gpu else 1e-3,
        betas=(0.5, 0.99),
        cosine_decay=True,
        matching=MatchingConfig(),
        default_steps=None,
        default_minutes=10.0,
    )


def _paper(
    name: str, kernel: KernelConfig, noise: NoiseConfig | None, noise_l2_weight: float, stride: int = 2
) -> tuple[str, TrainConfig]:
    return name, TrainConfig(
        name,
        DegradationConfig(4, kernel, noise),
        DiscriminatorConfig(stride=stride),
        noise_l2_weight=noise_l2_weight,
    )


_PAPER: dict[str, TrainConfig] = dict(
    [
        _paper("seed", KernelConfig(), NoiseConfig(), noise_l2_weight=1),
        _paper(
            "ntire2020-track1",
            KernelConfig(size=11),
            NoiseConfig(condition_on_image=True, spatial=True, width=64, dim=3, head_kernel=3, body_kernel=3),
            noise_l2_weight=100,
            stride=1,
        ),
        _paper(
            "ntire2018-track2",
            KernelConfig(z=64, blocks=16),
            NoiseConfig(width=64, blocks=16, dim=3),
            noise_l2_weight=10,
        ),
        _paper(
            "ntire2018-track4",
            KernelConfig(blocks=16),
            NoiseConfig(condition_on_image=True, width=64, blocks=16, dim=3),
            noise_l2_weight=100,
        ),
        _paper("ntire2017-track2", KernelConfig(z=64, blocks=16), None, noise_l2_weight=0),
    ]
)

PRESET_NAMES: tuple[str, ...] = ("default", *_PAPER)

"""What a training consists of, and the recipes that have a name."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from models.degradation import DegradationConfig
from models.discriminator import DiscriminatorConfig
from models.edsr import EDSRConfig
from models.kernel import KernelConfig
from models.noise import NoiseConfig


@dataclass(frozen=True)
class Recipe:
    """Everything that a training depends on beside its photos, its seed and its length. Defaults: the seed's run."""

    name: str
    degradation: DegradationConfig = field(default_factory=DegradationConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    edsr: EDSRConfig = field(default_factory=EDSRConfig)

    lr_patch: int = 32  # side in low-resolution pixels
    batch: int = 32  # patches a step
    per_photo: int = 1  # of which so many are of one photo, share its kernel and are judged together
    turned: bool = True  # patches are flipped and turned
    # Made patches are cut with what lies around them in the photo, rather than reflected at their own border.
    surrounded: bool = False

    noise_weight: float = 1.0  # of the noise's mean square; lambda in the paper
    adversarial_weight: float = 1.0
    spectral_weight: float = 0.0  # of the distance between distributions of log power spectra
    clip_gradient: float = 50.0

    degradation_rate: float = 2e-4
    discriminator_rate: float = 2e-4
    edsr_rate: float = 2e-4
    cosine: bool = False  # learning rates fall to 0 along a cosine; otherwise halved after each quarter
    bfloat16: bool = False  # EDSR and discriminator compute in it

    default_steps: int | None = 200_000
    default_minutes: float | None = None

    def __post_init__(self) -> None:
        if self.batch % self.per_photo:
            raise ValueError(f"a batch of {self.batch} is no multiple of {self.per_photo} patches a photo")
        if self.edsr.scale != self.scale:
            raise ValueError(f"the EDSR enlarges by {self.edsr.scale}, the degradation shrinks by {self.scale}")

    @property
    def scale(self) -> int:
        return self.degradation.scale

    @property
    def minimum_lr_side(self) -> int:
        """Pixels that a real low-resolution photo must have in both directions."""
        return self.lr_patch

    @property
    def minimum_hr_side(self) -> int:
        """Pixels that a clean photo must have in both directions."""
        return self.lr_patch * self.scale

    def rate_at(self, fraction: float) -> float:
        """What the learning rates are multiplied by when `fraction` of the training is done."""
        if self.cosine:
            return (1 + math.cos(math.pi * min(1.0, fraction))) / 2
        return 0.5 ** min(3, int(4 * fraction))


def preset(name: str, scale: int, *, device: str) -> Recipe:
    """The recipe of that name, for photos shrunk `scale` times, with networks that `device` can train.

    Raises ValueError for a name that is not in PRESET_NAMES and for a scale other than 2, 3 and 4.
    """
    if name == "default":
        return _default(scale, device)
    if name not in _PAPER:
        raise ValueError(f"there is no preset {name!r}; known are {', '.join(PRESET_NAMES)}")
    recipe = _PAPER[name]
    return replace(recipe, degradation=replace(recipe.degradation, scale=scale), edsr=replace(recipe.edsr, scale=scale))


def _default(scale: int, device: str) -> Recipe:
    on_gpu = device.startswith("cuda")
    return Recipe(
        "default",
        degradation=DegradationConfig(
            scale,
            # Like the scale even or odd, so that the window lies centred on the sampled point.
            KernelConfig(z=3, width=64, blocks=4, size=20 + scale, batch_norm=False, initial_sigma=2.0),
            NoiseConfig(mix=True, spatial=True, z=3, width=32, blocks=2, dim=3, batch_norm=False),
            centred=True,
        ),
        discriminator=DiscriminatorConfig(width=64 if on_gpu else 32, scores=1),
        edsr=EDSRConfig(scale) if on_gpu else EDSRConfig(scale, width=32, blocks=6, global_skip=True),
        batch=32,
        per_photo=4,
        surrounded=True,
        noise_weight=0.0,
        spectral_weight=1.0,
        adversarial_weight=0.01,
        degradation_rate=1e-3,
        edsr_rate=1e-3,
        cosine=True,
        bfloat16=True,
        default_steps=None,
        default_minutes=10.0,
    )


def _paper(
    name: str, kernel: KernelConfig, noise: NoiseConfig | None, noise_weight: float, stride: int = 2
) -> tuple[str, Recipe]:
    return name, Recipe(
        name,
        DegradationConfig(4, kernel, noise),
        DiscriminatorConfig(stride=stride),
        noise_weight=noise_weight,
    )


_PAPER: dict[str, Recipe] = dict(
    [
        _paper("seed", KernelConfig(), NoiseConfig(), noise_weight=1),
        _paper(
            "ntire2020-track1",
            KernelConfig(size=11),
            NoiseConfig(mix=True, spatial=True, width=64, dim=3, head_size=3, body_size=3),
            noise_weight=100,
            stride=1,
        ),
        _paper(
            "ntire2018-track2", KernelConfig(z=64, blocks=16), NoiseConfig(width=64, blocks=16, dim=3), noise_weight=10
        ),
        _paper(
            "ntire2018-track4",
            KernelConfig(blocks=16),
            NoiseConfig(mix=True, width=64, blocks=16, dim=3),
            noise_weight=100,
        ),
        _paper("ntire2017-track2", KernelConfig(z=64, blocks=16), None, noise_weight=0),
    ]
)

PRESET_NAMES: tuple[str, ...] = ("default", *_PAPER)

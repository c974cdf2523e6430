"""What a training consists of, and the recipes that have a name."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from models.degradation import DegradationConfig
from models.geometry import centred_size
from models.jpeg import BLOCK
from models.networks.discriminator import DiscriminatorConfig
from models.networks.edsr import EDSRConfig
from models.networks.kernel import KernelConfig
from models.networks.noise import NoiseConfig


@dataclass(frozen=True)
class Matching:
    """How the degradation is led to the real photos by an estimator of degradations, before the EDSR is trained.

    Kernel and noise network aim at what the estimator says of the real photos; then they are matched through what it
    says of their images, the discriminator beside it; the rest of the time is the EDSR's. Both phases have as many
    steps as help, however long the training: in those beyond, they learn what few photos happen to show. In a short
    training each ends when a share of it is done.
    """

    crop: int = 48  # side in low-resolution pixels of what is looked at; patch size where photos are smaller
    crops: int = 8  # of each photo
    aimed: int = 32  # photos in one update while aiming
    photos: int = 12  # made in a step while matching; two and two of one place where real photos are of one view
    real_looks: int = 600  # at real photos
    judged_from: float = 0.5  # of the matching; from then on the best of
    candidates: int = 5  # is kept, as the report has it
    aim_steps: int = 30
    aim_until: float = 0.1
    match_steps: int = 300
    match_until: float = 0.5
    difference_weight: float = 2.0  # of what photos of one view differ by, beside what photos are
    convexity_weight: float = 10.0  # of what keeps kernels in one piece, without long tails
    roundness_weight: float = 0.1  # of what keeps them round where photos do not tell
    correlation_weight: float = 0.5  # of what keeps noise independent between pixels, likewise
    colour_weight: float = 0.5  # of what keeps noise of brightness and of colours apart, likewise
    diversity_weight: float = 0.1  # of what keeps it of one kind in all photos, whatever its level, likewise
    aim_rate: float = 2e-3  # of kernels
    aim_noise_rate: float = 3e-3
    # Both low, for aiming has come near, and the rest overfits what few photos show.
    kernel_rate: float = 1e-4
    noise_rate: float = 3e-4


@dataclass(frozen=True)
class Recipe:
    """Everything that a training depends on beside its photos, its seed and its length. Defaults: the seed's run."""

    name: str
    degradation: DegradationConfig = field(default_factory=DegradationConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    edsr: EDSRConfig = field(default_factory=EDSRConfig)

    lr_patch: int = 32  # side in low-resolution pixels
    batch: int = 32  # patches a step
    # Made patches are cut with what lies around them in the photo, rather than reflected at their own border.
    surrounded: bool = False

    noise_weight: float = 1.0  # of the noise's mean square; lambda in the paper
    adversarial_weight: float = 1.0
    clip_gradient: float = 50.0

    degradation_rate: float = 2e-4  # without matching
    discriminator_rate: float = 2e-4
    edsr_rate: float = 2e-4
    betas: tuple[float, float] = (0.9, 0.999)  # Adam's, for the degradation
    # Learning rates (with matching, which has its own for the degradation, the EDSR's) fall to 0 along a cosine;
    # otherwise they are halved after each quarter.
    cosine: bool = False
    bfloat16: bool = True  # EDSR and discriminator compute in it where that is faster

    matching: Matching | None = None  # None: as published, adversarially alone and all networks in every step

    default_steps: int | None = 200_000
    default_minutes: float | None = None

    def __post_init__(self) -> None:
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

    @property
    def lr_grid(self) -> int:
        """Patches of real photos begin at multiples of it: with one of JPEG's blocks, as those made with JPEG do."""
        return BLOCK if self.degradation.jpeg_qualities else 1

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
    small = EDSRConfig(scale, width=32, blocks=4, global_skip=True, single_stage=True)
    return Recipe(
        "default",
        degradation=DegradationConfig(
            scale,
            KernelConfig(
                z=4,
                blocks=3,
                size=centred_size(scale),
                batch_norm=False,
                initial_sigma=scale / 2,
                smoothing=scale / 3,
                ellipse=True,
            ),
            NoiseConfig(mix=True, z=4, width=16, blocks=1, dim=3, batch_norm=False, fields=4, even=True),
            centred=True,
        ),
        discriminator=DiscriminatorConfig(width=64 if on_gpu else 16, scores=1, spectral_norm=True),
        edsr=EDSRConfig(scale) if on_gpu else small,
        batch=16,
        surrounded=True,
        noise_weight=0.0,
        adversarial_weight=0.02,
        edsr_rate=2e-4 if on_gpu else 1e-3,
        betas=(0.5, 0.99),
        cosine=True,
        matching=Matching(),
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

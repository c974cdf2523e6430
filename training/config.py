"""The configuration of a training: networks, batches, losses and learning rates."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from models.degradation import DegradationConfig
from models.networks.discriminator import DiscriminatorConfig
from models.networks.edsr import EDSRConfig


@dataclass(frozen=True)
class MatchingConfig:
    """How the degradation learns from an estimator, before the EDSR trains.

    First, kernel and noise network are fitted to what the estimator predicts for the real photos. Then their images are
    matched to the real photos, through the estimator and a discriminator. The rest of the time is the EDSR's. Both
    phases have as many steps as help: later steps overfit a few photos. In a short training each ends at a fraction.
    """

    crop: int = 48  # side of a crop in low-resolution pixels; adapt_config lowers it where photos are smaller
    crops_per_photo: int = 8
    fit_batch: int = 32  # photos in an update while fitting
    match_batch: int = 12  # photos generated in a step while matching; in pairs where real photos share a scene
    num_real_crops: int = 600  # groups of crops of real photos that the estimator sees
    select_after: float = 0.5  # fraction of the matching after which the best of
    num_candidates: int = 5  # candidates is selected by the report's score
    fit_steps: int = 30
    fit_until: float = 0.2  # fraction of the training
    match_steps: int = 300
    match_until: float = 0.5  # fraction of the training
    pair_difference_weight: float = 2.0  # of differences between photos of one scene, relative to the photos
    log_concavity_weight: float = 10.0  # keeps kernels in one piece, without long tails
    roundness_weight: float = 0.1  # keeps kernels round where photos are ambiguous
    filter_correlation_weight: float = 0.5  # keeps noise independent between pixels where photos are ambiguous
    color_weight: float = 0.5  # keeps noise in luma and in color differences uncorrelated, same condition
    latent_gain_weight: float = 0.1  # lets photos differ in noise std alone, same condition
    fit_kernel_lr: float = 2e-3
    fit_noise_lr: float = 3e-3
    # Both are low, because fitting ends near the target and more would overfit a few photos.
    match_kernel_lr: float = 1e-4
    match_noise_lr: float = 3e-4


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a training depends on except its photos, seed and length. Defaults are the preset `seed`.

    Raises ValueError if EDSR and degradation differ in scale.
    """

    name: str
    degradation: DegradationConfig = field(default_factory=DegradationConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    edsr: EDSRConfig = field(default_factory=EDSRConfig)

    lr_patch: int = 32  # side in low-resolution pixels
    batch_size: int = 32  # patches in a step
    # True: HR patches are cut with their context in the photo. False: they are reflected at their own border.
    real_context: bool = False

    noise_l2_weight: float = 1.0  # of the noise's mean square; lambda in the paper
    adversarial_weight: float = 1.0
    max_grad_norm: float = 50.0

    degradation_lr: float = 2e-4  # without matching
    discriminator_lr: float = 2e-4
    edsr_lr: float = 2e-4
    betas: tuple[float, float] = (0.9, 0.999)  # of the degradation's Adam
    # True: learning rates fall to 0 along a cosine (with matching, the EDSR's only). False: they halve at each quarter.
    cosine_decay: bool = False
    bfloat16: bool = True  # EDSR and discriminator use it where it is faster

    matching: MatchingConfig | None = None  # None: the paper's training, adversarial only, all networks in every step

    default_steps: int | None = 200_000
    default_minutes: float | None = None

    def __post_init__(self) -> None:
        if self.edsr.scale != self.scale:
            raise ValueError(f"the EDSR upscales by {self.edsr.scale}, the degradation downscales by {self.scale}")

    @property
    def scale(self) -> int:
        return self.degradation.scale

    @property
    def min_lr_side(self) -> int:
        """Minimum height and width of a real low-resolution photo, in pixels."""
        return self.lr_patch

    @property
    def min_hr_side(self) -> int:
        """Minimum height and width of a clean photo, in pixels."""
        return self.lr_patch * self.scale

    @property
    def on_grid(self) -> bool:
        """Whether patches of real photos start at a JPEG block, as generated ones do."""
        return bool(self.degradation.bank)

    def get_lr_factor(self, progress: float) -> float:
        """Returns the factor of the learning rates at `progress`, 0..1, of the training or phase."""
        if self.cosine_decay:
            return (1 + math.cos(math.pi * min(1.0, progress))) / 2
        return 0.5 ** min(3, int(4 * progress))

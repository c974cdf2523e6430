"""The training loop: degradation, discriminator and EDSR, jointly (section 3.5 of the paper)."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from models.degradation import Degradation
from models.edsr import EDSR
from models.losses import lsgan_loss, noise_regularisation, quantise
from training.photos import Photos, PhotosError, draw_patches
from training.presets import Recipe
from training.spectra import Spectra, energy_distance
from training.state import State


@dataclass(frozen=True)
class Progress:
    step: int
    total_steps: int  # exact if the length is given in steps, else what the pace so far promises
    seconds: float  # spent training, that before a resume included
    fraction: float  # of the whole training, 0..1
    metrics: dict[str, float]


@dataclass(frozen=True)
class Checkpoint:
    """The training as it stands. To be saved before the callback that got it returns: it goes on changing."""

    state: State

    @property
    def step(self) -> int:
        return self.state.step

    @property
    def seconds(self) -> float:
        return self.state.seconds

    def save(self, path: Path) -> None:
        self.state.save(path)


@dataclass(frozen=True)
class Trained:
    degradation: Degradation
    edsr: EDSR
    steps: int
    seconds: float
    history: list[dict[str, float]]  # a few hundred points at most, each with its "step"


class Stopped(Exception):  # noqa: N818 (it is no error)
    """Training was asked to stop, and its last checkpoint has been handed over."""


def train(
    recipe: Recipe,
    lr_photos: Photos,
    hr_photos: Photos,
    *,
    seed: int,
    max_steps: int | None = None,
    max_minutes: float | None = None,
    device: str = "cpu",
    resume: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_checkpoint: Callable[[Checkpoint], None] | None = None,
    checkpoint_every_seconds: float = 30,
    should_stop: Callable[[], bool] | None = None,
) -> Trained:
    """Learns how `lr_photos` got their quality from clean `hr_photos`, and an EDSR on what it makes of them.

    It ends at `max_steps` or `max_minutes`, whichever comes first; the recipe has its own where neither is given. The
    schedule fits itself to them. Minutes count from the first step, across resumes. A training of given steps is the
    same to the last bit for the same seed on the same CPU and number of threads, resumed or not.

    `resume` is a saved Checkpoint; its recipe and seed count then, not those given here. `should_stop` is asked before
    every step. Raises PhotosError for photos that are missing or too small, CheckpointError for a bad `resume`, and
    Stopped.
    """
    check_photos(recipe, lr_photos, hr_photos)
    state = State.load(resume, device) if resume else State(recipe, seed, device)
    recipe = state.recipe
    if max_steps is None and max_minutes is None:
        max_steps, max_minutes = recipe.default_steps, recipe.default_minutes
    max_seconds = None if max_minutes is None else 60 * max_minutes
    started = saved = told = time.monotonic()
    seconds_before, steps_before = state.seconds, state.step
    metrics: dict[str, float] = {}

    def fraction_done() -> float:
        return max(state.step / max_steps if max_steps else 0.0, state.seconds / max_seconds if max_seconds else 0.0)

    def tell() -> None:
        fraction = min(1.0, fraction_done())
        total = max_steps if fraction == state.step / (max_steps or 1) else round(state.step / max(fraction, 1e-9))
        if on_progress:
            on_progress(Progress(state.step, total or state.step, state.seconds, fraction, metrics))

    while (fraction := fraction_done()) < 1:
        now = time.monotonic()
        stopping = should_stop is not None and should_stop()
        if on_checkpoint and (stopping or now - saved >= checkpoint_every_seconds):
            on_checkpoint(Checkpoint(state))
            saved = time.monotonic()
        if stopping:
            raise Stopped
        metrics = training_step(state, lr_photos, hr_photos, fraction)
        state.step += 1
        state.curve.add(state.step, metrics)
        state.seconds = seconds_before + time.monotonic() - started
        if time.monotonic() - told >= 1 or state.step == steps_before + 1:
            tell()
            told = time.monotonic()
    tell()
    if on_checkpoint:
        on_checkpoint(Checkpoint(state))
    return Trained(state.degradation.eval(), state.edsr.eval(), state.step, state.seconds, state.curve.points)


def training_step(state: State, lr_photos: Photos, hr_photos: Photos, fraction: float) -> dict[str, float]:
    """One step of all three networks, `fraction` of the way through. Shapes are for the seed's run."""
    recipe, device = state.recipe, state.device
    degradation, discriminator, edsr = state.degradation, state.discriminator, state.edsr
    for name, rate in (
        ("degradation", recipe.degradation_rate),
        ("discriminator", recipe.discriminator_rate),
        ("edsr", recipe.edsr_rate),
    ):
        for group in state.optimizers[name].param_groups:
            group["lr"] = rate * recipe.rate_at(fraction)

    # Real and clean patches are drawn independently; nothing pairs them.
    real = draw_real(state, lr_photos)  # (32, 3, 32, 32)
    window, hr = draw_clean(state, hr_photos)  # (32, 3, 128, 128) both, but where the window is surrounded
    latents = degradation.draw_latents(
        recipe.batch, (recipe.lr_patch,) * 2, state.generators["latents"], per_photo=recipe.per_photo
    ).to(device)

    # 1. Low-resolution images are made. They are rounded like the real ones, or rounding alone would give them away.
    made = degradation(window, latents, surrounded=recipe.surrounded)
    lr = quantise(made.lr)  # (32, 3, 32, 32)

    # 2. Degradation: what it makes is to look real to the discriminator, which stands still meanwhile.
    discriminator.requires_grad_(False)
    with autocast(recipe, device):
        adversarial = lsgan_loss(discriminator(lr).float(), real=True)  # over (32, 64, 8, 8)
    discriminator.requires_grad_(True)
    regularisation = noise_regularisation(made.noise)
    loss = recipe.adversarial_weight * adversarial + recipe.noise_weight * regularisation
    if recipe.spectral_weight:
        spectral = energy_distance(photo_spectra(lr, recipe), photo_spectra(real, recipe))
        loss = loss + recipe.spectral_weight * spectral
    update(state.optimizers["degradation"], loss, recipe.clip_gradient)

    # 3. Discriminator: real towards 1, made towards 0.
    with autocast(recipe, device):
        told_real = lsgan_loss(discriminator(real).float(), real=True)
        told_made = lsgan_loss(discriminator(lr.detach()).float(), real=False)
    discrimination = (told_real + told_made) / 2
    update(state.optimizers["discriminator"], discrimination)

    # 4. EDSR: from what was made back to what it was made of.
    with autocast(recipe, device):
        restoration = functional.l1_loss(edsr(lr.detach()).float(), hr)
    update(state.optimizers["edsr"], restoration)

    metrics = {
        "adversarial": adversarial.item(),
        "discriminator": discrimination.item(),
        "edsr_l1": restoration.item(),
        "noise_levels": 255 * made.noise.detach().std().item(),
    }
    if recipe.spectral_weight:
        metrics["spectral"] = spectral.item()
    return metrics


def check_photos(recipe: Recipe, lr_photos: Photos, hr_photos: Photos) -> None:
    """Raises PhotosError unless both sets hold photos that a patch fits into."""
    for photos, kind, side in (
        (lr_photos, "real low-resolution", recipe.minimum_lr_side),
        (hr_photos, "clean high-resolution", recipe.minimum_hr_side),
    ):
        if not len(photos):
            raise PhotosError(f"there are no {kind} photos: add some")
        if not photos.at_least(side):
            raise PhotosError(
                f"none of the {len(photos)} {kind} photos is {side} pixels wide and high: add larger ones"
            )


def draw_real(state: State, photos: Photos) -> Tensor:
    recipe = state.recipe
    patches = draw_patches(
        photos,
        recipe.batch,
        recipe.lr_patch,
        state.generators["real"],
        per_photo=recipe.per_photo,
        turned=recipe.turned,
    )
    return patches.to(state.device).float() / 255


def draw_clean(state: State, photos: Photos) -> tuple[Tensor, Tensor]:
    """Windows to be degraded, and the part of each that its low-resolution image shows."""
    recipe = state.recipe
    side, before = recipe.lr_patch * recipe.scale, -state.degradation.kernel_origin[0]
    margin = (before, recipe.degradation.kernel.size - recipe.scale - before) if recipe.surrounded else (0, 0)
    patches = draw_patches(
        photos,
        recipe.batch,
        side,
        state.generators["clean"],
        per_photo=recipe.per_photo,
        turned=recipe.turned,
        margin=margin,
    )
    window = patches.to(state.device).float() / 255
    return window, window[:, :, margin[0] : margin[0] + side, margin[0] : margin[0] + side]


def photo_spectra(lr: Tensor, recipe: Recipe) -> Tensor:
    """Spectra of patches (B, 3, h, w), averaged over those of one photo: (B / per_photo, F)."""
    spectra = Spectra(lr.shape[-1], str(lr.device))(lr).flatten(1)
    return spectra.view(-1, recipe.per_photo, spectra.shape[1]).mean(1)


def update(optimizer: torch.optim.Optimizer, loss: Tensor, clip_gradient: float | None = None) -> None:
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    if clip_gradient is not None:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, clip_gradient)
    optimizer.step()


def autocast(recipe: Recipe, device: str) -> AbstractContextManager[object]:
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=recipe.bfloat16)

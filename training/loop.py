"""The training loop: degradation, discriminator and EDSR, jointly (section 3.5 of the paper)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.degradation import Degradation, Latents
from models.edsr import EDSR
from models.jpeg import UNCOMPRESSED, compress, read_quality
from models.kernel import convexity, elongation
from models.losses import lsgan_loss, noise_regularisation, quantise
from models.sampling import sample_window
from training.estimator import Estimator, Statistics
from training.likeness import most_alike
from training.photos import Photos, PhotosError, draw_patches
from training.presets import Matching, Recipe
from training.report import Judge, Report, looks_within
from training.simulation import in_other_light, random_kernels, random_noise
from training.spectra import energy_distance
from training.state import Simulated, State

SECONDS_A_STEP = 0.1  # roughly, where a training's length is given in steps
QUALITIES = 60  # photos whose JPEG quality is read, at most
UPDATES = 16  # of small networks in one step, which so takes about as long as a step of large ones
EXAMPLES = 64  # photos in one update of an estimator
REAL_LOOKS = 128  # at real photos that made ones are compared with in a step


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
    judge: Callable[[], Judge]  # made when first asked for, if it was not in training

    def report(self) -> Report:
        """As in training/report.py; deterministic."""
        return self.judge().report(self.degradation, self.history)


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
    photos = lr_photos, hr_photos
    state = State.load(resume, device) if resume else State(fitted_to(recipe, lr_photos, hr_photos), seed, device)
    recipe = state.recipe
    if max_steps is None and max_minutes is None:
        max_steps, max_minutes = recipe.default_steps, recipe.default_minutes
    max_seconds = None if max_minutes is None else 60 * max_minutes
    looks = looks_within(min(max_seconds or math.inf, (max_steps or math.inf) * SECONDS_A_STEP))
    judge = cache(lambda: Judge(*photos, recipe.scale, seed=state.seed, looks=looks, device=device))
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
        metrics = training_step(state, *photos, fraction)
        if (candidates := candidates_at(recipe, fraction)) > state.judged:
            state.judged = candidates
            metrics["score"] = keep_the_best(state, judge())
        state.step += 1
        state.curve.add(state.step, metrics)
        state.seconds = seconds_before + time.monotonic() - started
        if time.monotonic() - told >= 1 or state.step == steps_before + 1:
            tell()
            told = time.monotonic()
    tell()
    if on_checkpoint:
        on_checkpoint(Checkpoint(state))
    degradation, edsr = state.degradation.eval(), state.edsr.eval()
    return Trained(degradation, edsr, state.step, state.seconds, state.curve.points, judge)


def training_step(state: State, lr_photos: Photos, hr_photos: Photos, fraction: float) -> dict[str, float]:
    """One step, `fraction` of the way through the training. Returns what there is to tell of it."""
    matching = state.recipe.matching
    if matching is None:
        return joint_step(state, lr_photos, hr_photos, fraction)
    if state.real_windows is None:
        wanted = fraction < matching.simulate_until and count(state) < matching.most_simulated
        if wanted or state.step < matching.folds:
            return simulate_step(state, matching, hr_photos)
        # By its time or by its epochs, whichever is over first: with more of them it learns the examples by heart.
        done = max(share(fraction, matching.simulate_until, matching.fit_until), epochs(state) / matching.most_epochs)
        metrics = fit_step(state, matching, min(1.0, done))
        if done >= 1:
            look_at_real(state, matching, lr_photos, hr_photos)
        return metrics
    if fraction < matching.aim_until:
        return aim_step(state, matching, share(fraction, matching.fit_until, matching.aim_until))
    if fraction < matching.match_until:
        done = share(fraction, matching.aim_until, matching.match_until)
        return match_step(state, matching, lr_photos, hr_photos, done)
    return restore_step(state, hr_photos, share(fraction, matching.match_until, 1.0))


def joint_step(state: State, lr_photos: Photos, hr_photos: Photos, fraction: float) -> dict[str, float]:
    """The paper's step: all three networks, one after the other. Shapes are for the seed's run."""
    recipe, rate = state.recipe, state.recipe.rate_at(fraction)
    degradation, edsr = state.degradation, state.edsr

    # Real and clean patches are drawn independently; nothing pairs them.
    real = draw_real(state, lr_photos, recipe.batch)  # (32, 3, 32, 32)
    window, hr = draw_clean(state, hr_photos, recipe.batch, recipe.lr_patch)  # (32, 3, 128, 128)

    # 1. Low-resolution images are made. They are rounded like the real ones, or rounding alone would give them away.
    made = degradation(window, draw_latents(state, recipe.batch, recipe.lr_patch), surrounded=recipe.surrounded)
    lr = quantise(made.lr)  # (32, 3, 32, 32)

    # 2. Degradation: what it makes is to look real to the discriminator, which stands still meanwhile.
    adversarial = deception(state, lr)  # over (32, 64, 8, 8) scores
    loss = recipe.adversarial_weight * adversarial + recipe.noise_weight * noise_regularisation(made.noise)
    update(state.optimizers["degradation"], loss, recipe.degradation_rate * rate, clip_gradient=recipe.clip_gradient)

    # 3. Discriminator: real towards 1, made towards 0.
    discrimination = discriminate(state, real, lr.detach())
    update(state.optimizers["discriminator"], discrimination, recipe.discriminator_rate * rate)

    # 4. EDSR: from what was made back to what it was made of.
    restoration = functional.l1_loss(edsr(lr.detach()), hr)
    update(state.optimizers["edsr"], restoration, recipe.edsr_rate * rate)
    return {
        "adversarial": adversarial.item(),
        "discriminator": discrimination.item(),
        "edsr_l1": restoration.item(),
        "noise_levels": 255 * made.noise.detach().square().mean().sqrt().item(),
    }


@torch.no_grad()
def simulate_step(state: State, matching: Matching, hr_photos: Photos) -> dict[str, float]:
    """Degrades clean photos at random, for the estimators to learn from."""
    recipe, generator = state.recipe, state.generators["estimator"]
    statistics = Statistics(recipe.scale)
    size, crops, fold = recipe.degradation.kernel.size, matching.photos * matching.crops, state.step % matching.folds
    window, _ = draw_clean(state, hr_photos, crops, matching.crop, per_photo=matching.crops, fold=fold)
    window = in_other_light(window.cpu(), matching.crops, generator)
    kernel = random_kernels(matching.photos, size, recipe.scale, generator)
    blurred = 255 * sample_window(window, kernel.repeat_interleave(matching.crops, 0), recipe.scale)
    noisy = (blurred + random_noise(blurred, matching.crops, generator)).clamp(0, 255).round()
    quality = draw_latents(state, crops, 1, per_photo=matching.crops).quality.cpu()
    state.simulated.append(seen_of(statistics, matching, kernel, blurred, compress(noisy, quality), quality, fold))
    return {"simulated": float(count(state))}


def seen_of(
    statistics: Statistics, matching: Matching, kernel: Tensor, blurred: Tensor, lr: Tensor, quality: Tensor, fold: int
) -> Simulated:
    """What the estimators are to learn of photos: kernel (N, K, K), the rest of all their crops, in 8-bit levels."""
    return Simulated(
        statistics.windows(lr, quality, matching.crops).half(),
        statistics.of_kernels(kernel),
        statistics.of_noise(lr - blurred, blurred, matching.crops),
        torch.full((len(kernel),), fold, device=lr.device),
    )


def fit_step(state: State, matching: Matching, done: float) -> dict[str, float]:
    """Fits the estimators to what was simulated."""
    if not state.optimizers["estimators"].state:  # the first of these steps
        state.simulated = [Simulated.joined(state.simulated)]
        windows, kernel, noise, _ = (tensor.to(state.device) for tensor in state.simulated[0])
        for estimator in estimators(state):
            estimator.scale_to(windows.float(), kernel, noise)
    # Up for a tenth of the time, then down to 0 along a cosine.
    rate = matching.estimator_rate * min(1.0, 10 * done + 0.02) * (1 + math.cos(math.pi * done)) / 2
    losses = []
    for _ in range(UPDATES):
        loss = torch.stack([estimation(state, fold, EXAMPLES) for fold in range(matching.folds)]).mean()
        update(state.optimizers["estimators"], loss, rate)
        losses.append(loss.item())
    return {"estimator": sum(losses) / UPDATES}


def estimation(state: State, fold: int, count: int, made: Simulated | None = None) -> Tensor:
    """How far the estimator of a fold is off, on simulated examples of the other folds and on photos just made."""
    estimator, examples = estimators(state)[fold], state.simulated[0]
    others = (examples.fold != fold).nonzero()[:, 0] if len(state.estimators) > 1 else torch.arange(len(examples.fold))
    some = others[torch.randint(len(others), (count,), generator=state.generators["estimator"])]
    batch = Simulated(*(tensor[some].to(state.device) for tensor in examples))
    if made:
        batch = Simulated.joined([batch, made])
    return functional.smooth_l1_loss(estimator(batch.windows.float()), estimator.scaled(batch.kernel, batch.noise))


@torch.no_grad()
def look_at_real(state: State, matching: Matching, photos: Photos, hr_photos: Photos) -> None:
    """Ends the fit: measures the real photos, each equally often.

    Each is compared with what is made of the fold that holds the clean photo most like it. Where real photos show the
    same as clean ones, the estimator that judges it then has seen neither.
    """
    statistics, looks, folds = Statistics(state.recipe.scale, state.device), [], []
    clean = hr_photos.at_least(matching.crop * state.recipe.scale)
    alike = most_alike(photos, hr_photos, state.recipe.scale, clean)
    compressed = bool(state.recipe.degradation.jpeg_qualities)
    usable = photos.at_least(matching.crop)
    usable = usable[:: 1 + (len(usable) - 1) // matching.real_looks]
    for index in usable:
        quality = torch.tensor(float(quality_of(photos[index]) if compressed else UNCOMPRESSED), device=state.device)
        for _ in range(matching.real_looks // len(usable)):
            crops = draw_patches(
                photos,
                matching.crops,
                matching.crop,
                state.generators["real"],
                turned=False,
                among=[index],
                grid=8 if compressed else 1,  # made photos are cut so, too
            )
            crops = crops.to(state.device).float()
            looks.append(statistics.windows(crops, quality.expand(len(crops)), matching.crops).half())
            folds.append(clean.index(alike[index]) % matching.folds)
    state.real_windows, state.real_folds = torch.cat(looks), torch.tensor(folds)
    if torch.bincount(state.real_folds, minlength=matching.folds).min() < len(folds) / (4 * matching.folds):
        state.real_folds = torch.arange(len(folds)) % matching.folds  # too few are like some fold: any will do
    kept = torch.randperm(count(state), generator=state.generators["estimator"])[: matching.kept_simulated]
    state.simulated = [Simulated(*(tensor[kept] for tensor in state.simulated[0]))]


def aim_step(state: State, matching: Matching, done: float) -> dict[str, float]:
    """Leads the kernel network to the estimates themselves: near enough to match from, and quick without any photo."""
    statistics, generator = Statistics(state.recipe.scale, state.device), state.generators["latents"]
    first = estimators(state)[0]
    assert state.real_windows is not None
    some = torch.randint(len(state.real_windows), (256,), generator=generator)
    with torch.no_grad():
        told = [estimator(state.real_windows[some].float()) for estimator in estimators(state)]
        real = torch.stack(told).mean(0)[:, : first.kernel_targets]
    for _ in range(UPDATES):
        z = torch.randn(64, state.recipe.degradation.kernel.z, 1, 1, generator=generator).to(state.device)
        kernel = state.degradation.kernel(z)
        made = first.scaled_kernel(statistics.of_kernels(kernel))
        loss = energy_distance(made, real) + matching.convexity_weight * convexity(kernel)
        update(state.optimizers["degradation"], loss, matching.aim_rate * (1 - done))
    return {"aim": loss.item()}


def match_step(state: State, matching: Matching, lr_photos: Photos, hr_photos: Photos, done: float) -> dict[str, float]:
    """Makes photos and leads what estimator and discriminator say of them to what they say of real ones.

    The estimator that judges has seen no photo of this fold. The others learn from what was made, so that
    none stays blind to what the networks have come to make.
    """
    recipe, degradation, fold = state.recipe, state.degradation, state.step % matching.folds
    assert state.real_windows is not None
    assert state.real_folds is not None
    statistics = Statistics(recipe.scale, state.device)
    crops = matching.photos * matching.crops
    window, _ = draw_clean(state, hr_photos, crops, matching.crop, per_photo=matching.crops, turned=False, fold=fold)
    latents = draw_latents(state, crops, matching.crop, per_photo=matching.crops)
    made = degradation(window, latents, surrounded=recipe.surrounded)
    lr = quantise(made.lr)  # (96, 3, 48, 48)

    judge = estimators(state)[fold].requires_grad_(False)
    told = judge(statistics.windows(255 * lr, latents.quality, matching.crops))  # (12, kernel and noise targets)
    alike = (state.real_folds == fold).nonzero()[:, 0]
    some = alike[torch.randint(len(alike), (REAL_LOOKS,), generator=state.generators["real"])]
    with torch.no_grad():
        told_real = judge(state.real_windows[some].float())
    judge.requires_grad_(True)
    parts = (slice(None, judge.kernel_targets), slice(judge.kernel_targets, None))
    distance = torch.stack([energy_distance(told[:, part], told_real[:, part]) for part in parts]).sum()
    patch = slice(0, recipe.lr_patch)
    patches = lr[:: matching.crops, :, patch, patch]  # one of each photo
    adversarial = deception(state, patches)
    kernel = made.kernel[:: matching.crops]
    # What photos hardly tell: tails, small lumps, a slight elongation. Of kernels alike in them the plainest is taken.
    plainness = matching.convexity_weight * convexity(kernel) + matching.elongation_weight * elongation(kernel)
    loss = distance + recipe.adversarial_weight * adversarial + plainness
    rates = matching.kernel_rate * (1 - done), matching.noise_rate * (1 - done)
    update(state.optimizers["degradation"], loss, *rates, clip_gradient=recipe.clip_gradient)

    discrimination = discriminate(state, draw_real(state, lr_photos, len(patches), turned=False), patches.detach())
    update(state.optimizers["discriminator"], discrimination, recipe.discriminator_rate)

    with torch.no_grad():
        blurred = 255 * (made.lr - made.noise)
        known = seen_of(statistics, matching, kernel, blurred, 255 * lr, latents.quality, fold)
    learners = [other for other in range(matching.folds) if other != fold] or [fold]
    off = torch.stack([estimation(state, learner, EXAMPLES - len(kernel), known) for learner in learners]).mean()
    update(state.optimizers["estimators"], off, matching.learning_on_rate * (1 - done))
    return {
        "match": distance.item(),
        "estimator": off.item(),
        "plainness": plainness.item(),
        "adversarial": adversarial.item(),
        "discriminator": discrimination.item(),
        "noise_levels": 255 * made.noise.detach().square().mean().sqrt().item(),
    }


def estimators(state: State) -> list[Estimator]:
    return [estimator for estimator in state.estimators if isinstance(estimator, Estimator)]


def candidates_at(recipe: Recipe, fraction: float) -> int:
    """How many candidates are to have been judged by then: the first when matching has settled, the last at its end."""
    if not (matching := recipe.matching):
        return 0
    done = (fraction - matching.aim_until) / (matching.match_until - matching.aim_until)
    settled = (done - matching.judged_from) / (1 - matching.judged_from)
    return min(matching.candidates, int(settled * (matching.candidates - 1)) + 1) if settled >= 0 else 0


def keep_the_best(state: State, judge: Judge) -> float:
    """Judges the degradation as it is; after the last of the candidates the best takes its place. Returns the score."""
    assert state.recipe.matching is not None
    score = judge.score(state.degradation)
    if score < state.best_score:
        state.best_score = score
        state.best = {name: tensor.detach().clone() for name, tensor in state.degradation.state_dict().items()}
    if state.judged == state.recipe.matching.candidates and state.best:
        state.degradation.load_state_dict(state.best)
    return score


def restore_step(state: State, hr_photos: Photos, done: float) -> dict[str, float]:
    """Trains the EDSR on what the degradation makes, which by now has settled."""
    recipe = state.recipe
    window, hr = draw_clean(state, hr_photos, recipe.batch, recipe.lr_patch)
    with torch.no_grad():
        latents = draw_latents(state, recipe.batch, recipe.lr_patch)
        lr = quantise(state.degradation(window, latents, surrounded=recipe.surrounded).lr)
    with autocast(recipe, state.device):
        restoration = functional.l1_loss(state.edsr(lr).float(), hr)
    update(state.optimizers["edsr"], restoration, recipe.edsr_rate * min(1.0, 20 * done + 0.02) * recipe.rate_at(done))
    return {"edsr_l1": restoration.item()}


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


def fitted_to(recipe: Recipe, lr_photos: Photos, hr_photos: Photos) -> Recipe:
    """The recipe with what is read off the photos before there is anything to train.

    Smaller crops are looked at where most photos are too small for those of the recipe. The JPEG qualities of the real
    photos are read, if any shows one.
    """
    matching = recipe.matching
    if not matching:
        return recipe
    sides = (lr_photos, matching.crop), (hr_photos, matching.crop * recipe.scale)
    if any(len(photos.at_least(side)) < len(photos) / 2 for photos, side in sides):
        crops = round(matching.crops * (matching.crop / recipe.lr_patch) ** 2)
        matching = replace(matching, crop=recipe.lr_patch, crops=crops)
    folds = min(matching.folds, len(hr_photos.at_least(matching.crop * recipe.scale)))
    recipe = replace(recipe, matching=replace(matching, folds=folds))
    qualities = [quality_of(lr_photos[index]) for index in range(0, len(lr_photos), 1 + len(lr_photos) // QUALITIES)]
    if min(qualities) == UNCOMPRESSED:
        return recipe
    return replace(recipe, degradation=replace(recipe.degradation, jpeg_qualities=tuple(sorted(qualities))))


def quality_of(photo: NDArray[np.uint8]) -> int:
    """The JPEG quality of a photo (H, W, 3), as read_quality has it."""
    corner = np.array(photo[:256, :256])
    return read_quality(torch.from_numpy(corner).permute(2, 0, 1).float())


def share(fraction: float, start: float, end: float) -> float:
    """How much of a phase is done, 0..1."""
    return min(1.0, max(0.0, (fraction - start) / (end - start)))


def count(state: State) -> int:
    return sum(len(part.kernel) for part in state.simulated)


def epochs(state: State) -> float:
    """How often each estimator has seen each of its examples."""
    moments = state.optimizers["estimators"].state
    updates = int(next(iter(moments.values()))["step"]) if moments else 0
    folds = len(state.estimators)
    return updates * EXAMPLES / (count(state) * max(1, folds - 1) / folds)


def deception(state: State, lr: Tensor) -> Tensor:
    """How far made images are from looking real, to a discriminator that stands still."""
    state.discriminator.requires_grad_(False)
    with autocast(state.recipe, state.device):
        loss = lsgan_loss(state.discriminator(lr).float(), real=True)
    state.discriminator.requires_grad_(True)
    return loss


def discriminate(state: State, real: Tensor, made: Tensor) -> Tensor:
    with autocast(state.recipe, state.device):
        told_real = lsgan_loss(state.discriminator(real).float(), real=True)
        told_made = lsgan_loss(state.discriminator(made).float(), real=False)
    return (told_real + told_made) / 2


def draw_latents(state: State, batch: int, side: int, per_photo: int = 1) -> Latents:
    generator = state.generators["latents"]
    return state.degradation.draw_latents(batch, (side, side), generator, per_photo=per_photo).to(state.device)


def draw_real(state: State, photos: Photos, batch: int, *, turned: bool = True) -> Tensor:
    patches = draw_patches(photos, batch, state.recipe.lr_patch, state.generators["real"], turned=turned)
    return patches.to(state.device).float() / 255


def draw_clean(
    state: State,
    photos: Photos,
    batch: int,
    lr_side: int,
    *,
    per_photo: int = 1,
    turned: bool = True,
    fold: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Windows to be degraded, and the part of each that its low-resolution image, `lr_side` wide, shows."""
    recipe = state.recipe
    side, before = lr_side * recipe.scale, -state.degradation.kernel_origin[0]
    margin = (before, recipe.degradation.kernel.size - recipe.scale - before) if recipe.surrounded else (0, 0)
    among = None if fold is None else photos.at_least(side)[fold :: len(state.estimators)]
    patches = draw_patches(
        photos, batch, side, state.generators["clean"], per_photo=per_photo, turned=turned, margin=margin, among=among
    )
    window = patches.to(state.device).float().div_(255)
    return window, window[:, :, margin[0] : margin[0] + side, margin[0] : margin[0] + side]


def update(optimizer: torch.optim.Optimizer, loss: Tensor, *rates: float, clip_gradient: float | None = None) -> None:
    """One step at these learning rates, one for each group of parameters or one for all."""
    for index, group in enumerate(optimizer.param_groups):
        group["lr"] = rates[min(index, len(rates) - 1)]
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    if clip_gradient is not None:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, clip_gradient)
    optimizer.step()


def autocast(recipe: Recipe, device: str) -> AbstractContextManager[object]:
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=recipe.bfloat16)

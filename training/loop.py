"""The training loop: from the first step, or from a checkpoint, to the trained networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from models.degradation import Degradation
from models.networks.edsr import EDSR
from training.batch_norm import synchronize_batch_norm
from training.config import TrainConfig
from training.data.compressions import inspect_compressions
from training.data.photos import Photos
from training.data.preparation import adapt_config, check_photos
from training.distributed import (
    Command,
    get_rank,
    leading,
    send_command,
    share_weights,
)
from training.follower import follow
from training.phases.encode import encode_real_photos
from training.phases.fit import fit_step
from training.phases.joint import joint_step
from training.phases.match import match_step
from training.phases.sharpen import share_degradation, sharpen
from training.phases.sr import sr_step
from training.progress import Checkpoint, Progress, ProgressTracker
from training.report.evaluator import Evaluator, Report, eval_crops_for
from training.state import Phase, RealFeatures, TrainState
from training.warm_start import WarmStart

SECONDS_PER_STEP = 0.1  # roughly, for a training whose length is given in steps


def train(
    config: TrainConfig,
    lr_photos: Photos,
    hr_photos: Photos,
    *,
    seed: int,
    max_steps: int | None = None,
    max_minutes: float | None = None,
    device: str = "cpu",
    resume: Path | None = None,
    warm_start: WarmStart | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_checkpoint: Callable[[Checkpoint], None] | None = None,
    checkpoint_every_seconds: float = 30,
    should_stop: Callable[[], bool] | None = None,
    should_finish: Callable[[], bool] | None = None,
) -> TrainResult:
    """Learns the degradation of `lr_photos` from unpaired clean `hr_photos`, and an EDSR on images that it generates.

    The training ends at `max_steps` or `max_minutes`, the earlier one; without both, the config's defaults count. The
    schedule adapts to them. Minutes include those before a resume. A training with a number of steps is bit-identical
    for the same seed, CPU and number of threads, resumed or not.

    `resume` is a saved Checkpoint; its config and seed replace those given here. Without one, the networks start as
    those of `warm_start`, a model of the same config. Before every step, `should_stop` may
    interrupt the training and `should_finish` may end it early. Raises PhotosError if photos are missing or too small,
    CheckpointError for a bad `resume`, WarmStartError for a model of another config, and Stopped if interrupted.

    Under torchrun, inside `training.distributed.process_group`, every process calls this with the same arguments. The
    callbacks of rank 0 count; it alone runs the fit and match phases. All other phases have batches of `batch_size` in
    each process. Raises PeerLostError if another process ended.
    """
    state = _create_state(config, lr_photos, hr_photos, seed, device, resume, warm_start)
    if max_steps is None and max_minutes is None:
        max_steps, max_minutes = state.config.default_steps, state.config.default_minutes
    max_seconds = None if max_minutes is None else 60 * max_minutes
    num_crops = eval_crops_for(min(max_seconds or math.inf, (max_steps or math.inf) * SECONDS_PER_STEP))
    evaluator = cache(
        lambda: Evaluator(lr_photos, hr_photos, state.config.scale, seed=state.seed, num_crops=num_crops, device=device)
    )
    if get_rank():
        follow(state, lr_photos, hr_photos)
    else:
        tracker = ProgressTracker(
            state,
            max_steps,
            max_seconds,
            on_progress=on_progress,
            on_checkpoint=on_checkpoint,
            checkpoint_every_seconds=checkpoint_every_seconds,
            should_stop=should_stop,
            should_finish=should_finish,
        )
        with leading():
            run_phases(state, tracker, lr_photos, hr_photos, evaluator)
    degradation, edsr = state.degradation.eval(), state.edsr.eval()
    return TrainResult(degradation, edsr, state.step, state.seconds, state.history.points, state.real, evaluator)


def _create_state(
    config: TrainConfig,
    lr_photos: Photos,
    hr_photos: Photos,
    seed: int,
    device: str,
    resume: Path | None,
    warm_start: WarmStart | None,
) -> TrainState:
    """Returns the state to begin with, the same in all processes. Raises what `train` raises before the first step."""
    check_photos(config, lr_photos, hr_photos)
    if resume:
        state = TrainState.load(resume, device)
    else:
        state = TrainState(adapt_config(config, lr_photos, hr_photos), seed, device)
        if warm_start:
            warm_start.apply(state, config)
    if state.config.on_grid:
        inspect_compressions(lr_photos)
    share_weights(*state.networks.values())
    if state.config.matching is None:  # else rank 0 trains the degradation alone
        synchronize_batch_norm(state.degradation)
    return state


def run_phases(
    state: TrainState,
    tracker: ProgressTracker,
    lr_photos: Photos,
    hr_photos: Photos,
    evaluator: Callable[[], Evaluator],
) -> None:
    """Runs steps until the training's end, on all processes where more than one can share a step. Raises Stopped."""
    degradation_is_shared = False
    while (fraction := tracker.get_fraction()) < 1 and tracker.before_step():
        phase, progress = state.get_phase(fraction)
        match phase:
            case Phase.JOINT:  # as in the paper: all networks in every step
                send_command(Command.JOINT_STEP, progress)
                metrics = joint_step(state, lr_photos, hr_photos, progress)
            case Phase.FIT:
                encode_real_photos(state, lr_photos, hr_photos)  # once
                metrics = fit_step(state, hr_photos, progress)
                state.fit_steps += 1
            case Phase.MATCH:
                encode_real_photos(state, lr_photos, hr_photos)
                metrics = match_step(state, lr_photos, hr_photos, progress)
                state.match_steps += 1
                state.sr_started_at = fraction
            case Phase.SR:
                sharpening = {}
                if not state.sharpened:
                    sharpening = evaluate_due(state, evaluator, fraction)  # the mask belongs to the best candidate
                    sharpening |= sharpen(state, lr_photos, hr_photos)
                    state.sharpened, degradation_is_shared = True, False
                if not degradation_is_shared:
                    send_command(Command.TAKE_DEGRADATION)
                    share_degradation(state)
                    degradation_is_shared = True
                send_command(Command.SR_STEP, progress)
                metrics = sr_step(state, hr_photos, progress) | sharpening
        if evaluated := evaluate_due(state, evaluator, fraction):
            metrics |= evaluated
            degradation_is_shared = False
        tracker.after_step(metrics)

    tracker.finish()
    if state.best:  # after an early finish, the last candidate was not evaluated
        state.degradation.load_state_dict(state.best)


def evaluate_due(state: TrainState, evaluator: Callable[[], Evaluator], fraction: float) -> dict[str, float]:
    """Evaluates a candidate for the degradation, if one is due at `fraction` of the training. Returns its score."""
    if (due := state.get_num_evaluations_due(fraction)) <= state.num_evaluated:
        return {}
    state.num_evaluated = due
    return {"score": select_best(state, evaluator())}


def select_best(state: TrainState, evaluator: Evaluator) -> float:
    """Scores the degradation and keeps the best one. After the last candidate the best replaces it.

    Returns the score; lower is better.
    """
    score = evaluator.score(state.degradation)
    if score < state.best_score:
        state.best_score = score
        state.best = {name: tensor.detach().clone() for name, tensor in state.degradation.state_dict().items()}
    if state.num_evaluated == state.matching.num_candidates and state.best:
        state.degradation.load_state_dict(state.best)
    return score


@dataclass(frozen=True)
class TrainResult:
    degradation: Degradation
    edsr: EDSR
    steps: int
    seconds: float
    history: list[dict[str, float]]  # a few hundred points at most, each with its "step"
    real_features: RealFeatures | None  # what the estimator predicted for the real photos; None for the paper's presets
    evaluator: Callable[[], Evaluator]  # built on the first call, unless the training built it

    def report(self) -> Report:
        """Returns the report on the degradation. Deterministic."""
        return self.evaluator().report(self.degradation, self.history, self.real_features)

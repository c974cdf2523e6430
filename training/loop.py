"""The training loop, from the first step or from a checkpoint to the trained networks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from models.degradation import Degradation
from models.networks.edsr import EDSR
from training.candidates import candidates_at, keep_the_best
from training.config import Recipe
from training.data.photos import Photos
from training.data.preparation import check_photos, fitted_to
from training.report.evaluator import Judge, Report, looks_within
from training.schedule import matching_done, training_step
from training.state import State

SECONDS_A_STEP = 0.1  # roughly, where a training's length is given in steps


@dataclass(frozen=True)
class Progress:
    step: int
    total_steps: int  # exact if the length is given in steps, else what the pace so far promises
    seconds: float  # spent training, that before a resume included
    fraction: float  # of the whole training, 0..1
    metrics: dict[str, float]
    degradation: Degradation  # as it is, to be looked at before the callback that got it returns: it goes on changing


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
        """As in training/report/evaluator.py; deterministic."""
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
    should_finish: Callable[[], bool] | None = None,
) -> Trained:
    """Learns how `lr_photos` got their quality from clean `hr_photos`, and an EDSR on what it makes of them.

    It ends at `max_steps` or `max_minutes`, whichever comes first; the recipe has its own where neither is given. The
    schedule fits itself to them. Minutes count from the first step, across resumes. A training of given steps is the
    same to the last bit for the same seed on the same CPU and number of threads, resumed or not.

    `resume` is a saved Checkpoint; its recipe and seed count then, not those given here. `should_stop` is asked before
    every step, and so is `should_finish`, which ends the training with what it has learned by then. Raises PhotosError
    for photos that are missing or too small, CheckpointError for a bad `resume`, and Stopped.
    """
    check_photos(recipe, lr_photos, hr_photos)
    photos = lr_photos, hr_photos
    state = State.load(resume, device) if resume else State(fitted_to(recipe, lr_photos, hr_photos), seed, device)
    recipe, matching = state.recipe, state.recipe.matching
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
            on_progress(Progress(state.step, total or state.step, state.seconds, fraction, metrics, state.degradation))

    while (fraction := fraction_done()) < 1:
        now = time.monotonic()
        stopping = should_stop is not None and should_stop()
        if on_checkpoint and (stopping or now - saved >= checkpoint_every_seconds):
            on_checkpoint(Checkpoint(state))
            saved = time.monotonic()
        if stopping:
            raise Stopped
        if should_finish and state.step and should_finish():
            break
        metrics = training_step(state, *photos, fraction)
        due = candidates_at(matching, matching_done(state, matching, fraction)) if matching else 0
        if due > state.judged:
            state.judged = due
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
    if state.best:  # where it ended early, the last of the candidates has not been judged
        state.degradation.load_state_dict(state.best)
    degradation, edsr = state.degradation.eval(), state.edsr.eval()
    return Trained(degradation, edsr, state.step, state.seconds, state.curve.points, judge)

"""Which phase a training is in, and how much of it is done."""

from __future__ import annotations

from training.config import Matching
from training.data.photos import Photos
from training.phases.encode import look_at_real
from training.phases.fit import aim_step
from training.phases.joint import joint_step
from training.phases.match import match_step
from training.phases.sr import restore_step
from training.state import State


def training_step(state: State, lr_photos: Photos, hr_photos: Photos, fraction: float) -> dict[str, float]:
    """One step, `fraction` of the way through the training. Returns what there is to tell of it."""
    matching = state.recipe.matching
    if matching is None:
        return joint_step(state, lr_photos, hr_photos, fraction)
    if state.real is None and matching_done(state, matching, fraction) < 1:
        look_at_real(state, matching, lr_photos)
    if (done := aiming_done(state, matching, fraction)) < 1:
        state.aimed += 1
        return aim_step(state, matching, hr_photos, done)
    if (done := matching_done(state, matching, fraction)) < 1:
        state.matched += 1
        state.restoring_from = fraction
        return match_step(state, matching, lr_photos, hr_photos, done)
    return restore_step(state, hr_photos, share(fraction, state.restoring_from, 1.0))


def aiming_done(state: State, matching: Matching, fraction: float) -> float:
    """How much of the aiming is done, 0..1: by its steps or by the time that it may take."""
    return max(share(state.aimed, 0, matching.aim_steps), share(fraction, 0.0, matching.aim_until))


def matching_done(state: State, matching: Matching, fraction: float) -> float:
    """How much of the matching is done, likewise."""
    return max(share(state.matched, 0, matching.match_steps), share(fraction, matching.aim_until, matching.match_until))


def share(now: float, start: float, end: float) -> float:
    """How much of the way from start to end is behind, 0..1."""
    return min(1.0, max(0.0, (now - start) / (end - start)))

"""Which phase a training is in."""

from __future__ import annotations

from training.phases.aim import aim_step
from training.phases.joint import joint_step
from training.phases.look import look_at_real
from training.phases.match import match_step
from training.phases.restore import restore_step
from training.photos import Photos
from training.state import State


def training_step(state: State, lr_photos: Photos, hr_photos: Photos, fraction: float) -> dict[str, float]:
    """One step, `fraction` of the way through the training. Returns what there is to tell of it."""
    matching = state.recipe.matching
    if matching is None:
        return joint_step(state, lr_photos, hr_photos, fraction)
    if state.real is None:
        look_at_real(state, matching, lr_photos, hr_photos)
    if fraction < matching.aim_until:
        return aim_step(state, matching, hr_photos, share(fraction, 0.0, matching.aim_until))
    if fraction < matching.match_until:
        done = share(fraction, matching.aim_until, matching.match_until)
        return match_step(state, matching, lr_photos, hr_photos, done)
    return restore_step(state, hr_photos, share(fraction, matching.match_until, 1.0))


def share(fraction: float, start: float, end: float) -> float:
    """How much of a phase is done, 0..1."""
    return min(1.0, max(0.0, (fraction - start) / (end - start)))

"""Edges of photos show how much a camera sharpened, and a training takes it over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import ndtr

from tests.support.training_factories import make_config
from training import loop
from training.data.photos import Photos
from training.data.preparation import adapt_config
from training.estimator.overshoot import measure_overshoot
from training.phases.sharpen import sharpen
from training.report.alarms import check_overshoot
from training.report.evaluator import Evaluator
from training.report.metrics import OvershootComparison
from training.state import TrainState

Array = NDArray[Any]
SCALE = 4


def make_blocks(rng: np.random.Generator, side: int, block: int) -> Array:
    """Gray blocks with clear edges, (side, side, 3) in 0..255."""
    tiles = -(-side // block)
    values = rng.permutation(np.linspace(40, 215, tiles**2)).reshape(tiles, tiles, 1).repeat(3, 2)
    return np.asarray(values.repeat(block, 0).repeat(block, 1)[:side, :side])


def develop(
    clean: Array, rng: np.random.Generator, *, sigma: float, amount: float, radius: float, noise: float
) -> NDArray[np.uint8]:
    """Blurs, adds noise and sharpens, all in pixels of the photo."""
    blurred = gaussian_filter(clean, (sigma, sigma, 0)) + rng.normal(0, noise, clean.shape)
    sharpened = blurred + amount * (blurred - gaussian_filter(blurred, (radius, radius, 0)))
    return np.asarray(sharpened.clip(0, 255).round(), np.uint8)


@pytest.mark.parametrize("noise", [0.0, 1.5])
@pytest.mark.parametrize("amount", [0.0, 0.5, 1.5])
def test_overshoot_is_that_of_a_sharpened_step(amount: float, noise: float) -> None:
    rng = np.random.default_rng(0)
    photos = [
        develop(make_blocks(rng, 160, 20), rng, sigma=1.0, amount=amount, radius=1.5, noise=noise) for _ in range(8)
    ]
    at = np.arange(-4, 4, 1) + 0.5  # centers of pixels beside a step
    step = ndtr(at / 1.0)
    expected = (step + amount * (step - ndtr(at / np.hypot(1.0, 1.5)))).max() - 1
    measured = measure_overshoot(photos)
    assert measured is not None
    assert measured.mean == pytest.approx(expected, abs=0.03 if noise else 0.015)
    assert measured.error < 0.02


def test_photos_without_clear_edges_give_nothing() -> None:
    rng = np.random.default_rng(0)
    smooth = [gaussian_filter(rng.uniform(0, 255, (120, 120, 3)), (6, 6, 0)).astype(np.uint8) for _ in range(8)]
    assert measure_overshoot(smooth) is None
    assert measure_overshoot([np.zeros((9, 9, 3), np.uint8)] * 8) is None


@pytest.fixture
def make_state(tmp_path: Path) -> Callable[[float], tuple[TrainState, Photos, Photos]]:
    """Builds a training whose untrained kernels are those of the camera, but for its sharpening by an amount."""

    def make(amount: float) -> tuple[TrainState, Photos, Photos]:
        rng = np.random.default_rng(1)
        real = [
            develop(make_blocks(rng, 120, 20), rng, sigma=0.5, amount=amount, radius=1.0, noise=1.0) for _ in range(8)
        ]
        clean = [make_blocks(rng, 480, 80).astype(np.uint8) for _ in range(8)]
        photos = Photos.write(tmp_path / "lr", real), Photos.write(tmp_path / "hr", clean)
        state = TrainState(adapt_config(make_config("default"), *photos), 0, "cpu")
        return state, *photos

    return make


@pytest.mark.parametrize("amount", [0.0, 0.8])
def test_sharpening_of_the_photos_is_taken_over(
    make_state: Callable[[float], tuple[TrainState, Photos, Photos]], amount: float
) -> None:
    state, real, clean = make_state(amount)
    found = sharpen(state, real, clean)["sharpening_amount"]
    assert found == pytest.approx(amount, abs=0.3)
    assert state.degradation.config.kernel.sharpening_amount == found
    assert (state.config.degradation.kernel.temperature > 1) is (amount > 0)


def test_a_sharpened_training_goes_on_after_a_restart(
    make_state: Callable[[float], tuple[TrainState, Photos, Photos]], tmp_path: Path
) -> None:
    state, real, clean = make_state(0.8)
    sharpen(state, real, clean)
    state.sharpened = True
    state.save(tmp_path / "checkpoint")
    loaded = TrainState.load(tmp_path / "checkpoint", "cpu")
    assert loaded.sharpened
    assert loaded.config == state.config
    assert loaded.degradation.config == state.degradation.config


def test_reports_judge_sharpening_at_edges(
    make_state: Callable[[float], tuple[TrainState, Photos, Photos]],
) -> None:
    """Score and accuracy are of photos without the mask; the edges are of those with it."""
    state, real, clean = make_state(0.8)
    evaluator = Evaluator(real, clean, SCALE, num_crops=24)
    before = evaluator.report(state.degradation)
    sharpen(state, real, clean)
    config = state.degradation.config
    after = evaluator.report(state.degradation)
    assert (state.degradation.config, state.degradation.kernel.config) == (config, config.kernel)
    assert after.predicted == before.predicted
    assert (before.sharpened_two_sample, after.sharpened_two_sample is None) == (None, False)
    assert before.overshoot
    assert after.overshoot
    assert abs(after.overshoot.difference) < abs(before.overshoot.difference) / 3
    assert after.score < before.score
    assert "sharpening_differs" in [alarm.code for alarm in before.alarms]
    assert "sharpening_differs" not in [alarm.code for alarm in after.alarms]


@pytest.mark.parametrize(
    ("generated", "severity", "words"),
    [(0.08, None, ""), (0.05, "warning", "too little"), (0.0, "error", "too little"), (0.15, "error", "too much")],
)
def test_alarm_says_how_sharpening_differs(generated: float, severity: str | None, words: str) -> None:
    overshoot = OvershootComparison(0.08, 0.008, generated, 0.006)
    found = [(alarm.severity, words in alarm.message) for alarm in check_overshoot(overshoot)]
    assert found == ([(severity, True)] if severity else [])


def test_the_mask_is_measured_on_the_best_candidate(
    make_state: Callable[[float], tuple[TrainState, Photos, Photos]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, *photos = make_state(0.0)
    evaluated = []

    def record(state: TrainState, *_photos: Photos) -> dict[str, float]:
        evaluated.append(state.num_evaluated)
        return {}

    monkeypatch.setattr(loop, "sharpen", record)
    loop.train(make_config("default", num_candidates=2), *photos, seed=0, max_steps=30)
    assert evaluated == [2]

from __future__ import annotations

import io
import itertools
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import training.loop
from models.checkpoint import CheckpointError
from models.edsr import EDSRConfig
from tests.training.conftest import photo
from training.loop import Checkpoint, Progress, Stopped, Trained, fitted_to, train, training_step
from training.photos import Photos, PhotosError
from training.presets import PRESET_NAMES, Recipe, preset
from training.state import State

Both = tuple[Photos, Photos]


def small(name: str, scale: int = 4, candidates: int = 0) -> Recipe:
    """Judging candidates takes a second or two, however small the networks: only where it is looked at."""
    recipe = preset(name, scale, device="cpu")
    matching = recipe.matching and replace(
        recipe.matching, photos=3, crops=2, real_looks=6, aim_until=0.4, most_epochs=1000, candidates=candidates
    )
    return replace(recipe, batch=2, edsr=EDSRConfig(scale, width=8, blocks=1), matching=matching)


def weights(trained: Trained) -> dict[str, Tensor]:
    return {**trained.degradation.state_dict(), **{f"edsr.{k}": v for k, v in trained.edsr.state_dict().items()}}


def same(one: Trained, other: Trained) -> bool:
    first, second = weights(one), weights(other)
    return all(torch.equal(first[name], second[name]) for name in first)


def snapshot(module: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


def moved(module: nn.Module, before: list[Tensor]) -> list[bool]:
    return [not torch.equal(now, then) for now, then in zip(module.parameters(), before, strict=True)]


@pytest.mark.parametrize(("name", "scale"), list(itertools.product(PRESET_NAMES, [2, 3, 4])))
def test_every_preset_trains(photos: Both, name: str, scale: int) -> None:
    trained = train(small(name, scale), *photos, seed=0, max_steps=1)
    assert trained.steps == 1
    assert all(torch.isfinite(weight).all() for weight in weights(trained).values())
    assert not trained.degradation.training


def test_a_step_of_the_seeds_run(photos: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small("seed")
    state = State(recipe, 0, "cpu")
    clipped, updated = [], []
    clip, update = torch.nn.utils.clip_grad_norm_, training.loop.update

    def watched_clip(parameters: list[nn.Parameter], limit: float) -> Tensor:
        clipped.append((len(parameters), limit))
        return clip(parameters, limit)

    def watched_update(
        optimizer: torch.optim.Optimizer, loss: Tensor, *rates: float, clip_gradient: float | None = None
    ) -> None:
        before = {name: snapshot(network) for name, network in state.networks.items()}
        update(optimizer, loss, *rates, clip_gradient=clip_gradient)
        name = next(name for name, known in state.optimizers.items() if known is optimizer)
        updated.append(name)
        for other, network in state.networks.items():
            assert any(moved(network, before[other])) is (other == name)
        if name == "degradation":
            assert all(parameter.grad is None for parameter in state.discriminator.parameters())

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", watched_clip)
    monkeypatch.setattr(training.loop, "update", watched_update)
    before = snapshot(state.edsr)
    metrics = training_step(state, *photos, 0.0)
    assert updated == ["degradation", "discriminator", "edsr"]
    assert clipped == [(len(list(state.degradation.parameters())), 50)]
    trainable = [parameter.requires_grad for parameter in state.edsr.parameters()]
    assert moved(state.edsr, before) == trainable
    assert trainable.count(False) == 4
    assert all(parameter.requires_grad for parameter in state.discriminator.parameters())
    assert set(metrics) == {"adversarial", "discriminator", "edsr_l1", "noise_levels"}


def test_the_same_seed_is_the_same_model_and_another_is_not(photos: Both) -> None:
    for name in ("seed", "default"):
        one, other, third = (train(small(name), *photos, seed=seed, max_steps=8) for seed in (1, 1, 2))
        assert same(one, other)
        assert not same(one, third)


def test_training_disturbs_no_ones_random_numbers(photos: Both) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train(small("default"), *photos, seed=0, max_steps=1)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("name", "total", "stop"),
    [("seed", 6, 3), ("ntire2020-track1", 2, 1), *(("default", 30, stop) for stop in (2, 7, 13, 19))],
)
def test_a_resumed_run_is_an_unbroken_run(photos: Both, tmp_path: Path, name: str, total: int, stop: int) -> None:
    recipe = small(name, candidates=2)
    unbroken = train(recipe, *photos, seed=1, max_steps=total)
    path = tmp_path / "checkpoint"
    steps = itertools.count()
    with pytest.raises(Stopped):
        train(
            recipe,
            *photos,
            seed=1,
            max_steps=total,
            on_checkpoint=lambda checkpoint: checkpoint.save(path),
            should_stop=lambda: next(steps) == stop,
        )
    resumed = train(recipe, *photos, seed=99, max_steps=total, resume=path)
    assert resumed.steps == total
    assert same(unbroken, resumed)
    assert resumed.history == unbroken.history


def test_the_phases_of_the_default_follow_each_other(photos: Both) -> None:
    history = train(small("default"), *photos, seed=1, max_steps=40).history
    told = [next(name for name in ("simulated", "match", "estimator", "aim", "edsr_l1") if name in p) for p in history]
    assert told == ["simulated"] * 5 + ["estimator"] * 4 + ["aim"] * 7 + ["match"] * 8 + ["edsr_l1"] * 16
    assert [point["simulated"] for point in history[:5]] == [3, 6, 9, 12, 15]


def test_the_estimator_does_not_see_its_examples_more_often_than_it_should(photos: Both) -> None:
    recipe = small("default")
    assert recipe.matching is not None
    recipe = replace(recipe, matching=replace(recipe.matching, most_epochs=100))
    history = train(recipe, *photos, seed=1, max_steps=40).history
    # Of 15 examples an estimator sees those of the other fold, half of them, 16 · 64 / 7.5 = 137 times in a step: too
    # often after one. The second, at rate 0, ends the phase.
    assert sum("estimator" in point and "match" not in point for point in history) == 2


def test_the_best_degradation_by_the_report_is_kept(photos: Both) -> None:
    trained = train(small("default", candidates=5), *photos, seed=1, max_steps=40)
    scores = [point["score"] for point in trained.history if "score" in point]
    assert len(scores) >= 3
    assert len(set(scores)) > 1
    assert trained.judge().score(trained.degradation) == min(scores)
    assert trained.report().score == min(scores)


def test_no_estimator_learns_from_photos_that_it_judges(photos: Both) -> None:
    state = State(fitted_to(small("default"), *photos), 0, "cpu")
    for fraction in (0.0, 0.0, 0.2, 0.3):
        training_step(state, *photos, fraction)
        state.step += 1
    assert set(state.simulated[0].fold.tolist()) == {0, 1}
    for _ in range(2):
        before = [snapshot(estimator) for estimator in state.estimators]
        assert "match" in training_step(state, *photos, 0.45)
        judge, learner = state.step % 2, 1 - state.step % 2
        assert not any(moved(state.estimators[judge], before[judge]))
        assert all(moved(state.estimators[learner], before[learner]))
        state.step += 1


def test_minutes_are_kept_across_a_resume(photos: Both, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    begun: list[float] = []

    def should_stop() -> bool:
        begun.append(time.monotonic())
        return begun[-1] - begun[0] > 3

    with pytest.raises(Stopped):
        train(
            small("default"),
            *photos,
            seed=1,
            max_minutes=0.1,
            on_checkpoint=lambda checkpoint: checkpoint.save(path),
            should_stop=should_stop,
        )
    told: list[Progress] = []
    started = time.monotonic()
    trained = train(small("default"), *photos, seed=1, max_minutes=0.1, resume=path, on_progress=told.append)
    assert time.monotonic() - started < 6
    assert 6 <= trained.seconds < 6.6
    assert told[-1].fraction == 1
    assert told[-1].step == told[-1].total_steps == trained.steps
    assert all(one.fraction <= other.fraction for one, other in itertools.pairwise(told))


def test_checkpoints_come_at_their_time_and_at_the_end(photos: Both) -> None:
    kept: list[int] = []

    def keep(checkpoint: Checkpoint) -> None:
        kept.append(checkpoint.step)

    train(small("default"), *photos, seed=1, max_steps=4, on_checkpoint=keep, checkpoint_every_seconds=0)
    assert kept == [0, 1, 2, 3, 4]
    kept.clear()
    train(small("default"), *photos, seed=1, max_steps=4, on_checkpoint=keep)
    assert kept == [4]


def test_the_curve_is_thinned(photos: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.state.CURVE_POINTS", 6)
    history = train(small("default"), *photos, seed=1, max_steps=17).history
    assert [point["step"] for point in history] == [4, 8, 12, 16]


def test_missing_and_small_photos_are_told(photos: Both, tmp_path: Path) -> None:
    real, clean = photos
    recipe = small("default")
    none = Photos.write(tmp_path / "none", [])
    tiny = Photos.write(tmp_path / "tiny", [np.zeros((31, 200, 3), np.uint8)])
    for lr, hr, words in [
        (none, clean, "no real low-resolution photos"),
        (real, none, "no clean high-resolution photos"),
        (tiny, clean, "real low-resolution photos is 32 pixels"),
        (real, tiny, "clean high-resolution photos is 128 pixels"),
    ]:
        with pytest.raises(PhotosError, match=words):
            train(recipe, lr, hr, seed=0, max_steps=1)


def test_a_bad_checkpoint_is_told(photos: Both, tmp_path: Path) -> None:
    path = tmp_path / "bad"
    path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError):
        train(small("default"), *photos, seed=0, max_steps=1, resume=path)


def test_compression_of_the_real_photos_is_learned(photos: Both, tmp_path: Path) -> None:
    real, clean = photos
    shots = []
    for index in range(len(real)):
        buffer = io.BytesIO()
        Image.fromarray(real[index] // 2 + 50).save(buffer, "JPEG", quality=60)
        shots.append(np.asarray(Image.open(buffer).convert("RGB")))
    trained = train(small("default"), Photos.write(tmp_path / "web", shots), clean, seed=0, max_steps=8)
    assert all(abs(quality - 60) <= 1 for quality in trained.degradation.config.jpeg_qualities)
    assert len(trained.degradation.config.jpeg_qualities) == 3
    assert train(small("default"), real, clean, seed=0, max_steps=1).degradation.config.jpeg_qualities == ()


def test_small_photos_are_looked_at_in_small_crops(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    real = Photos.write(tmp_path / "lr", [photo(rng, 32, 32)])
    clean = Photos.write(tmp_path / "hr", [photo(rng, 128, 128)])
    trained = train(small("default"), real, clean, seed=0, max_steps=8)
    assert all(torch.isfinite(weight).all() for weight in weights(trained).values())

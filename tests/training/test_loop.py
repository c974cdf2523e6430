from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from models.checkpoint import CheckpointError
from tests.training.networks import Both, same, small, weights
from training.config import PRESET_NAMES
from training.loop import Checkpoint, Progress, Stopped, train
from training.state import Curve


@pytest.mark.parametrize(("name", "scale"), list(itertools.product(PRESET_NAMES, [2, 3, 4])))
def test_every_preset_trains(photos: Both, name: str, scale: int) -> None:
    trained = train(small(name, scale), *photos, seed=0, max_steps=1)
    assert trained.steps == 1
    assert all(torch.isfinite(weight).all() for weight in weights(trained).values())
    assert not trained.degradation.training


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
    ("name", "total", "stops"),
    [("seed", 6, (3,)), ("ntire2020-track1", 2, (1,)), ("default", 30, (2, 7, 13, 19))],
)
def test_a_resumed_run_is_an_unbroken_run(
    photos: Both, tmp_path: Path, name: str, total: int, stops: tuple[int, ...]
) -> None:
    recipe = small(name, candidates=2)
    unbroken = train(recipe, *photos, seed=1, max_steps=total)
    path = tmp_path / "checkpoint"
    for stop in stops:
        with pytest.raises(Stopped):
            train(
                recipe,
                *photos,
                seed=1,
                max_steps=total,
                on_checkpoint=lambda checkpoint: checkpoint.save(path),
                should_stop=map(stop.__eq__, itertools.count()).__next__,
            )
        resumed = train(recipe, *photos, seed=99, max_steps=total, resume=path)
        assert resumed.steps == total
        assert same(unbroken, resumed)
        assert resumed.history == unbroken.history


def test_the_best_degradation_by_the_report_is_kept(photos: Both) -> None:
    trained = train(small("default", candidates=5), *photos, seed=1, max_steps=40)
    scores = [point["score"] for point in trained.history if "score" in point]
    assert len(scores) >= 3
    assert len(set(scores)) > 1
    assert trained.judge().score(trained.degradation) == min(scores)
    assert trained.report().score == min(scores)


def test_a_training_begun_by_an_earlier_version_goes_on(photos: Both, tmp_path: Path) -> None:
    """Which had several estimators, kept what they had seen, and did not count the steps of a phase."""
    path = tmp_path / "checkpoint"
    begun = train(
        small("default"), *photos, seed=1, max_steps=6, on_checkpoint=lambda checkpoint: checkpoint.save(path)
    )
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        description = json.loads(file.metadata()["patina"])
    for name in ("aimed", "matched", "restoring_from"):
        del description[name]
    description["recipe"]["turned"] = True
    description["recipe"]["matching"] |= {"folds": 3, "learning_on_rate": 2e-4, "elongation_weight": 0.2}
    for name in ("told", "light"):
        del tensors[f"real.{name}"]
    tensors |= {"real.windows": torch.zeros(6, 4, 4), "real.folds": torch.zeros(6), "estimators.0.mean": torch.zeros(4)}
    save_file(tensors, path, metadata={"patina": json.dumps(description)})
    trained = train(small("default"), *photos, seed=1, max_steps=20, resume=path)
    assert trained.steps == 20
    assert trained.history[: len(begun.history)] == begun.history
    assert any("match" in point for point in trained.history[len(begun.history) :])


class Clock:
    """Goes on by a twentieth of a second whenever it is looked at, which is a few times a step."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        self.now += 0.05
        return self.now


def test_minutes_are_kept_across_a_resume(photos: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, clock = tmp_path / "checkpoint", Clock()
    monkeypatch.setattr("training.loop.time", clock)
    began = clock.now
    with pytest.raises(Stopped):
        train(
            small("default"),
            *photos,
            seed=1,
            max_minutes=0.1,
            on_checkpoint=lambda checkpoint: checkpoint.save(path),
            should_stop=lambda: clock.now - began > 3,
        )
    told: list[Progress] = []
    began = clock.now
    trained = train(small("default"), *photos, seed=1, max_minutes=0.1, resume=path, on_progress=told.append)
    assert 2.5 < clock.now - began < 3.5
    assert 6 <= trained.seconds < 6.5
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


def test_all_scores_stay_in_the_curve() -> None:
    curve = Curve()
    for step in range(1, 10_001):
        curve.add(step, {"loss": 1.0} | ({"score": 0.2} if step in (181, 333) else {}))
    assert [point["step"] for point in curve.points if "score" in point] == [181, 333]
    others = [int(point["step"]) for point in curve.points if "score" not in point]
    assert 100 < len(others) <= 400
    assert others == list(range(others[0], 10_001, others[0]))


def test_a_bad_checkpoint_is_told(photos: Both, tmp_path: Path) -> None:
    path = tmp_path / "bad"
    path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError):
        train(small("default"), *photos, seed=0, max_steps=1, resume=path)

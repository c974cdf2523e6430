"""The training loop: results, resuming, progress and history."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from models.checkpoint import CheckpointError, save_degradation, save_edsr
from tests.support.training_factories import PhotoSets, collect_weights, have_same_weights, make_config
from training.loop import train
from training.presets import PRESET_NAMES
from training.progress import Checkpoint, Progress, Stopped
from training.state import MetricHistory, TrainState
from training.warm_start import WarmStart, WarmStartError

OLD_CHECKPOINT = Path(__file__).parent / "data" / "old_checkpoint.safetensors.gz"


@pytest.mark.parametrize(("name", "scale"), list(itertools.product(PRESET_NAMES, [2, 3, 4])))
def test_every_preset_trains(photos: PhotoSets, name: str, scale: int) -> None:
    result = train(make_config(name, scale), *photos, seed=0, max_steps=1)
    assert result.steps == 1
    assert all(torch.isfinite(weight).all() for weight in collect_weights(result).values())
    assert not result.degradation.training


def test_seed_determines_the_model(photos: PhotoSets) -> None:
    for name in ("seed", "default"):
        first, second, third = (train(make_config(name), *photos, seed=seed, max_steps=8) for seed in (1, 1, 2))
        assert have_same_weights(first, second)
        assert not have_same_weights(first, third)


def test_a_warm_start_begins_with_the_networks_of_a_model(photos: PhotoSets, tmp_path: Path) -> None:
    """The photos differ from those of the model, and so does what the networks take from them."""
    first = train(make_config("default"), *photos, seed=1, max_steps=8)
    start = WarmStart(tmp_path / "degrader", tmp_path / "sr")
    save_degradation(first.degradation, start.degrader)
    save_edsr(first.edsr, start.sr)
    for config, difference in ((make_config("default", 2), "scale"), (make_config("seed"), "differs in")):
        with pytest.raises(WarmStartError, match=difference):
            train(config, *photos, seed=0, max_steps=1, warm_start=start)
    states: list[TrainState] = []

    def record_and_stop(state: TrainState, *_: object, **__: object) -> None:
        states.append(state)
        raise ZeroDivisionError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.loop.ProgressTracker", record_and_stop)
        with pytest.raises(ZeroDivisionError):
            train(make_config("default"), *photos, seed=0, max_steps=1, warm_start=start)
    weights = dict(states[0].degradation.named_parameters()) | dict(states[0].edsr.named_parameters())
    expected = dict(first.degradation.named_parameters()) | dict(first.edsr.named_parameters())
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], weight) for name, weight in expected.items())
    continued = train(make_config("default"), *photos, seed=0, max_steps=2, warm_start=start)
    assert not have_same_weights(continued, train(make_config("default"), *photos, seed=0, max_steps=2))


def test_global_random_numbers_are_untouched(photos: PhotoSets) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train(make_config("default"), *photos, seed=0, max_steps=1)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("name", "total", "stops"),
    [("seed", 6, (3,)), ("ntire2020-track1", 2, (1,)), ("default", 30, (2, 7, 13, 19))],
)
def test_resumed_run_equals_uninterrupted_run(
    photos: PhotoSets, tmp_path: Path, name: str, total: int, stops: tuple[int, ...]
) -> None:
    config = make_config(name, num_candidates=2)
    uninterrupted = train(config, *photos, seed=1, max_steps=total)
    path = tmp_path / "checkpoint"
    for stop in stops:
        with pytest.raises(Stopped):
            train(
                config,
                *photos,
                seed=1,
                max_steps=total,
                on_checkpoint=lambda checkpoint: checkpoint.save(path),
                should_stop=map(stop.__eq__, itertools.count()).__next__,
            )
        resumed = train(config, *photos, seed=99, max_steps=total, resume=path)
        assert resumed.steps == total
        assert have_same_weights(uninterrupted, resumed)
        assert resumed.history == uninterrupted.history


def test_best_degradation_by_score_is_selected(photos: PhotoSets) -> None:
    result = train(make_config("default", num_candidates=5), *photos, seed=1, max_steps=40)
    scores = [point["score"] for point in result.history if "score" in point]
    assert len(scores) >= 3
    assert len(set(scores)) > 1
    assert result.evaluator().score(result.degradation) == min(scores)
    assert result.report().score == min(scores)


def test_checkpoint_with_old_names_continues(photos: PhotoSets, tmp_path: Path) -> None:
    """The file is from the last version with the old names. It stopped at step 11 of 30, in the matching."""
    path = tmp_path / "checkpoint"
    path.write_bytes(gzip.decompress(OLD_CHECKPOINT.read_bytes()))
    tensors = load_file(path)
    state = TrainState.load(path, "cpu")
    assert (state.fit_steps, state.match_steps, state.num_evaluated, state.step) == (6, 5, 1, 11)
    assert state.sr_started_at == pytest.approx(10 / 30)
    assert state.best_score == pytest.approx(3.558263)
    matching = state.matching
    assert (matching.crops_per_photo, matching.fit_batch, matching.match_batch) == (2, 4, 4)
    assert (matching.num_real_crops, matching.num_candidates, matching.fit_until) == (6, 2, 0.2)
    assert state.config.real_context
    assert state.config.degradation.center_kernels
    assert state.real is not None
    assert torch.equal(state.real.predicted.concat(), tensors["real.told"])
    assert torch.equal(state.real.brightness, tensors["real.light"])
    assert torch.equal(state.real.group, tensors["real.places"])
    assert state.best.keys() == state.degradation.state_dict().keys()
    for network in ("degradation", "discriminator", "edsr"):
        for name, weight in state.networks[network].state_dict().items():
            assert torch.equal(weight, tensors[f"{network}.{name}"])
    names = [set(point) - {"step", "score"} for point in state.history.points]
    match_metrics = {"match", "regularization", "adversarial", "discriminator", "noise_std"}
    assert names == [{"fit"}] * 6 + [match_metrics] * 5

    result = train(make_config("default"), *photos, seed=99, max_steps=30, resume=path)
    assert result.steps == 30
    assert result.history[:11] == state.history.points
    assert ["match" in point for point in result.history[11:]] == [True] * 3 + [False] * 16
    assert sum("score" in point for point in result.history) == 2
    assert all(torch.isfinite(weight).all() for weight in collect_weights(result).values())


def test_checkpoint_without_step_counts_continues(photos: PhotoSets, tmp_path: Path) -> None:
    """An early version had several estimators, stored features of photos, and did not count a phase's steps."""
    path = tmp_path / "checkpoint"
    begun = train(
        make_config("default"), *photos, seed=1, max_steps=6, on_checkpoint=lambda checkpoint: checkpoint.save(path)
    )
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        description = json.loads(file.metadata()["patina"])
    for name in ("fit_steps", "match_steps", "sr_started_at"):
        del description[name]
    description["config"]["turned"] = True
    description["config"]["matching"] |= {"folds": 3, "learning_on_rate": 2e-4, "elongation_weight": 0.2}
    for name in ("predicted", "brightness"):
        del tensors[f"real.{name}"]
    tensors |= {"real.windows": torch.zeros(6, 4, 4), "real.folds": torch.zeros(6), "estimators.0.mean": torch.zeros(4)}
    save_file(tensors, path, metadata={"patina": json.dumps(description)})
    result = train(make_config("default"), *photos, seed=1, max_steps=20, resume=path)
    assert result.steps == 20
    assert result.history[: len(begun.history)] == begun.history
    assert any("match" in point for point in result.history[len(begun.history) :])


class Clock:
    """Advances by a twentieth of a second at each reading, which happens a few times per step."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        self.now += 0.05
        return self.now


def test_minutes_count_across_a_resume(photos: PhotoSets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, clock = tmp_path / "checkpoint", Clock()
    monkeypatch.setattr("training.progress.time", clock)
    began = clock.now
    with pytest.raises(Stopped):
        train(
            make_config("default"),
            *photos,
            seed=1,
            max_minutes=0.1,
            on_checkpoint=lambda checkpoint: checkpoint.save(path),
            should_stop=lambda: clock.now - began > 3,
        )
    reports: list[Progress] = []
    began = clock.now
    result = train(make_config("default"), *photos, seed=1, max_minutes=0.1, resume=path, on_progress=reports.append)
    assert 2.5 < clock.now - began < 3.5
    assert 6 <= result.seconds < 6.5
    assert reports[-1].fraction == 1
    assert reports[-1].step == reports[-1].total_steps == result.steps
    assert all(earlier.fraction <= later.fraction for earlier, later in itertools.pairwise(reports))


def test_checkpoints_come_when_due_and_at_the_end(photos: PhotoSets) -> None:
    steps: list[int] = []

    def record(checkpoint: Checkpoint) -> None:
        steps.append(checkpoint.step)

    train(make_config("default"), *photos, seed=1, max_steps=4, on_checkpoint=record, checkpoint_every_seconds=0)
    assert steps == [0, 1, 2, 3, 4]
    steps.clear()
    train(make_config("default"), *photos, seed=1, max_steps=4, on_checkpoint=record)
    assert steps == [4]


def test_early_finish_keeps_what_was_learned(photos: PhotoSets) -> None:
    answers = iter([False, False, True])
    result = train(make_config("seed"), *photos, seed=1, max_steps=20, should_finish=lambda: next(answers))
    assert result.steps == 3


def test_history_is_thinned(photos: PhotoSets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.state.MAX_HISTORY_POINTS", 6)
    history = train(make_config("default"), *photos, seed=1, max_steps=17).history
    assert [point["step"] for point in history] == [4, 8, 12, 16]


def test_history_keeps_all_scores() -> None:
    history = MetricHistory()
    for step in range(1, 10_001):
        history.add(step, {"loss": 1.0} | ({"score": 0.2} if step in (181, 333) else {}))
    assert [point["step"] for point in history.points if "score" in point] == [181, 333]
    others = [int(point["step"]) for point in history.points if "score" not in point]
    assert 100 < len(others) <= 400
    assert others == list(range(others[0], 10_001, others[0]))


def test_bad_checkpoint_is_refused(photos: PhotoSets, tmp_path: Path) -> None:
    path = tmp_path / "bad"
    path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError):
        train(make_config("default"), *photos, seed=0, max_steps=1, resume=path)

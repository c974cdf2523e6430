"""Trainings in two processes: they learn what one process of twice the batch learns, and continue as any number."""

from __future__ import annotations

import copy
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import training.phases.joint
import training.phases.sr
from models.degradation import Latents
from tests.support.proxy import find_free_port
from tests.support.training_factories import PhotoSets, collect_weights, have_same_weights, make_config
from tests.support.training_peer import PeerTask
from training import distributed
from training.config import TrainConfig
from training.data.photos import Photos
from training.distributed import PeerLostError, process_group, set_generators, share_object
from training.loop import TrainResult, train
from training.phases.sr import FLAT_SHARE, draw_color
from training.progress import Checkpoint, Stopped
from training.state import TrainState

STEPS, HALF = 4, 2
DEFAULT_STEPS = 12  # the last eight train the EDSR


def configure(preset: str) -> TrainConfig:
    config = make_config(preset)
    matching = config.matching and replace(config.matching, fit_steps=2, match_steps=2)
    return replace(config, bfloat16=False, matching=matching)


@contextmanager
def joined_by_peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes this process rank 0 of two."""
    rendezvous = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_port()), "WORLD_SIZE": "2"}
    command = [sys.executable, "-m", "tests.support.training_peer"]
    peer = subprocess.Popen(command, env={**os.environ, **rendezvous, "RANK": "1", "LOCAL_RANK": "1"})
    try:
        for name, value in {**rendezvous, "RANK": "0", "LOCAL_RANK": "0"}.items():
            monkeypatch.setenv(name, value)
        with process_group("cpu"):
            yield
    finally:
        peer.kill()
        peer.wait()


@dataclass
class Trained:
    """What rank 0 of two processes got."""

    results: dict[str, TrainResult]
    folder: Path
    error: BaseException | None = None


@pytest.fixture(scope="module")
def trained(photos: PhotoSets, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Runs all trainings of this module's tests in one pair of processes."""
    folder = tmp_path_factory.mktemp("distributed")
    photo_folder = folder / "photos"
    for role, images in zip(("lr", "hr"), photos, strict=True):
        Photos.write(photo_folder / role, [images[number] for number in range(len(images))])
    outcome = Trained({}, folder)

    def save_at(name: str, step: int) -> Callable[[Checkpoint], None]:
        return lambda checkpoint: checkpoint.save(folder / name) if checkpoint.step == step else None

    def run(name: str, task: PeerTask, **callbacks: Any) -> None:
        share_object(task)
        outcome.results[name] = task.run(**callbacks)

    seed = configure("seed")
    train(seed, *photos, seed=1, max_steps=HALF, on_checkpoint=save_at("of-one", HALF))
    with pytest.MonkeyPatch.context() as patch, joined_by_peer(patch):
        run("seed", PeerTask(seed, photo_folder, STEPS), on_checkpoint=save_at("of-two", STEPS))
        task = PeerTask(seed, photo_folder, STEPS)
        share_object(task)
        with pytest.raises(Stopped):
            task.run(on_checkpoint=save_at("half", HALF), should_stop=map(HALF.__eq__, itertools.count()).__next__)
        run("resumed", PeerTask(seed, photo_folder, STEPS, folder / "half"))
        run("from one", PeerTask(seed, photo_folder, STEPS, folder / "of-one"))
        run("default", PeerTask(configure("default"), photo_folder, DEFAULT_STEPS))
        task = PeerTask(seed, photo_folder, STEPS, dies=True)
        share_object(task)
        try:
            task.run()
        except PeerLostError as error:
            outcome.error = error
    return outcome


class TwoBatches:
    """Lets one process draw for two: batches are those of rank 0 and, behind them, those of rank 1."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, phase: Any) -> None:
        self._twins: dict[int, TrainState] = {}
        for name in ("sample_lr", "sample_hr", "sample_latents"):
            if hasattr(phase, name):
                monkeypatch.setattr(phase, name, self._draw_both(getattr(phase, name), phase))

    def _draw_both(self, sample: Callable[..., Any], phase: Any) -> Callable[..., Any]:
        def draw(state: TrainState, *arguments: Any) -> Any:
            arguments = tuple(value // 2 if value == state.config.batch_size else value for value in arguments)
            twin = self._twin_of(state)
            parts = sample(state, *arguments), sample(twin, *arguments)
            if isinstance(parts[0], Latents):
                return Latents(*map(torch.cat, zip(*parts, strict=True)))
            if isinstance(parts[0], Tensor):
                return torch.cat(parts)
            if phase is training.phases.sr and torch.rand((), generator=twin.generators["clean"]) < FLAT_SHARE:
                parts[1][0][0] = draw_color(twin.generators["clean"])[:, None, None]  # as sr_step does with its own
            window = torch.cat([part[0] for part in parts])
            margin = (-state.degradation.kernel_origin[0]) * state.config.real_context
            side = parts[0][1].shape[-1]
            return window, window[:, :, margin : margin + side, margin : margin + side]

        return draw

    def _twin_of(self, state: TrainState) -> TrainState:
        if id(state) not in self._twins:
            twin = copy.copy(state)
            twin.generators = {name: torch.Generator() for name in state.generators}
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(distributed, "get_rank", lambda: 1)
                set_generators(twin.generators, {}, state.seed, 0)
            self._twins[id(state)] = twin
        return self._twins[id(state)]


@pytest.mark.parametrize(
    ("preset", "phase", "steps"),
    [("seed", training.phases.joint, STEPS), ("default", training.phases.sr, DEFAULT_STEPS)],
)
def test_two_processes_equal_one_of_twice_the_batch(
    trained: Trained, photos: PhotoSets, monkeypatch: pytest.MonkeyPatch, preset: str, phase: Any, steps: int
) -> None:
    config = configure(preset)
    TwoBatches(monkeypatch, phase)
    expected = train(replace(config, batch_size=2 * config.batch_size), *photos, seed=1, max_steps=steps)
    result = trained.results[preset]
    weights, expected_weights = collect_weights(result), collect_weights(expected)
    assert weights.keys() == expected_weights.keys()
    for name, weight in expected_weights.items():
        torch.testing.assert_close(weights[name], weight, rtol=1e-4, atol=1e-5, msg=name)
    assert [point.keys() for point in result.history] == [point.keys() for point in expected.history]
    for point, expected_point in zip(result.history, expected.history, strict=True):
        assert point == pytest.approx(expected_point, rel=1e-4)


def test_resumed_processes_equal_uninterrupted_ones(trained: Trained) -> None:
    assert have_same_weights(trained.results["seed"], trained.results["resumed"])


def test_a_training_continues_with_another_number_of_processes(trained: Trained, photos: PhotoSets) -> None:
    more = trained.results["from one"]
    assert more.steps == STEPS
    fewer = train(configure("seed"), *photos, seed=1, max_steps=STEPS + 2, resume=trained.folder / "of-two")
    assert fewer.steps == STEPS + 2


def test_the_death_of_a_process_ends_the_others(trained: Trained) -> None:
    assert isinstance(trained.error, PeerLostError)

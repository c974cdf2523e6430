"""Steps captured as graphs. What is recorded on a GPU is tried where there is one; a CPU just calls the work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from training import cuda_graph as capture
from training.config import preset
from training.cuda_graph import Captured
from training.data.photos import Photos
from training.phases.joint import joint_step
from training.state import State

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def test_on_a_cpu_the_work_is_called_each_time() -> None:
    calls = 0

    def doubled(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return 2 * x

    work = Captured(doubled)
    for number in range(6):
        assert work(torch.tensor(number)).item() == 2 * number
    assert calls == 6


@on_gpu
def test_a_recorded_step_learns_what_a_called_one_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    lr, hr = (
        Photos.write(tmp_path / name, [rng.integers(0, 256, (side, side, 3), dtype=np.uint8)])
        for name, side in (("lr", 64), ("hr", 256))
    )
    recorded, called = (State(preset("seed", 4, device="cuda"), 0, "cuda") for _ in range(2))
    for step in range(12):
        told = joint_step(recorded, lr, hr, step / 12)
        with monkeypatch.context() as patch:
            patch.setattr(capture, "WARM_UP", 100)
            expected = joint_step(called, lr, hr, step / 12)
        assert told == pytest.approx(expected, rel=0.02)

"""CUDA graphs of steps. The recording is tested where there is a GPU; a CPU just calls the function."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from training import cuda_graph
from training.cuda_graph import CUDAGraphRunner
from training.data.photos import Photos
from training.phases.joint import joint_step
from training.presets import get_preset
from training.state import TrainState

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def test_cpu_calls_the_function_each_time() -> None:
    calls = 0

    def double(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return 2 * x

    runner = CUDAGraphRunner(double)
    for number in range(6):
        assert runner(torch.tensor(number)).item() == 2 * number
    assert calls == 6


@needs_gpu
def test_recorded_step_learns_what_a_called_one_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    lr, hr = (
        Photos.write(tmp_path / name, [rng.integers(0, 256, (side, side, 3), dtype=np.uint8)])
        for name, side in (("lr", 64), ("hr", 256))
    )
    recorded, called = (TrainState(get_preset("seed", 4, device="cuda"), 0, "cuda") for _ in range(2))
    for step in range(12):
        metrics = joint_step(recorded, lr, hr, step / 12)
        with monkeypatch.context() as patch:
            patch.setattr(cuda_graph, "WARM_UP_CALLS", 100)
            expected = joint_step(called, lr, hr, step / 12)
        assert metrics == pytest.approx(expected, rel=0.02)

"""The sr phase trains an EDSR that keeps flat colors, without a grid of the scale."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tests.support.degradation_stubs import StubDegradation, make_gaussian
from tests.support.model_factories import upscale_untiled
from tests.support.training_factories import make_config, make_photo
from training.data.photos import Photos
from training.phases.sr import sr_step
from training.state import TrainState

STEPS = 80
COLORS = (
    (255, 255, 255),
    (0, 0, 0),
    (128, 128, 128),
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (255, 0, 255),
    (20, 190, 60),
)


def test_flat_colors_stay_flat(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    photos = Photos.write(tmp_path, [make_photo(rng, 160, 160) for _ in range(6)])
    config = make_config("default")
    config = replace(config, batch_size=8, lr_patch=16, edsr=replace(config.edsr, width=16, blocks=2))
    state = TrainState(config, 0, "cpu")
    state.degradation = StubDegradation(torch.stack([make_gaussian(2.0, 2.0)]), (2.0, 4.0))
    losses = [sr_step(state, photos, step / STEPS)["edsr_l1"] for step in range(STEPS)]
    assert np.mean(losses[-40:]) < np.mean(losses[:40])
    edsr = state.edsr.eval()
    for color in COLORS:
        lr = np.broadcast_to(np.array(color, np.uint8), (20, 20, 3)).copy()
        sr = upscale_untiled(edsr, lr)  # not rounded, because rounding turns 0.49 and 0.51 into a grid
        assert np.abs(sr - color).max() < (0.5 if color in COLORS[:2] else 3)
        phases = sr.reshape(20, 4, 20, 4, 3).mean((0, 2))
        assert phases.std((0, 1)).max() < 0.5

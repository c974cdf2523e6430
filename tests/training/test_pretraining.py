"""The estimator that is shipped, and how it came to be."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from patina.demo.photographs import load_photographs
from training.estimator.network import Estimator, experienced, statistics_of
from training.estimator.pretraining import main


def shot(photo: NDArray[np.uint8], width: float, level: float, seed: int) -> torch.Tensor:
    """Eight crops (8, 3, 48, 48) of a photo, blurred by a Gaussian, every fourth pixel, with white noise."""
    rng = np.random.default_rng(seed)
    blurred = gaussian_filter(photo.astype(np.float64), (width, width, 0))[::4, ::4]
    noisy = (blurred + level * rng.normal(size=blurred.shape)).clip(0, 255).round()
    corners = rng.integers(0, len(noisy) - 47, (8, 2))
    crops = np.stack([noisy[top : top + 48, left : left + 48] for top, left in corners])
    return torch.from_numpy(crops).float().permute(0, 3, 1, 2)


def test_the_shipped_estimator_tells_widths_and_noise_of_photos_it_has_not_seen() -> None:
    estimator, statistics = experienced(), statistics_of(4)
    photos = list(load_photographs().values())
    widths, levels = (1.5, 2.5, 3.5), (2.0, 5.0, 10.0)
    told_widths, told_levels = np.empty((3, 3)), np.empty((3, 3))
    kernels = estimator.kernel_targets
    for row, width in enumerate(widths):
        offset = torch.arange(24) - 11.5
        line = (-((offset / width) ** 2) / 2).exp()
        right = statistics.of_kernels((line[:, None] * line / line.sum() ** 2)[None])[0]
        for col, level in enumerate(levels):
            crops = torch.cat([shot(photo, width, level, 10 * row + col) for photo in photos])
            with torch.no_grad():
                told = estimator(statistics.windows(crops, torch.full((len(crops),), 100.0), 8))
            told = told.mean(0) * estimator.target_std + estimator.target_mean
            # Targets are in proportion to the width, but for the floor that the highest frequencies lie on.
            told_widths[row, col] = width * told[:kernels].sum() / right.sum()
            told_levels[row, col] = told[kernels:-1].mean() ** 2
    assert told_widths == pytest.approx(np.array(widths)[:, None].repeat(3, 1), rel=0.3)
    assert (np.diff(told_widths, axis=0) > 0.4).all()
    assert told_levels == pytest.approx(np.array(levels)[None].repeat(3, 0), rel=0.25)


def test_an_estimator_learns_from_a_folder_of_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("astronaut", "cat", "coffee"):
        Image.fromarray(load_photographs()[name]).save(tmp_path / "photos" / f"{name}.png")
    out = tmp_path / "estimator.safetensors"
    monkeypatch.setattr("training.estimator.network.WEIGHTS", out)
    monkeypatch.setattr("training.estimator.pretraining.BATCH", 64)
    arguments = ["--simulated", "192", "--updates", "20", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["pretraining", str(tmp_path / "photos"), *arguments])
    main()
    off = [float(line.split("off by ")[1].split()[0]) for line in capsys.readouterr().out.splitlines()]
    assert len(off) == 20
    assert off[-1] < 0.8 * off[0]
    fresh, learned = Estimator(), experienced()
    assert not torch.equal(fresh.target_mean, learned.target_mean)  # type: ignore[arg-type]

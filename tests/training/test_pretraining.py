"""The shipped estimator's accuracy, and how an estimator is trained."""

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
from training.estimator.network import (
    DegradationEstimator,
    DegradationTargets,
    get_features,
    load_estimator,
    load_pretrained_estimator,
)
from training.estimator.pretraining import main


def take_shot(photo: NDArray[np.uint8], blur: float, sigma: float, seed: int) -> torch.Tensor:
    """Eight crops (8, 3, 48, 48) of a photo after Gaussian blur, decimation by four and white noise."""
    rng = np.random.default_rng(seed)
    blurred = gaussian_filter(photo.astype(np.float64), (blur, blur, 0))[::4, ::4]
    noisy = (blurred + sigma * rng.normal(size=blurred.shape)).clip(0, 255).round()
    corners = rng.integers(0, len(noisy) - 47, (8, 2))
    crops = np.stack([noisy[top : top + 48, left : left + 48] for top, left in corners])
    return torch.from_numpy(crops).float().permute(0, 3, 1, 2)


def test_shipped_estimator_predicts_unseen_photos() -> None:
    estimator, features = load_pretrained_estimator(), get_features(4)
    photos = list(load_photographs().values())
    blurs, sigmas = (1.5, 2.5, 3.5), (2.0, 5.0, 10.0)
    predicted_blurs, predicted_sigmas = np.empty((3, 3)), np.empty((3, 3))
    for row, blur in enumerate(blurs):
        offset = torch.arange(24) - 11.5
        line = (-((offset / blur) ** 2) / 2).exp()
        truth = features.kernel_targets((line[:, None] * line / line.sum() ** 2)[None])[0]
        for col, sigma in enumerate(sigmas):
            crops = torch.cat([take_shot(photo, blur, sigma, 10 * row + col) for photo in photos])
            with torch.no_grad():
                predicted = estimator(features.window_features(crops, torch.full((len(crops),), 100.0), 8)).concat()
            mean = DegradationTargets.split(predicted.mean(0) * estimator.target_std + estimator.target_mean)
            # Targets are proportional to the width, apart from the floor at the highest frequencies.
            predicted_blurs[row, col] = blur * mean.kernel_spectrum.sum() / truth.sum()
            predicted_sigmas[row, col] = mean.noise_amplitude.mean() ** 2
    assert predicted_blurs == pytest.approx(np.array(blurs)[:, None].repeat(3, 1), rel=0.3)
    assert (np.diff(predicted_blurs, axis=0) > 0.4).all()
    assert predicted_sigmas == pytest.approx(np.array(sigmas)[None].repeat(3, 0), rel=0.25)


def test_estimator_learns_from_a_folder_of_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("astronaut", "cat", "coffee"):
        Image.fromarray(load_photographs()[name]).save(tmp_path / "photos" / f"{name}.png")
    out = tmp_path / "estimator.safetensors"
    monkeypatch.setattr("training.estimator.pretraining.BATCH", 64)
    arguments = ["--simulated", "192", "--updates", "20", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["pretraining", str(tmp_path / "photos"), *arguments])
    main()
    losses = [float(line.split("loss ")[1]) for line in capsys.readouterr().out.splitlines()]
    assert len(losses) == 20
    assert losses[-1] < 0.8 * losses[0]
    fresh, learned = DegradationEstimator(), load_estimator(out)
    assert not torch.equal(fresh.target_mean, learned.target_mean)  # type: ignore[arg-type]

"""What a training checks and adapts before its first step."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.compression import standard_compression
from tests.support.training_factories import PhotoSets, collect_weights, make_config, make_photo
from training.data.photos import Photos, PhotosError
from training.loop import train


def test_missing_and_small_photos_are_refused(photos: PhotoSets, tmp_path: Path) -> None:
    real, clean = photos
    config = make_config("default")
    none = Photos.write(tmp_path / "none", [])
    tiny = Photos.write(tmp_path / "tiny", [np.zeros((31, 200, 3), np.uint8)])
    for lr, hr, message in [
        (none, clean, "no real low-resolution photos"),
        (real, none, "no clean high-resolution photos"),
        (tiny, clean, "real low-resolution photos is 32 pixels"),
        (real, tiny, "clean high-resolution photos is 128 pixels"),
    ]:
        with pytest.raises(PhotosError, match=message):
            train(config, lr, hr, seed=0, max_steps=1)


def test_compressions_of_real_photos_are_generated(photos: PhotoSets, tmp_path: Path) -> None:
    real, clean = photos
    shots = []
    for index in range(len(real)):
        buffer = io.BytesIO()
        Image.fromarray(real[index] // 2 + 50).save(buffer, "JPEG", quality=60)
        shots.append(np.asarray(Image.open(buffer).convert("RGB")))
    result = train(make_config("default"), Photos.write(tmp_path / "web", shots), clean, seed=0, max_steps=8)
    standard = standard_compression(60)
    assert result.degradation.config.compressions == (replace(standard, count=3),)
    assert train(make_config("default"), real, clean, seed=0, max_steps=1).degradation.config.compressions == ()


def test_small_photos_get_small_crops(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    real = Photos.write(tmp_path / "lr", [make_photo(rng, 32, 32)])
    clean = Photos.write(tmp_path / "hr", [make_photo(rng, 128, 128)])
    result = train(make_config("default"), real, clean, seed=0, max_steps=8)
    assert all(torch.isfinite(weight).all() for weight in collect_weights(result).values())

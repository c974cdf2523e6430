"""The demo's scorecard, for triplets of known quality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patina.archive import ManifestLine
from patina.demo.camera import Camera, blur_and_downsample
from patina.demo.scorecard import compare
from patina.sheet.page import Picture

CAMERA = Camera()
SAMPLES = 40


@pytest.fixture(scope="module")
def clean() -> dict[str, Picture]:
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8))
    return {"photo": np.asarray(coarse.resize((96, 80), Image.Resampling.BICUBIC))}


def save_triplets(camera: Camera, clean: dict[str, Picture], folder: Path) -> list[ManifestLine]:
    """Saves what a perfect model of `camera` would generate. Returns the manifest lines."""
    rng = np.random.default_rng(1)
    lines: list[ManifestLine] = []
    for sample in range(SAMPLES):
        kernel = camera.sample_kernel(rng).astype(np.float32)
        blurred = blur_and_downsample(clean["photo"], kernel, camera.origin, camera.scale)
        noise = (camera.sample_noise(blurred, rng) / 255).astype(np.float32)
        lr = np.rint(np.clip(blurred + noise.astype(np.float64) * 255, 0, 255)).astype(np.uint8)
        names = {
            kind: f"{sample}-{kind}.{suffix}" for kind, suffix in (("lr", "png"), ("kernel", "npy"), ("noise", "npy"))
        }
        Image.fromarray(lr).save(folder / names["lr"])
        np.save(folder / names["kernel"], kernel)
        np.save(folder / names["noise"], noise)
        lines.append({"source": "photo.png", "scale": camera.scale, "kernel_origin": [*camera.origin], **names})
    return lines


def test_perfect_model_is_close(clean: dict[str, Picture], tmp_path: Path) -> None:
    comparison = compare(CAMERA, clean, tmp_path, save_triplets(CAMERA, clean, tmp_path))
    assert [score.rating for score in comparison.properties] == ["close"] * 3
    assert comparison.center_offset == pytest.approx(0, abs=0.01)
    assert (comparison.num_triplets, comparison.num_inconsistent) == (SAMPLES, 0)


def test_other_camera_is_far_off(clean: dict[str, Picture], tmp_path: Path) -> None:
    sharper = Camera(blur=(0.4, 0.6), read_noise=(12, 14))
    comparison = compare(CAMERA, clean, tmp_path, save_triplets(sharper, clean, tmp_path))
    assert [score.rating for score in comparison.properties] == ["far off"] * 3
    assert all(score.distance > 2 * score.noise_floor for score in comparison.properties)


def test_inconsistent_triplet_is_counted(clean: dict[str, Picture], tmp_path: Path) -> None:
    lines = save_triplets(CAMERA, clean, tmp_path)
    noise = np.load(tmp_path / lines[3]["noise"])
    noise[5, 5, 1] += 2 / 255
    np.save(tmp_path / lines[3]["noise"], noise)
    assert compare(CAMERA, clean, tmp_path, lines).num_inconsistent == 1

"""The demo's judgement, given triplets whose worth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patina.client.archive import Manifest
from patina.demo.camera import Camera, blur_and_sample
from patina.demo.scorecard import compare
from patina.sheet.page import Picture

CAMERA = Camera()
SAMPLES = 40


@pytest.fixture(scope="module")
def clean() -> dict[str, Picture]:
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8))
    return {"photo": np.asarray(coarse.resize((96, 80), Image.Resampling.BICUBIC))}


def triplets_of(camera: Camera, clean: dict[str, Picture], folder: Path) -> list[Manifest]:
    """What a model would make that had learned `camera` to the letter."""
    rng = np.random.default_rng(1)
    lines: list[Manifest] = []
    for sample in range(SAMPLES):
        kernel = camera.draw_kernel(rng).astype(np.float32)
        blurred = blur_and_sample(clean["photo"], kernel, camera.origin, camera.scale)
        noise = (camera.draw_noise(blurred, rng) / 255).astype(np.float32)
        lr = np.rint(np.clip(blurred + noise.astype(np.float64) * 255, 0, 255)).astype(np.uint8)
        names = {
            kind: f"{sample}-{kind}.{ending}" for kind, ending in (("lr", "png"), ("kernel", "npy"), ("noise", "npy"))
        }
        Image.fromarray(lr).save(folder / names["lr"])
        np.save(folder / names["kernel"], kernel)
        np.save(folder / names["noise"], noise)
        lines.append({"source": "photo.png", "scale": camera.scale, "kernel_origin": [*camera.origin], **names})
    return lines


def test_the_camera_itself_is_near(clean: dict[str, Picture], tmp_path: Path) -> None:
    comparison = compare(CAMERA, clean, tmp_path, triplets_of(CAMERA, clean, tmp_path))
    assert [row.in_words for row in comparison.shown] == ["near"] * 3
    assert comparison.off_centre == pytest.approx(0, abs=0.01)
    assert (comparison.triplets, comparison.wrong) == (SAMPLES, 0)


def test_another_camera_is_not(clean: dict[str, Picture], tmp_path: Path) -> None:
    sharper = Camera(blur=(0.4, 0.6), read_noise=(12, 14))
    comparison = compare(CAMERA, clean, tmp_path, triplets_of(sharper, clean, tmp_path))
    assert [row.in_words for row in comparison.shown] == ["far off"] * 3
    assert all(row.distance > 2 * row.floor for row in comparison.shown)


def test_a_triplet_that_does_not_add_up_is_counted(clean: dict[str, Picture], tmp_path: Path) -> None:
    lines = triplets_of(CAMERA, clean, tmp_path)
    noise = np.load(tmp_path / lines[3]["noise"])
    noise[5, 5, 1] += 2 / 255
    np.save(tmp_path / lines[3]["noise"], noise)
    assert compare(CAMERA, clean, tmp_path, lines).wrong == 1

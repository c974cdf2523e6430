"""The pretend camera, against the definition of the geometry summed point by point."""

from __future__ import annotations

import numpy as np
import pytest

from patina.demo.camera import Camera, blur_and_sample, gaussian


def reflected(position: int, length: int) -> int:
    """Reflect padding: ... 2 1 | 0 1 2 ... n-1 | n-2 n-3 ..."""
    while not 0 <= position < length:
        position = -position if position < 0 else 2 * (length - 1) - position
    return position


@pytest.mark.parametrize("size", [(12, 16), (13, 9)])
@pytest.mark.parametrize(("scale", "support"), [(2, 6), (3, 7), (4, 20)])
def test_blurs_and_samples_as_the_geometry_says(size: tuple[int, int], scale: int, support: int) -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    kernel = rng.random((support, support))
    origin = (-((support - scale) // 2), -((support - scale) // 2))

    got = blur_and_sample(image, kernel, origin, scale)

    assert got.shape == (size[0] // scale, size[1] // scale, 3)
    for i, j, channel in [(0, 0, 0), (1, 0, 1), (got.shape[0] - 1, got.shape[1] - 1, 2)]:
        expected = sum(
            kernel[u, v]
            * float(
                image[
                    reflected(scale * i + u + origin[0], size[0]),
                    reflected(scale * j + v + origin[1], size[1]),
                    channel,
                ]
            )
            for u in range(support)
            for v in range(support)
        )
        assert got[i, j, channel] == pytest.approx(expected, rel=1e-12)


def test_a_low_resolution_pixel_stands_in_the_middle_of_its_block() -> None:
    camera = Camera(read_noise=(0, 0), shot_noise=(0, 0))
    columns = np.broadcast_to(np.arange(128, dtype=np.uint8), (64, 128))
    ramp = np.stack([columns] * 3, axis=-1)
    lr = blur_and_sample(ramp, gaussian(1.5, 1.5, 0, camera.support), camera.origin, camera.scale)
    inside = lr[4:-4, 4:-4, 0]
    assert inside[0] == pytest.approx(4 * np.arange(4, 28) + 1.5, abs=1e-6)


def test_draws_within_its_ranges_and_the_same_for_the_same_seed() -> None:
    camera = Camera(blur=(1, 3), read_noise=(4, 4), shot_noise=(0, 0))
    grey = np.full((256, 256, 3), 128, np.uint8)
    first, second = (camera.shoot(grey, np.random.default_rng(0)) for _ in range(2))
    assert np.array_equal(first.lr, second.lr)
    assert first.kernel.sum() == pytest.approx(1)
    assert first.noise_level == pytest.approx(np.sqrt(4**2 + 1 / 12), rel=0.05)  # the noise, and rounding


def test_crops_what_is_no_multiple_of_the_scale() -> None:
    shot = Camera().shoot(np.zeros((131, 66, 3), np.uint8), np.random.default_rng(0))
    assert shot.lr.shape == (32, 16, 3)

"""The simulated camera, against the definition of the geometry summed point by point."""

from __future__ import annotations

import numpy as np
import pytest

from patina.demo.camera import Camera, blur_and_downsample, gaussian_kernel


def reflect(position: int, length: int) -> int:
    """Maps a position outside to one inside: ... 2 1 | 0 1 2 ... n-1 | n-2 n-3 ..."""
    while not 0 <= position < length:
        position = -position if position < 0 else 2 * (length - 1) - position
    return position


@pytest.mark.parametrize("size", [(12, 16), (13, 9)])
@pytest.mark.parametrize(("scale", "support"), [(2, 6), (3, 7), (4, 20)])
def test_blur_and_downsample_follows_the_geometry(size: tuple[int, int], scale: int, support: int) -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    kernel = rng.random((support, support))
    origin = (-((support - scale) // 2), -((support - scale) // 2))

    lr = blur_and_downsample(image, kernel, origin, scale)

    assert lr.shape == (size[0] // scale, size[1] // scale, 3)
    for i, j, channel in [(0, 0, 0), (1, 0, 1), (lr.shape[0] - 1, lr.shape[1] - 1, 2)]:
        expected = sum(
            kernel[u, v]
            * float(
                image[
                    reflect(scale * i + u + origin[0], size[0]),
                    reflect(scale * j + v + origin[1], size[1]),
                    channel,
                ]
            )
            for u in range(support)
            for v in range(support)
        )
        assert lr[i, j, channel] == pytest.approx(expected, rel=1e-12)


def test_lr_pixel_is_centered_on_its_block() -> None:
    camera = Camera(read_noise=(0, 0), shot_noise=(0, 0))
    columns = np.broadcast_to(np.arange(128, dtype=np.uint8), (64, 128))
    ramp = np.stack([columns] * 3, axis=-1)
    lr = blur_and_downsample(ramp, gaussian_kernel(1.5, 1.5, 0, camera.support), camera.origin, camera.scale)
    inside = lr[4:-4, 4:-4, 0]
    assert inside[0] == pytest.approx(4 * np.arange(4, 28) + 1.5, abs=1e-6)


def test_photos_are_within_the_ranges_and_reproducible() -> None:
    camera = Camera(blur=(1, 3), read_noise=(4, 4), shot_noise=(0, 0))
    gray = np.full((256, 256, 3), 128, np.uint8)
    first, second = (camera.shoot(gray, np.random.default_rng(0)) for _ in range(2))
    assert np.array_equal(first.lr, second.lr)
    assert first.kernel.sum() == pytest.approx(1)
    assert first.noise_std == pytest.approx(np.sqrt(4**2 + 1 / 12), rel=0.05)  # the noise and the rounding


def test_photograph_is_cropped_to_a_multiple_of_the_scale() -> None:
    photo = Camera().shoot(np.zeros((131, 66, 3), np.uint8), np.random.default_rng(0))
    assert photo.lr.shape == (32, 16, 3)

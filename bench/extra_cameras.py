"""More simulated cameras: other blurs, mixtures, correlated noise, stronger JPEG compression, and raw pipelines.

They reuse parts of the accuracy benchmark's `cameras.py`, whose folder must be importable.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cameras
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter

Array = NDArray[Any]
Rng = np.random.Generator


def _render_kernel(inside: Any, softness: float) -> Array:
    """Renders a kernel with the shape of `inside(y, x)`, in high-resolution pixels, with eightfold oversampling.

    `softness` is the sigma of a Gaussian that blurs the shape.
    """
    fine, size = 8, cameras.SUPPORT
    offset = (np.arange(size * fine) - (size * fine - 1) / 2) / fine
    y, x = np.meshgrid(offset, offset, indexing="ij")
    shape = gaussian_filter(inside(y, x).astype(np.float64), softness * fine)
    kernel = shape.reshape(size, fine, size, fine).sum((1, 3))
    return np.asarray(kernel / kernel.sum())


def motion(rng: Rng) -> Array:
    """Returns a motion blur kernel: a straight streak of 2 to 13 pixels."""
    length, angle = rng.uniform(2, 13), rng.uniform(0, np.pi)
    along = np.cos(angle), np.sin(angle)
    return _render_kernel(
        lambda y, x: (abs(x * along[0] + y * along[1]) < length / 2) & (abs(y * along[0] - x * along[1]) < 0.4), 0.8
    )


def defocus(rng: Rng) -> Array:
    """Returns a defocus kernel: a uniform disk of radius 1.5 to 6 pixels."""
    radius = rng.uniform(1.5, 6)
    return _render_kernel(lambda y, x: np.hypot(y, x) < radius, 0.5)


def sized_blur(size: int, low: float, high: float) -> Callable[[Rng], Array]:
    """Draws Gaussians in a window of `size` taps, for scales whose window is not cameras.SUPPORT. Sigmas in pixels."""
    offset = np.arange(size) - (size - 1) / 2
    y, x = np.meshgrid(offset, offset, indexing="ij")

    def draw(rng: Rng) -> Array:
        (sigma_u, sigma_v), angle = rng.uniform(low, high, 2), rng.uniform(0, np.pi)
        u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
        kernel = np.exp(-0.5 * ((u / sigma_u) ** 2 + (v / sigma_v) ** 2))
        return np.asarray(kernel / kernel.sum())

    return draw


def sample_sharp_or_shaken(rng: Rng) -> Array:
    """Returns a narrow round kernel for two thirds of the photos, else a wide elongated one."""
    if rng.random() < 2 / 3:
        return np.asarray(cameras.gaussian_blur(0.8, 1.3, isotropic=True)(rng))
    return np.asarray(cameras.gaussian(rng.uniform(2.8, 3.8), rng.uniform(1.2, 1.8), rng.uniform(0, np.pi)))


def sample_day_or_night(rng: Rng, clean: Array) -> Array:
    """Returns white noise of 1 to 2 levels, or of 8 to 13 levels, each for half of the photos."""
    return np.asarray(rng.normal(0, rng.uniform(1, 2) if rng.random() < 0.5 else rng.uniform(8, 13), clean.shape))


def shake(rng: Rng) -> Array:
    """Returns a camera shake kernel: a bent, uneven trace of 4 to 14 pixels, slightly defocused."""
    fine, size, steps = 8, cameras.SUPPORT, 64
    direction = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.12, steps))
    speed = np.convolve(rng.uniform(0.2, 1, steps + 8), np.ones(9) / 9, "valid")
    y, x = np.cumsum(speed * np.sin(direction)), np.cumsum(speed * np.cos(direction))
    scale = rng.uniform(4, 14) / np.hypot(np.diff(y), np.diff(x)).sum()
    y, x = ((trace - trace.mean()) * scale for trace in (y, x))
    edges = (np.arange(size * fine + 1) - size * fine / 2) / fine
    shape = gaussian_filter(np.histogram2d(y, x, bins=(edges, edges))[0], 0.8 * fine)
    kernel = shape.reshape(size, fine, size, fine).sum((1, 3))
    return np.asarray(kernel / kernel.sum())


def grain(rng: Rng, clean: Array) -> Array:
    """Returns noise that is correlated between neighbors and channels, and strongest in midtones."""
    field = rng.normal(0, 1, clean.shape) + rng.normal(0, 1, (*clean.shape[:2], 1))
    field = gaussian_filter(field, (0.7, 0.7, 0))
    level = rng.uniform(3, 8) * (0.4 + 1.2 * np.sqrt(np.clip(clean, 0, 255) / 255 * (1 - np.clip(clean, 0, 255) / 255)))
    return np.asarray(field / field.std() * level)


@dataclass(frozen=True)
class KindsCamera(cameras.Camera):  # type: ignore[misc]
    """A set of photos of several kinds, equally many: each has its own kernels and noise.

    `draw_kernel` and `draw_noise` are not used. `by_scene`: all photos of a scene are of one kind.
    """

    kinds: tuple[Any, ...] = ()  # cameras
    by_scene: bool = False

    def shoot(self, hr: Array, rng: Rng) -> Any:
        """Photographs `hr`, as `Camera.shoot` does."""
        kind = zlib.crc32(hr.tobytes()) % len(self.kinds) if self.by_scene else int(rng.integers(len(self.kinds)))
        return self.kinds[kind].shoot(hr, rng)


def of_kinds(name: str, *kinds: Any, by_scene: bool = False) -> KindsCamera:
    """Returns a camera of several kinds. Its kernels are drawn from all of them."""

    def draw_kernel(rng: Rng) -> Array:
        return np.asarray(kinds[int(rng.integers(len(kinds)))].draw_kernel(rng))

    return KindsCamera(name, draw_kernel, kinds[0].draw_noise, kinds=kinds, by_scene=by_scene)


@dataclass(frozen=True)
class RawCamera(cameras.Camera):  # type: ignore[misc]
    """A camera that develops raw photos: noise in linear light, demosaicing, tone curve, denoising, sharpening.

    `draw_noise` gives the raw noise for a photo in linear light, in 0..255. `noise_std` is that of the developed noise.
    """

    filmic: bool = True  # the tone curve flattens highlights as film does; False: gamma alone
    mosaic: bool = True
    denoise_radius: int = 0  # pixels; of a guided filter that spares edges; 0: none
    chroma_sigma: tuple[float, float] = (0.0, 0.0)
    sharpen_sigma: tuple[float, float] = (1.0, 1.0)
    sharpen_amount: tuple[float, float] = (0.0, 0.0)
    jpeg_table_step: int = 0  # of quantization tables that no quality setting has, with 4:2:2 color; 0: no JPEG

    def shoot(self, hr: Array, rng: Rng) -> Any:
        """Photographs `hr`, as `Camera.shoot` does."""
        height, width = (side - side % self.scale for side in hr.shape[:2])
        kernel = self.draw_kernel(rng)
        clean = cameras.blur_and_sample(hr[:height, :width], kernel, self.scale)
        lr, noise = self.develop(clean, rng)
        return cameras.Shot(lr, kernel, float(noise.std()))

    def develop(self, clean: Array, rng: Rng) -> tuple[Array, Array]:
        """Photographs and develops clean (h, w, 3). Returns the photo and its noise."""
        brightness = np.linspace(0, 1, 1025)
        curve = self._tone_curve(brightness)
        linear = 255 * np.interp(np.clip(clean, 0, 255) / 255, curve, brightness)
        noisy = linear + self.draw_noise(rng, linear)
        settings = [rng.uniform(*limits) for limits in (self.chroma_sigma, self.sharpen_sigma, self.sharpen_amount)]
        photo, plain = (self._finish(raw, brightness, curve, *settings) for raw in (noisy, linear))
        return photo, photo.astype(np.float64) - plain

    def _tone_curve(self, linear: Array) -> Array:
        if not self.filmic:
            return np.asarray(linear ** (1 / 2.2))
        curve = linear**1.3 / (linear**1.3 + 0.18**1.3)  # as film and the eye respond: steepest in the mid-tones
        return np.asarray(curve / curve[-1])

    def _finish(
        self, raw: Array, brightness: Array, curve: Array, chroma_sigma: float, sigma: float, amount: float
    ) -> Array:
        image = cameras.demosaiced(raw) if self.mosaic else raw
        image = 255 * np.interp(np.clip(image, 0, 255) / 255, brightness, curve)
        if chroma_sigma:
            image = cameras.smooth_chroma(image, chroma_sigma)
        if self.denoise_radius:
            luma = (image @ np.array([0.299, 0.587, 0.114]))[..., None]
            image = image + guided_filter(luma, self.denoise_radius, tolerance=8.0) - luma
        photo = cameras.to_uint8(cameras.sharpen(image, sigma, amount))
        return through_own_tables(photo, self.jpeg_table_step) if self.jpeg_table_step else np.asarray(photo)


def guided_filter(image: Array, radius: int, tolerance: float) -> Array:
    """Smooths image (h, w, 1) where its std is below `tolerance`, in 8-bit levels, and spares edges (He, 2010)."""
    size = (2 * radius + 1, 2 * radius + 1, 1)
    mean = uniform_filter(image, size)
    variance = np.maximum(uniform_filter(image * image, size) - mean * mean, 0)
    slope = variance / (variance + tolerance**2)
    return np.asarray(uniform_filter(slope, size) * image + uniform_filter(mean - slope * mean, size))


def through_own_tables(image: Array, step: int) -> Array:
    """Sends an image through JPEG with 4:2:2 color and tables that rise by `step` / 8 with each frequency."""
    frequency = np.add.outer(np.arange(8), np.arange(8)).ravel()
    luma = [int(value) for value in np.clip(2 + step * frequency / 8, 1, 255)]
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", qtables=[luma, [2 * value for value in luma]], subsampling="4:2:2")
    return np.asarray(Image.open(buffer).convert("RGB"))


EXTRA_CAMERAS = {
    camera.name: camera
    for camera in (
        cameras.Camera("motion", motion, cameras.white_noise(2, 5)),
        cameras.Camera("defocus", defocus, cameras.sensor_noise(read=(1, 3), shot=(0.05, 0.4))),
        cameras.Camera("mixed", sample_sharp_or_shaken, sample_day_or_night),
        of_kinds(
            "shaken",
            cameras.Camera("sharp", cameras.gaussian_blur(0.6, 1.0), cameras.white_noise(2, 5)),
            cameras.Camera("shake", shake, cameras.white_noise(2, 5)),
        ),
        of_kinds(
            "phones",
            cameras.Camera("new", cameras.gaussian_blur(0.8, 1.2, isotropic=True), cameras.white_noise(1, 2)),
            cameras.Camera("old", cameras.gaussian_blur(2.0, 2.8), cameras.sensor_noise(read=(3, 6), shot=(0.2, 0.8))),
        ),
        of_kinds(
            "daynight",
            cameras.Camera("day", cameras.gaussian_blur(0.9, 1.4), cameras.white_noise(1, 2)),
            cameras.Camera(
                "night", cameras.gaussian_blur(1.8, 3.2), cameras.sensor_noise(read=(4, 8), shot=(0.1, 0.5))
            ),
            by_scene=True,
        ),
        cameras.Camera("grain", cameras.gaussian_blur(1.0, 2.6), grain),
        cameras.Camera("restore", sized_blur(25, 0.4, 1.6), cameras.white_noise(2, 8), (60, 90), scale=1),
        cameras.Camera(
            "noisy", sized_blur(25, 0.25, 0.4), cameras.sensor_noise(read=(4, 10), shot=(0.2, 2.0)), scale=1
        ),
        cameras.Camera("tiny", sized_blur(48, 2.0, 6.0), cameras.sensor_noise(read=(1, 4), shot=(0.1, 1.0)), scale=8),
        cameras.Camera("chat", cameras.gaussian_blur(1.0, 3.0), cameras.white_noise(0, 3), jpeg_quality=(30, 60)),
        RawCamera(
            "reflex",
            cameras.gaussian_blur(0.9, 1.6, isotropic=True),
            cameras.sensor_noise(read=(0.3, 1), shot=(0.05, 0.3)),
        ),
        RawCamera(
            "night",
            cameras.gaussian_blur(0.9, 1.8),
            cameras.sensor_noise(read=(1, 2.5), shot=(0.2, 0.8)),
            denoise_radius=2,
            chroma_sigma=(1.0, 2.5),
            sharpen_sigma=(1.5, 3.0),
            sharpen_amount=(0.4, 1.2),
            jpeg_table_step=6,
        ),
        RawCamera(
            "pocket",
            cameras.gaussian_blur(1.2, 2.0, isotropic=True),
            cameras.sensor_noise(read=(0.2, 0.8), shot=(0.02, 0.2)),
            filmic=False,
            chroma_sigma=(0.5, 1.2),
            sharpen_sigma=(0.6, 1.0),
            sharpen_amount=(0.3, 0.8),
        ),
    )
}

"""The two standard hand-made degradation pipelines, written from their papers. `bench/peers.py` compares with them.

- Second-order: "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data" (Wang et al., 2021,
  arXiv 2107.10833), section 3 and the settings of section 4.1. Truth is not sharpened, because that costs PSNR.
- Shuffled: "Designing a Practical Degradation Model for Deep Blind Image Super-Resolution" (BSRGAN, Zhang et al., 2021,
  arXiv 2103.14006), section 3. Its camera tone curves are not public in a package, so the sensor noise of
  "Unprocessing Images for Learned Raw Denoising" (Brooks et al., 2019) uses that paper's own curve.

Ranges and probabilities are the published ones. Images inside are (3, H, W) float32 in [0, 1].
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import convolve
from scipy.signal import oaconvolve
from scipy.special import j1
from torch.nn import functional

Array = NDArray[Any]
Range = tuple[float, float]
Rng = np.random.Generator

KERNEL_SIZES = range(7, 22, 2)  # sides of blur and sinc kernels, in both papers
JPEG_QUALITIES = (30, 95)  # in both papers
GRAY_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)


# Second-order pipeline


@dataclass(frozen=True)
class Round:
    """The settings of one round of blur, resize, noise and JPEG."""

    blur_probability: float
    sigma: Range  # of blur kernels, in pixels
    resize_probabilities: tuple[float, float, float]  # up, down, keep
    factors: Range  # lowest factor of down, highest of up
    noise_sigma: Range  # Gaussian, in levels
    poisson_scale: Range


FIRST_ROUND = Round(1.0, (0.2, 3.0), (0.2, 0.7, 0.1), (0.15, 1.5), (1, 30), (0.05, 3.0))
SECOND_ROUND = Round(0.8, (0.2, 1.5), (0.3, 0.4, 0.3), (0.3, 1.2), (1, 25), (0.05, 2.5))
SINC_PROBABILITY = 0.1  # of a sinc filter in place of a blur kernel
FINAL_SINC_PROBABILITY = 0.8
KERNEL_SHAPES = ("gaussian", "generalized", "plateau")
KERNEL_SHAPE_PROBABILITIES = (0.7, 0.15, 0.15)
# Shares of round kernels: of 0.45 + 0.25, 0.12 + 0.03 and 0.12 + 0.03.
ROUND_SHARE = {"gaussian": 0.45 / 0.7, "generalized": 0.8, "plateau": 0.8}
SHAPE_BETA = {"gaussian": (1.0, 1.0), "generalized": (0.5, 4.0), "plateau": (1.0, 2.0)}
GRAY_NOISE_PROBABILITY = 0.4
RESIZE_MODES = ("area", "bilinear", "bicubic")


def degrade_second_order(hr: NDArray[np.uint8], scale: int, rng: Rng) -> NDArray[np.uint8]:
    """Degrades hr (H, W, 3) by two rounds to (H/scale, W/scale, 3). H and W must be multiples of the scale."""
    height, width = hr.shape[:2]
    final_size = (height // scale, width // scale)
    image = to_float(hr)
    for number, settings in enumerate((FIRST_ROUND, SECOND_ROUND)):
        if rng.random() < settings.blur_probability:
            image = blur(image, draw_kernel(settings.sigma, rng))
        full = (height, width) if number == 0 else final_size
        image = resize(image, draw_size(full, settings, rng), rng)
        image = add_noise(image, settings, rng)
        if number == 0:
            image = compress(image, rng)
    # The last resize comes with the final sinc filter, before or after the last JPEG.
    steps: list[Callable[[Array], Array]] = [
        lambda image: filter_sinc(resize(image, final_size, rng), rng),
        lambda image: compress(image, rng),
    ]
    for index in rng.permutation(2):
        image = steps[index](image)
    return to_uint8(image)


def draw_size(full: tuple[int, int], settings: Round, rng: Rng) -> tuple[int, int]:
    """Draws the size that a round resizes to, at least one pixel; `full` is the size for the factor 1."""
    direction = rng.choice(3, p=settings.resize_probabilities)
    low, high = settings.factors
    factor = (rng.uniform(1, high), rng.uniform(low, 1), 1.0)[direction]
    return max(1, int(full[0] * factor)), max(1, int(full[1] * factor))


def draw_kernel(sigmas: Range, rng: Rng) -> Array:
    """Draws a blur kernel of one of the shapes, or a sinc filter."""
    size = int(rng.choice(KERNEL_SIZES))
    if rng.random() < SINC_PROBABILITY:
        return make_sinc(size, rng.uniform(math.pi / (3 if size < 13 else 5), math.pi))
    shape = str(rng.choice(KERNEL_SHAPES, p=KERNEL_SHAPE_PROBABILITIES))
    sigma_u = rng.uniform(*sigmas)
    sigma_v = sigma_u if rng.random() < ROUND_SHARE[shape] else rng.uniform(*sigmas)
    distance = _mahalanobis(size, sigma_u**2, sigma_v**2, rng.uniform(-math.pi, math.pi))
    power = distance ** rng.uniform(*SHAPE_BETA[shape])
    kernel = 1 / (1 + power) if shape == "plateau" else np.exp(-0.5 * power)
    return np.asarray(kernel / kernel.sum())


def make_sinc(size: int, cutoff: float) -> Array:
    """Returns the circular low-pass filter (size, size) with this cutoff frequency in radians. It sums to 1."""
    y, x = _grid(size)
    radius = np.hypot(y, x)
    with np.errstate(invalid="ignore"):
        kernel = cutoff * j1(cutoff * radius) / (2 * math.pi * radius)
    kernel[size // 2, size // 2] = cutoff**2 / (4 * math.pi)
    return np.asarray(kernel / kernel.sum())


def filter_sinc(image: Array, rng: Rng) -> Array:
    """Applies the final sinc filter, with its probability."""
    if rng.random() >= FINAL_SINC_PROBABILITY:
        return image
    return blur(image, make_sinc(int(rng.choice(KERNEL_SIZES)), rng.uniform(math.pi / 3, math.pi)))


def add_noise(image: Array, settings: Round, rng: Rng) -> Array:
    """Adds Gaussian or Poisson noise, in color or gray, and clips."""
    gray = rng.random() < GRAY_NOISE_PROBABILITY
    shape = (1, *image.shape[1:]) if gray else image.shape
    if rng.random() < 0.5:
        noise = rng.normal(0, rng.uniform(*settings.noise_sigma) / 255, shape)
    else:
        clean = np.tensordot(GRAY_WEIGHTS, image, 1)[None] if gray else image
        clean = np.round(np.clip(clean, 0, 1) * 255) / 255
        photons = 2 ** math.ceil(math.log2(max(2, len(np.unique(clean)))))
        noise = (rng.poisson(clean * photons) / photons - clean) * rng.uniform(*settings.poisson_scale)
    return np.asarray(np.clip(image + noise.astype(np.float32), 0, 1))


# Shuffled pipeline


BLUR_SIGMA = {2: (0.1, 2.4), 4: (0.1, 2.8)}  # of round kernels, by scale
BLUR_VARIANCE = {2: (0.5, 6.0), 4: (0.5, 8.0)}  # along the axes of elliptical kernels
HALVE_FIRST_PROBABILITY = 0.25  # at scale 4: half the size before anything else
NOISE_SIGMAS = range(1, 26)  # in levels
NOISE_PROBABILITIES = (0.2, 0.4, 0.4)  # correlated channels, independent channels, gray
JPEG_PROBABILITY = 0.75  # beside the last JPEG, which is always there
SENSOR_PROBABILITY = 0.25


def degrade_shuffled(hr: NDArray[np.uint8], scale: int, rng: Rng) -> NDArray[np.uint8]:
    """Degrades hr (H, W, 3) in random order to (H/scale, W/scale, 3). H and W must be multiples of the scale.

    Raises KeyError for a scale other than 2 or 4, for which the paper has no ranges.
    """
    size = hr.shape[0] // scale, hr.shape[1] // scale
    image, ranges = to_float(hr), scale
    if scale == 4 and rng.random() < HALVE_FIRST_PROBABILITY:
        image, scale = _interpolate(image, (2 * size[0], 2 * size[1]), str(rng.choice(RESIZE_MODES[1:]))), 2
    steps: list[Callable[[Array], Array]] = [
        lambda image: blur(image, draw_round_or_elliptical(ranges, rng)),
        lambda image: blur(image, draw_round_or_elliptical(ranges, rng)),
        lambda image: downsample(image, size, scale, rng),
        lambda image: add_color_noise(image, rng),
        lambda image: compress(image, rng) if rng.random() < JPEG_PROBABILITY else image,
        lambda image: add_sensor_noise(image, rng) if rng.random() < SENSOR_PROBABILITY else image,
    ]
    for index in rng.permutation(len(steps)):
        image = steps[index](image)
    return to_uint8(compress(image, rng))


def draw_round_or_elliptical(scale: int, rng: Rng) -> Array:
    """Draws a Gaussian kernel: round or elliptical, each with probability 0.5."""
    size = int(rng.choice(KERNEL_SIZES))
    if rng.random() < 0.5:
        variance_u = variance_v = rng.uniform(*BLUR_SIGMA[scale]) ** 2
    else:
        variance_u, variance_v = rng.uniform(*BLUR_VARIANCE[scale], 2)
    kernel = np.exp(-0.5 * _mahalanobis(size, variance_u, variance_v, rng.uniform(0, math.pi)))
    return np.asarray(kernel / kernel.sum())


def downsample(image: Array, size: tuple[int, int], scale: int, rng: Rng) -> Array:
    """Resizes by one of four methods: nearest without its shift, bilinear, bicubic, or down and up."""
    method = rng.integers(4)
    if method == 0:
        y, x = _grid(21)
        shift = (scale - 1) / 2
        kernel = np.exp(-0.5 * ((y - shift) ** 2 + (x - shift) ** 2) / rng.uniform(0.1, 0.6 * scale) ** 2)
        # An even scale has no pixel in the middle, so a narrow kernel would vanish.
        kernel = kernel if kernel.sum() > 1e-6 else (np.hypot(y - shift, x - shift) < 1).astype(np.float64)
        # A true convolution mirrors the kernel.
        return np.ascontiguousarray(blur(image, (kernel / kernel.sum())[::-1, ::-1])[:, ::scale, ::scale])
    if method < 3:
        return _interpolate(image, size, RESIZE_MODES[method])
    factor = rng.uniform(0.5, scale)
    between = max(1, int(size[0] * factor)), max(1, int(size[1] * factor))
    image = _interpolate(image, between, str(rng.choice(RESIZE_MODES[1:])))
    return _interpolate(image, size, str(rng.choice(RESIZE_MODES[1:])))


def add_color_noise(image: Array, rng: Rng) -> Array:
    """Adds Gaussian noise with a random covariance of the channels, or white, or gray, and clips."""
    kind = rng.choice(3, p=NOISE_PROBABILITIES)
    sigma = rng.choice(NOISE_SIGMAS) / 255
    white = rng.standard_normal((1, *image.shape[1:]) if kind == 2 else image.shape)
    if kind == 0:
        axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        white = np.tensordot(axes * np.sqrt(rng.uniform(size=3)), white, 1)
    return np.asarray(np.clip(image + (sigma * white).astype(np.float32), 0, 1))


# Sensor noise. Matrices from XYZ to a camera's colors, row by row, as in the code of Brooks et al.
CAMERA_MATRICES = np.array(
    [
        [[1.0234, -0.2969, -0.2266], [-0.5625, 1.6328, -0.0469], [-0.0703, 0.2188, 0.6406]],
        [[0.4913, -0.0541, -0.0202], [-0.613, 1.3513, 0.2906], [-0.1564, 0.2151, 0.7183]],
        [[0.838, -0.263, -0.0639], [-0.2887, 1.0725, 0.2496], [-0.0627, 0.1427, 0.5438]],
        [[0.6596, -0.2079, -0.0562], [-0.4782, 1.3016, 0.1933], [-0.097, 0.1581, 0.5181]],
    ]
)
RGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE_GAINS = (1.2, 2.4)  # of red and of blue
EXPOSURE_STOPS = (-0.1, 0.3)
SHOT_NOISE = (1e-4, 0.012)


def add_sensor_noise(image: Array, rng: Rng) -> Array:
    """Takes an image back to raw, adds shot and read noise to its Bayer mosaic, and develops it again."""
    mix = rng.uniform(size=len(CAMERA_MATRICES))
    to_camera = np.tensordot(mix / mix.sum(), CAMERA_MATRICES, 1) @ RGB_TO_XYZ
    to_camera /= to_camera.sum(1, keepdims=True)
    gains = np.array([rng.uniform(*WHITE_GAINS), 1.0, rng.uniform(*WHITE_GAINS)])[:, None, None]
    exposure = 2 ** rng.uniform(*EXPOSURE_STOPS)
    linear = (0.5 - np.sin(np.arcsin(1 - 2 * np.clip(image, 0, 1)) / 3)) ** 2.2  # inverse of 3x² - 2x³ and of gamma
    raw = _mosaic(np.tensordot(to_camera, linear, 1) / gains / exposure)
    shot = math.exp(rng.uniform(*np.log(SHOT_NOISE)))
    read = math.exp(2.18 * math.log(shot) + 1.2 + rng.normal(0, 0.26))
    raw = raw + rng.standard_normal(raw.shape) * np.sqrt(np.maximum(shot * raw + read, 0))
    developed = np.tensordot(np.linalg.inv(to_camera), _demosaic(np.clip(raw, 0, 1)) * gains * exposure, 1)
    encoded = np.clip(developed, 1e-8, 1) ** (1 / 2.2)
    return (3 * encoded**2 - 2 * encoded**3).astype(np.float32)


def _bayer(height: int, width: int) -> Array:
    """Returns masks (3, height, width) of an RGGB pattern."""
    masks = np.zeros((3, height, width), np.float32)
    masks[0, ::2, ::2] = masks[1, ::2, 1::2] = masks[1, 1::2, ::2] = masks[2, 1::2, 1::2] = 1
    return masks


def _mosaic(image: Array) -> Array:
    return np.asarray((image * _bayer(*image.shape[1:])).sum(0))


# Malvar, He and Cutler, "High-quality linear interpolation for demosaicing of Bayer-patterned color images", 2004.
_GREEN = np.array([[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]) / 8
_IN_ROW = np.array([[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]]) / 8
_OPPOSITE = (
    np.array([[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0], [0, 0, -1.5, 0, 0]]) / 8
)


def _demosaic(raw: Array) -> Array:
    red, green, blue = _bayer(*raw.shape) > 0
    in_row, in_column, opposite = (convolve(raw, weight, mode="mirror") for weight in (_IN_ROW, _IN_ROW.T, _OPPOSITE))
    red_row = np.zeros(raw.shape, bool)
    red_row[::2] = True
    return np.stack(
        [
            np.select([red, green & red_row, green], [raw, in_row, in_column], opposite),
            np.where(green, raw, convolve(raw, _GREEN, mode="mirror")),
            np.select([blue, green & ~red_row, green], [raw, in_row, in_column], opposite),
        ]
    )


# Shared by both


def blur(image: Array, kernel: Array) -> Array:
    """Convolves each channel, with reflection at the border."""
    radius = kernel.shape[0] // 2
    widths = ((0, 0), (radius, radius), (radius, radius))
    is_large = min(image.shape[1:]) > radius
    padded = np.pad(image, widths, mode="reflect") if is_large else np.pad(image, widths, mode="symmetric")
    return np.asarray(oaconvolve(padded, kernel[None].astype(np.float32), "valid", axes=(1, 2)), np.float32)


def resize(image: Array, size: tuple[int, int], rng: Rng) -> Array:
    """Resizes to (h, w) by area, bilinear or bicubic interpolation, each as likely, and clips."""
    return _interpolate(image, size, str(rng.choice(RESIZE_MODES)))


def _interpolate(image: Array, size: tuple[int, int], mode: str) -> Array:
    # Without antialiasing, as OpenCV and the papers' code.
    return functional.interpolate(torch.from_numpy(image)[None], size=size, mode=mode)[0].clamp(0, 1).numpy()


def compress(image: Array, rng: Rng) -> Array:
    """Compresses as JPEG of a random quality."""
    buffer = io.BytesIO()
    Image.fromarray(to_uint8(image)).save(buffer, "JPEG", quality=int(rng.integers(*JPEG_QUALITIES, endpoint=True)))
    return to_float(np.asarray(Image.open(buffer)))


def to_float(image: NDArray[np.uint8]) -> Array:
    """Converts (H, W, 3) uint8 to (3, H, W) float32 in [0, 1]."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32) / 255


def to_uint8(image: Array) -> NDArray[np.uint8]:
    """Converts (3, H, W) in [0, 1] to (H, W, 3) uint8, rounded and clipped."""
    return np.ascontiguousarray(np.clip(np.round(image * 255), 0, 255).astype(np.uint8).transpose(1, 2, 0))


def _grid(size: int) -> tuple[Array, Array]:
    offset = np.arange(size) - (size - 1) / 2
    y, x = np.meshgrid(offset, offset, indexing="ij")
    return y, x


def _mahalanobis(size: int, variance_u: float, variance_v: float, angle: float) -> Array:
    """Returns the squared distance from the center, in standard deviations of an ellipse turned by `angle`."""
    y, x = _grid(size)
    u, v = math.cos(angle) * x + math.sin(angle) * y, -math.sin(angle) * x + math.cos(angle) * y
    return np.asarray(u**2 / variance_u + v**2 / variance_v)

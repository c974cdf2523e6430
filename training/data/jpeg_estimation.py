"""Estimates the JPEG compression of a photo from its pixels, where its file does not say it.

Coefficients of the block transform of a decoded photo lie near multiples of their quantization step. So for every
frequency each step from 1 to 255 has a likelihood, for every start of the blocks. Frequencies without any coefficient
beyond 0 follow the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from models.color import RGB_TO_YCBCR
from models.compression import Compression
from models.jpeg import BLOCK, CHROMA_TABLE, LUMA_TABLE
from training.data.photos import PhotoCompression

Array = NDArray[np.float32]
Steps = NDArray[np.int64]  # (64,)

MAX_PIXELS = 1_000_000  # of a larger photo the tiles with the most detail are used
TILE, MARGIN = 128, 32  # pixels; the margin lets blocks start anywhere
# For the search where blocks start, and for the sampling: pixels, and frequencies that most photos have.
FAST_PIXELS = 120_000
LOW_FREQUENCIES = (1, 2, 3, 8, 9, 10, 16, 17, 24)
MAX_STEP, BINS_PER_LEVEL, MAX_LEVEL = 255, 8, 400  # of the histogram of coefficients
MIN_LEVEL = 1.5  # below, a coefficient may be 0 before it was rounded to pixels
NOISE_REACH = 4.5  # or below this many stds
OUTLIERS = 0.02  # share of coefficients that do not follow their step: pixels that were clipped, or drawn over
SMALL_OUTLIERS = 0.7  # the same near MIN_LEVEL
LUMA_NOISE = 0.31  # std of a luma coefficient by the rounding of pixels: sqrt(1/12) and a little
MIN_GAIN = 25.0  # steps must explain the coefficients better than none by this log likelihood
MIN_GAIN_SHARE = 0.04  # of it for each coefficient
CLEAR_SHARE = 0.6  # of the best gain; only one place may gain more
MIN_COEFFICIENTS = 400  # beyond MIN_LEVEL, in a photo that shows whether it was compressed
LARGE_LEVEL, MIN_LARGE = 3.0, 3  # a block that is used has this many coefficients beyond that level
# How well the standard table, scaled, must explain the coefficients to be taken: loss of log likelihood for each
# frequency that has any.
STANDARD_LOSS, MAX_LOSS = 0.7, 8.0
KNOWN_GAIN = 6.0  # log likelihood; then a frequency's coefficients alone show its step
# Scales of the standard table: those of libjpeg's qualities from 100 down, then any.
QUALITY_SCALES = np.array([200 - 2 * quality if quality >= 50 else 5000 // quality for quality in range(100, 0, -1)])
SCALES = np.concatenate([(QUALITY_SCALES / 100).clip(0.01), np.exp(np.linspace(np.log(0.02), np.log(12), 800))])
QUALITY_BONUS = 2.0  # log likelihood that libjpeg's get in advance
SAMPLINGS = ((2, 2), (1, 1), (2, 1), (1, 2), (4, 1), (1, 4))  # pixels (across, down) for each chroma sample
DEFAULT_SAMPLING = SAMPLINGS[0]


def estimate_compression(photo: NDArray[np.uint8]) -> PhotoCompression | None:
    """Estimates the last JPEG compression of a photo (H, W, 3).

    A compression without tables means none. Returns None if the photo does not show it: where it is flat, say.
    """
    regions = _select_regions(photo, MAX_PIXELS)
    if not regions:
        return None
    luma = [_Channel.from_rgb(region, 0) for region in regions]
    origins = _find_origins(luma)
    if len(origins) > 1:
        return None
    histogram = _histogram(luma, origins[0] if origins else (0, 0), LUMA_NOISE)
    if not origins:
        return PhotoCompression(Compression()) if histogram.shows_detail else None
    (origin,) = origins
    luma_table = _estimate_table(histogram, _flat(LUMA_TABLE))
    strength = float(np.median(luma_table / _flat(LUMA_TABLE)))
    chroma = [[_Channel.from_rgb(region, channel) for region in regions] for channel in (1, 2)]
    sampling, corner = _find_sampling(chroma, origin)
    histograms = [_chroma_histogram(planes, sampling, corner) for planes in chroma]
    if not _differ(*histograms):
        histograms = [histograms[0] + histograms[1]]
    chroma_tables = [_estimate_table(each, _flat(CHROMA_TABLE), luma_table, strength) for each in histograms]
    luma_steps, cb, cr = (tuple(table.tolist()) for table in (luma_table, chroma_tables[0], chroma_tables[-1]))
    return PhotoCompression(Compression(luma_steps, cb, cr, sampling), corner)


@dataclass(frozen=True)
class _Channel:
    """A channel of a region in levels, and which pixels were clipped. It starts at a multiple of MARGIN."""

    values: Array  # (h, w)
    clipped: NDArray[np.bool_]  # (h, w)

    @classmethod
    def from_rgb(cls, region: NDArray[np.uint8], channel: int) -> _Channel:
        weights = np.array(RGB_TO_YCBCR, np.float32)[channel]
        values = region @ weights
        # Decoders round luma before they compute colors; so rounding removes what the rounding of colors added.
        values = np.round(values) - 128 if channel == 0 else values
        return cls(values.astype(np.float32), ((region == 0) | (region == 255)).any(2))


@dataclass(frozen=True)
class _Histogram:
    """How often each frequency has each absolute value beyond MIN_LEVEL."""

    counts: Array  # (frequencies, bins)
    noise: tuple[float, ...]  # std of each frequency's coefficients
    frequencies: Sequence[int]

    def __add__(self, other: _Histogram) -> _Histogram:
        return _Histogram(self.counts + other.counts, self.noise, self.frequencies)

    @property
    def shows_detail(self) -> bool:
        return bool(self.counts.sum() >= MIN_COEFFICIENTS)

    def log_likelihood(self) -> Array:
        """Returns (frequencies, MAX_STEP) log likelihoods of the steps from 1, relative to no quantization."""
        result = np.empty((len(self.counts), MAX_STEP), np.float32)
        noise = np.array(self.noise)
        for level in set(self.noise):
            rows = noise == level
            result[rows] = self.counts[rows] @ _comb(level).T
        return result


@cache
def _comb(noise: float) -> Array:
    """Returns the log density (MAX_STEP, bins) of a coefficient's value for each step, relative to a smooth density."""
    level = np.arange(BINS_PER_LEVEL * MAX_LEVEL) / BINS_PER_LEVEL
    step = np.arange(1, MAX_STEP + 1)[:, None]
    nearest = step * np.round(level / step)
    density = np.zeros((MAX_STEP, len(level)))
    for neighbor in (-1, 0, 1):
        density += np.exp(-0.5 * ((level - nearest - neighbor * step) / noise) ** 2)
    density *= step / (noise * np.sqrt(2 * np.pi))
    density[nearest == 0] = 0  # it would have been 0, but is not
    outliers = OUTLIERS + SMALL_OUTLIERS * np.exp(1.5 * (MIN_LEVEL - level).clip(max=0))
    comb: Array = np.log(outliers + (1 - outliers) * density).astype(np.float32)
    return comb


def _select_regions(photo: NDArray[np.uint8], pixels: int) -> list[NDArray[np.uint8]]:
    """Returns the whole photo, or its tiles with the most detail. They start at multiples of MARGIN."""
    height, width = photo.shape[:2]
    if min(height, width) < 2 * BLOCK:
        return []
    if height * width <= pixels:
        return [photo]
    green = photo[:, :, 1].astype(np.int16)
    corners = [(top, left) for top in range(0, height - TILE, TILE) for left in range(0, width - TILE, TILE)]
    detail = [
        np.minimum(np.abs(np.diff(green[top : top + TILE, left : left + TILE], axis=1)), 24).mean()
        * ((green[top : top + TILE, left : left + TILE] % 255) > 0).mean()
        for top, left in corners
    ]
    best = np.argsort(detail)[::-1][: pixels // TILE**2]
    side = TILE + MARGIN
    return [photo[top : top + side, left : left + side] for top, left in (corners[index] for index in best)]


def _histogram(
    planes: list[_Channel], origin: tuple[int, int], noise: float | Array, frequencies: Sequence[int] = range(64)
) -> _Histogram:
    """Counts the coefficients of these frequencies, in planes whose blocks start at `origin`."""
    bins = BINS_PER_LEVEL * MAX_LEVEL
    counts = np.zeros(len(frequencies) * bins, np.int64)
    for plane in planes:
        coefficients = _block_coefficients(plane, origin)[:, list(frequencies)]  # (N, F)
        bin_index = np.round(np.abs(coefficients) * BINS_PER_LEVEL).astype(np.int32)
        used = bin_index < bins
        offsets = bins * np.arange(len(frequencies), dtype=np.int32)
        counts += np.bincount((bin_index + offsets)[used], minlength=len(frequencies) * bins)
    histogram = counts.reshape(-1, bins).astype(np.float32)
    stds = np.broadcast_to(np.ceil(20 * np.asarray(noise, np.float64)) / 20, (64,))[list(frequencies)]
    # Where nearly all coefficients are 0, their spread is that of the noise.
    zeros = histogram[:, : int(MIN_LEVEL * BINS_PER_LEVEL)]
    median = (zeros.cumsum(1) < zeros.sum(1, keepdims=True) / 2).sum(1) / BINS_PER_LEVEL
    spread = np.where(zeros.sum(1) > 0.8 * histogram.sum(1), np.ceil(20 * median / 0.6745) / 20, 0).clip(max=1.5)
    stds = np.maximum(stds, spread)
    lowest = np.maximum(MIN_LEVEL, NOISE_REACH * stds) * BINS_PER_LEVEL
    histogram[np.arange(bins) < lowest[:, None]] = 0
    return _Histogram(histogram, tuple(stds.tolist()), frequencies)


def _block_coefficients(plane: _Channel, origin: tuple[int, int]) -> Array:
    """Returns the transform (N, 64) of the plane's blocks with detail and without clipped pixels.

    In a block of one or two coefficients, rounding to pixels is as regular as the block, and no white noise.
    """
    top, left = origin
    height, width = (plane.values.shape[0] - top) // BLOCK, (plane.values.shape[1] - left) // BLOCK
    if height <= 0 or width <= 0:
        return np.empty((0, 64), np.float32)
    area = slice(top, top + BLOCK * height), slice(left, left + BLOCK * width)
    clipped = plane.clipped[area].reshape(height, BLOCK, width, BLOCK).any((1, 3))
    blocks = plane.values[area].reshape(height, BLOCK, width, BLOCK).transpose(0, 2, 1, 3)[~clipped]
    dct = _dct_matrix()
    coefficients = dct @ blocks @ dct.T  # (N, 8, 8)
    large = np.abs(coefficients) > LARGE_LEVEL
    large[:, 0, 0] = False
    detailed = (large.sum((1, 2)) >= MIN_LARGE) & large[:, 1:].any((1, 2)) & large[:, :, 1:].any((1, 2))
    chosen: Array = coefficients[detailed].reshape(-1, 64)
    return chosen


def _flat(table: tuple[tuple[int, ...], ...]) -> Array:
    return np.array(table, np.float32).ravel()


@cache
def _dct_matrix() -> Array:
    position, frequency = np.arange(8), np.arange(8)[:, None]
    rows = np.cos((2 * position + 1) * frequency * np.pi / 16) / 2
    rows[0] /= np.sqrt(2)
    return rows.astype(np.float32)


def _gain(histogram: _Histogram, standard: Array) -> tuple[float, float]:
    """Returns by how much the best steps explain the coefficients better than none: in all, and for each of them.

    The best steps are those of each frequency, or of the standard table, scaled, which has fewer choices to be right by
    chance.
    """
    likelihood = histogram.log_likelihood()
    free = np.maximum(likelihood.max(1) - np.log(MAX_STEP), 0).sum()
    scaled = _scale(standard[list(histogram.frequencies)])
    fits = likelihood[np.arange(len(likelihood)), scaled - 1].sum(1).max() - np.log(len(scaled))
    gain = max(float(free), float(fits))
    return gain, gain / max(1.0, float(histogram.counts.sum()))


def _scale(standard: Array) -> Steps:
    """Returns the standard steps (F,) in all scales, (scales, F)."""
    scaled: Steps = np.clip(np.floor(standard * SCALES[:, None] + 0.5), 1, MAX_STEP).astype(np.int64)
    return scaled


def _is_significant(gain: tuple[float, float]) -> bool:
    return gain[0] > MIN_GAIN and gain[1] > MIN_GAIN_SHARE


def _find_origins(planes: list[_Channel]) -> list[tuple[int, int]]:
    """Returns (row, column) of a block's corner, each 0..7: none if no blocks show, several where they are not clear.

    A photo of few levels, such as a flat one after strong compression, seems quantized for every start of the blocks.
    """
    few = _take_few(planes)

    def compute_gain(corner: tuple[int, int]) -> tuple[float, float]:
        return _gain(_histogram(few, corner, LUMA_NOISE, LOW_FREQUENCIES), _flat(LUMA_TABLE))

    if _is_significant(compute_gain((0, 0))):
        return [(0, 0)]
    gains = {(top, left): compute_gain((top, left)) for top in range(BLOCK) for left in range(BLOCK)}
    best = max(gain for gain, _ in gains.values())
    return [origin for origin, gain in gains.items() if _is_significant(gain) and gain[0] > CLEAR_SHARE * best]


def _take_few(planes: list[_Channel]) -> list[_Channel]:
    """Returns parts of FAST_PIXELS, of the planes with the most detail."""
    few, pixels = list[_Channel](), 0
    for plane in planes:
        if pixels >= FAST_PIXELS:
            break
        few.append(_crop_detail(plane))
        pixels += few[-1].values.size
    return few


def _crop_detail(plane: _Channel) -> _Channel:
    """Returns the window of FAST_PIXELS with the most detail, at a multiple of MARGIN."""
    height, width = plane.values.shape
    side = int(FAST_PIXELS**0.5)
    if height * width <= 1.2 * FAST_PIXELS:
        return plane
    rows, cols = min(height, max(side, FAST_PIXELS // width)), min(width, max(side, FAST_PIXELS // height))
    detail = np.zeros((height, width), np.float32)
    detail[:, 1:] = np.minimum(np.abs(np.diff(plane.values, axis=1)), 24) * ~plane.clipped[:, 1:]
    total = np.pad(detail.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    tops, lefts = np.arange(0, height - rows + 1, MARGIN), np.arange(0, width - cols + 1, MARGIN)
    sums = (
        total[np.ix_(tops + rows, lefts + cols)]
        - total[np.ix_(tops, lefts + cols)]
        - total[np.ix_(tops + rows, lefts)]
        + total[np.ix_(tops, lefts)]
    )
    row, col = np.unravel_index(sums.argmax(), sums.shape)
    area = slice(tops[row], tops[row] + rows), slice(lefts[col], lefts[col] + cols)
    return _Channel(plane.values[area], plane.clipped[area])


def _estimate_table(
    histogram: _Histogram, standard: Array, luma_table: Steps | None = None, strength: float = 1.0
) -> Steps:
    """Returns the most likely steps (64,).

    They are those of the `standard` table, scaled, or of `luma_table`, if one of these explains the coefficients; else
    each is that of its own coefficients and of its neighbors. Without any coefficient the scale is `strength`.
    """
    likelihood, count = histogram.log_likelihood(), histogram.counts.sum(1)
    transposed = np.arange(64).reshape(8, 8).T.ravel()
    if _is_symmetric(likelihood, count):
        likelihood, count = likelihood + likelihood[transposed], count + count[transposed]
    scaled = _scale(standard)
    others = [] if luma_table is None else [luma_table[None]]
    candidates = np.concatenate([scaled, scaled[:, transposed], *others])  # a photo may have been rotated
    fits = likelihood[np.arange(64), candidates - 1]  # (candidates, 64)
    bonus = -0.5 * np.log(SCALES / strength) ** 2
    bonus[: len(QUALITY_SCALES)] += QUALITY_BONUS
    total = fits.sum(1) + np.concatenate([bonus, bonus, np.zeros(len(others))])
    choice = int(total.argmax())
    standard = standard[transposed] if len(SCALES) <= choice < 2 * len(SCALES) else standard
    best: Steps = candidates[choice]
    loss = np.minimum(likelihood.max(1) - fits[choice], MAX_LOSS)[count >= 4]
    if not len(loss) or loss.mean() <= STANDARD_LOSS:
        return best
    table: Steps = likelihood.argmax(1) + 1
    known = (likelihood.max(1) > KNOWN_GAIN) & (count >= 2)
    if not known.any():
        return best
    for _ in range(3):
        curve, spread = _predict(table, known, standard)
        deviation = max(0.12, 1.5 * spread)
        prior = -0.5 * ((np.log(np.arange(1, MAX_STEP + 1)) - curve[:, None]) / deviation) ** 2
        posterior = likelihood + prior
        table = posterior.argmax(1) + 1
    return table


def _predict(table: Steps, known: NDArray[np.bool_], standard: Array) -> tuple[Array, float]:
    """Predicts the logarithm (64,) of each step from other known steps near it. Returns it with its median error.

    It follows them as they are, or relative to the standard table or to a smooth surface, whichever is best.
    """
    row, col = np.divmod(np.arange(64), 8)
    distance = np.hypot(row[:, None] - row, col[:, None] - col)
    terms = np.stack([np.ones(64), row + col, (row + col) ** 2 / 8, (row - col) ** 2 / 8], 1) * known[:, None]
    fit = np.linalg.solve(terms.T @ terms + np.diag([1e-3, 0.1, 1, 1]), terms.T @ np.log(table))
    surface = np.stack([np.ones(64), row + col, (row + col) ** 2 / 8, (row - col) ** 2 / 8], 1) @ fit
    results = []
    for base in (np.zeros(64), np.log(standard), surface):
        value = np.log(table) - base
        weight = np.exp(-distance / 0.6) * known * (1 - np.eye(64)) + 1e-12 * known
        predicted = (weight @ value) / weight.sum(1) + base
        # Tables do not fall below the smallest step that shows: those that do not show are of higher frequencies.
        predicted = predicted.clip(np.log(table[known].min()), np.log(2 * table[known].max()))
        results.append((predicted, float(np.median(np.abs(predicted - np.log(table))[known]))))
    return min(results, key=lambda result: result[1])


def _is_symmetric(likelihood: Array, count: Array) -> bool:
    """Returns whether steps are the same for rows and columns, where both are known."""
    transposed = np.arange(64).reshape(8, 8).T.ravel()
    table = likelihood.argmax(1)
    known = (likelihood.max(1) > 2 * KNOWN_GAIN) & (count >= 8)
    pairs = known & known[transposed] & (np.arange(64) < transposed)
    return bool(pairs.sum() >= 5 and (table == table[transposed])[pairs].mean() >= 0.9)


def _find_sampling(chroma: list[list[_Channel]], origin: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Returns the sampling of chroma, and the corner of a chroma block."""
    gains = _sampling_gains([_take_few(planes) for planes in chroma], origin)
    if max(gains.values()) < 3 * MIN_GAIN:  # the rest of the photo may show more
        gains = _sampling_gains(chroma, origin)
    best = max(gains, key=lambda choice: gains[choice])
    # With hardly any color, what most encoders do is more likely.
    usual = max((choice for choice in gains if choice[0] == DEFAULT_SAMPLING), key=lambda choice: gains[choice])
    return best if gains[best] > gains[usual] + MIN_GAIN else usual


def _sampling_gains(
    chroma: list[list[_Channel]], origin: tuple[int, int]
) -> dict[tuple[tuple[int, int], tuple[int, int]], float]:
    """Returns how well each sampling, with each corner of a chroma block, explains Cb and Cr."""
    gains = {}
    for across, down in SAMPLINGS:
        for top in range(origin[0], BLOCK * down, BLOCK):
            for left in range(origin[1], BLOCK * across, BLOCK):
                choice = (across, down), (top, left)
                cb, cr = (_chroma_histogram(planes, *choice, LOW_FREQUENCIES) for planes in chroma)
                gains[choice] = _gain(cb + cr, _flat(CHROMA_TABLE))[0]
    return gains


def _chroma_histogram(
    planes: list[_Channel],
    sampling: tuple[int, int],
    corner: tuple[int, int],
    frequencies: Sequence[int] = range(64),
) -> _Histogram:
    samples = [_downsample(plane, sampling, corner) for plane in planes]
    return _histogram(samples, (0, 0), _noise(sampling), frequencies)


def _differ(cb: _Histogram, cr: _Histogram) -> bool:
    """Returns whether Cb and Cr have different tables: seldom."""
    first, second = cb.log_likelihood(), cr.log_likelihood()
    gain = first.max(1) + second.max(1) - (first + second).max(1)
    return bool((gain > 2 * KNOWN_GAIN).sum() >= 3)


def _downsample(plane: _Channel, sampling: tuple[int, int], corner: tuple[int, int]) -> _Channel:
    """Returns the chroma samples that a decoder enlarged, from the corner on."""
    values, clipped = plane.values[corner[0] :, corner[1] :], plane.clipped[corner[0] :, corner[1] :]
    for axis, factor in ((1, sampling[0]), (0, sampling[1])):
        if factor > 1:
            length = values.shape[axis] // factor * factor
            values, clipped = np.moveaxis(values, axis, -1)[..., :length], np.moveaxis(clipped, axis, -1)[..., :length]
            values = values.reshape(*values.shape[:-1], -1, factor).mean(-1)
            clipped = np.asarray(clipped.reshape(*clipped.shape[:-1], -1, factor).any(-1))
            if factor == 2:  # decoders interpolate: the mean of a pair is (1, 6, 1) / 8 of its neighbors
                values, clipped = _sharpen(values), _dilate(clipped)
            values, clipped = np.moveaxis(values, -1, axis), np.moveaxis(clipped, -1, axis)
    return _Channel(values, clipped)


def _sharpen(values: Array) -> Array:
    """Inverts the filter (1, 6, 1) / 8 along the last axis."""
    decay = 2 * np.sqrt(2) - 3
    reach = np.arange(-5, 6)
    kernel = (decay ** np.abs(reach) / np.sum(decay ** np.abs(reach))).astype(np.float32)
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(5, 5)], mode="edge")
    result = np.zeros_like(values)
    for weight, shift in zip(kernel, reach, strict=True):
        result += weight * padded[..., 5 + shift : 5 + shift + values.shape[-1]]
    return result


def _dilate(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Sets the entries beside set ones, too, along the last axis: sharpening takes them there."""
    result = mask.copy()
    for shift in (1, 2):
        result[..., shift:] |= mask[..., :-shift]
        result[..., :-shift] |= mask[..., shift:]
    return result


def _noise(sampling: tuple[int, int]) -> Array:
    """Returns the std (64,) of chroma coefficients by rounding: of colors, and of chroma before it was enlarged."""
    pixel = np.sqrt((0.39 + 1) / 12)
    frequency = np.arange(8) * np.pi / 8
    across, down = (
        8 / (6 + 2 * np.cos(frequency)) / np.sqrt(2) if factor == 2 else np.full(8, 1 / np.sqrt(factor))
        for factor in sampling
    )
    noise: Array = np.sqrt((pixel * down[:, None] * across) ** 2 + 1 / 12).ravel()
    return noise

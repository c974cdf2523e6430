"""Measures whether a photo is fit for a training, for any content and without a reference.

They are chosen and checked in docs/experiments/029-photo-checks.md.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imaging.photo_findings import PhotoMeasures

FloatImage = NDArray[np.float32]

WHOLE = 750_000  # pixels up to which a photo is inspected whole; of larger ones, TILES × TILES tiles are
TILE, TILES, TILE_GRID = 288, 3, 24  # pixels; positions are multiples of TILE_GRID
SUBSAMPLE = 256  # lines of a photo that are inspected in each direction for what the whole of it must have

FLAT_RANGE, FLAT_SHARE = 6, 0.99  # levels that this share of the pixels lies within
GRAY_RANGE, GRAY_SHARE = 2, 0.999  # levels between the channels of this share of the pixels
MIN_CONTRAST = 4.0  # standard deviation in levels of a photo's means that have a meaningful perceptual hash
HASH_SIDE = 9

BAR_MAX, BAR_SHARE = 30, 0.95  # levels that this share of a black bar's pixels do not exceed
BAR_JUMP, JUMP_SHARE = 12, 0.3  # levels from a bar to the picture, in this share of the columns
MIN_BAR, MIN_BAR_SHARE = 4, 0.01  # pixels; share of the photo's side
BAR_GRID, BAR_MARGIN = 8, 2  # pixels: what remains keeps its JPEG blocks, and loses the bar's soft edge

COMB_STEP = 10.0  # levels that a line differs from those above and below
COMB_BLOCK, COMBED = 16, 0.25  # side of a block in pixels; share of its pixels that makes it combed
MIN_COMBED_BLOCKS = 4
SIDEWAYS = 4  # interlacing combs this many times as many blocks as there are upright ones

SEGMENT = 96  # pixels; its frequencies include those of enlargements by 3/2, 2, 3 and 4, and of JPEG's blocks
MIN_SEGMENTS, MAX_SEGMENTS = 384, 1_200  # fewer say too little; of more the richest in detail are used
MIN_POWER = 0.15  # of a frequency, in squared levels; that of rounding is 1/12
FACTORS = (1.2, 6.0)  # of enlargements that are found
FINE = 32  # sums of frequencies that are tried for each of a segment's frequencies
MIN_LOCKING, MAX_LOCKING_ELSEWHERE, SURE_LOCKING = 0.8, 0.5, 0.91
TOLERANCE = 3  # sums between those of the two directions, whose factors may differ by a fraction of a pixel
LEAK = 5 * FINE // 2  # sums on each side of a locked one that are in part locked, too
# JPEG's blocks lock multiples of 1/8, most of all the largest; enlarging by 8/5 and 4/3 locks one of them alone.
LOCKED_BY_JPEG, UNBLOCKED = (5, 6, 7), 0.75  # eighths; levels of blockiness
# Demosaicing locks 1/2, too, but leaves more at high frequencies than enlarging by 2 does.
LOCKED_BY_DEMOSAICING, MAX_HIGH_POWER = 4, 10**-3.45  # eighths; share of the power of low frequencies
LOW, HIGH = slice(5, 10), slice(40, 46)  # of a segment's frequencies

EDGE_WINDOW = 9  # pixels
EDGE_CONTRASTS = (96, 48, 24)  # levels in a window; the first that MIN_EDGES windows have is used
MIN_EDGES, EDGE_QUANTILE = 50, 0.95
NOISE_BLOCK, NOISE_QUANTILE = 8, 0.05
NOT_CLIPPED = (4, 251)  # levels
JPEG_BLOCK, KINK_LIMIT = 8, 8.0  # pixels; levels


def measure_photo(pixels: NDArray[np.uint8]) -> PhotoMeasures:
    """Returns the measures of a photo, (H, W, 3). Takes about 40 ms, also for a large one."""
    sample = _subsample(pixels)
    bars = find_bars(pixels)
    content = crop_bars(pixels, bars)
    placed = _tiles(content[..., 1])  # of green, which cameras sample best
    tiles = [tile for _, _, tile in placed]
    rows = _segments([(left, tile) for _, left, tile in placed])
    columns = _segments([(top, tile.T) for top, _, tile in placed])
    blockiness = _blockiness(tiles)
    return PhotoMeasures(
        perceptual_hash=perceptual_hash(content),
        is_flat=_is_flat(sample),
        is_gray=_is_gray(sample),
        bars=bars,
        combed=_combed_share(tiles),
        enlargement=_enlargement(rows, columns, blockiness),
        sharpness=_sharpness(tiles),
        noise=_noise(tiles),
        blockiness=blockiness,
    )


def crop_bars(pixels: NDArray[np.uint8], bars: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Returns the photo without its bars: top, bottom, left and right, in pixels."""
    top, bottom, left, right = bars
    height, width = pixels.shape[:2]
    return pixels[top : height - bottom, left : width - right]


def find_bars(pixels: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Returns the widths of black bars at the top, bottom, left and right; zeros unless two opposite sides have one.

    They include the soft edges, and those at the top and left end at JPEG's blocks.
    """
    height, width = pixels.shape[:2]
    column_step, row_step = max(1, width // SUBSAMPLE), max(1, height // SUBSAMPLE)
    top, bottom = _bar_pair(pixels[:, ::column_step].reshape(height, -1))
    lines = pixels[top : height - bottom : row_step].transpose(1, 0, 2)
    left, right = _bar_pair(lines.reshape(width, -1))
    return top, bottom, left, right


def _bar_pair(lines: NDArray[np.uint8]) -> tuple[int, int]:
    """Returns the widths of the bars before the first and after the last line of a picture."""
    picture = np.flatnonzero((lines <= BAR_MAX).mean(1) < BAR_SHARE)
    if not len(picture):
        return 0, 0
    before, after = int(picture[0]), int(len(lines) - 1 - picture[-1])
    minimum = max(MIN_BAR, MIN_BAR_SHARE * len(lines))
    if min(before, after) < minimum or before + after + 2 * BAR_MARGIN >= len(lines):
        return 0, 0
    for bar, inside in ((before - 1, before + BAR_MARGIN), (-after, -after - 1 - BAR_MARGIN)):
        if np.quantile(lines[inside].astype(np.int16) - lines[bar], 1 - JUMP_SHARE) < BAR_JUMP:
            return 0, 0  # a dark background without an edge
    return -(-(before + BAR_MARGIN) // BAR_GRID) * BAR_GRID, after + BAR_MARGIN


def perceptual_hash(pixels: NDArray[np.uint8]) -> str:
    """Returns 128 bits in hexadecimal: which of neighboring means of a photo are brighter. Empty without contrast.

    Photos of the same content in different sizes and qualities differ in few bits (docs/experiments/029).
    """
    plane = pixels[..., 1]
    step = max(1, min(plane.shape) // SUBSAMPLE)
    plane = plane[::step, ::step].astype(np.float32)
    for axis in (0, 1):
        ends = np.arange(HASH_SIDE + 1) * plane.shape[axis] // HASH_SIDE
        if np.diff(ends).min() < 1:
            return ""
        lengths = np.diff(ends).astype(np.float32)
        plane = np.add.reduceat(plane, ends[:-1], axis) / (lengths[:, None] if axis == 0 else lengths)
    if plane.std() < MIN_CONTRAST:
        return ""
    bits = np.concatenate([(plane[:-1, 1:] > plane[:-1, :-1]).ravel(), (plane[1:, :-1] > plane[:-1, :-1]).ravel()])
    return np.packbits(bits).tobytes().hex()


def _subsample(pixels: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Returns evenly spaced pixels of the whole photo, (3, n)."""
    rows, columns = (max(1, side // SUBSAMPLE) for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[::rows, ::columns].reshape(-1, 3).T).astype(np.int16)


def _is_flat(sample: NDArray[np.int16]) -> bool:
    distances = np.abs(sample - np.median(sample, axis=1, keepdims=True)).max(0)
    return bool((distances <= FLAT_RANGE / 2).mean() >= FLAT_SHARE)


def _is_gray(sample: NDArray[np.int16]) -> bool:
    return bool((sample.max(0) - sample.min(0) <= GRAY_RANGE).mean() >= GRAY_SHARE)


def _tiles(plane: NDArray[np.uint8]) -> list[tuple[int, int, FloatImage]]:
    """Returns the plane, or evenly spaced tiles of a large one, each with its top and left position."""
    height, width = plane.shape
    if height * width <= WHOLE:
        return [(0, 0, plane.astype(np.float32))]
    places = [(top, left) for top in _positions(height) for left in _positions(width)]
    return [(top, left, plane[top : top + TILE, left : left + TILE].astype(np.float32)) for top, left in places]


def _positions(side: int) -> list[int]:
    if side <= TILE:
        return [0]
    last = side - TILE
    return sorted({last * n // (TILES - 1) // TILE_GRID * TILE_GRID for n in range(TILES)})


def _combed_share(tiles: list[FloatImage]) -> float:
    """Returns the share of blocks whose lines alternate as those of two video fields do; 0 if columns do, too."""
    rows = np.concatenate([_combed_blocks(tile) for tile in tiles])
    columns = np.concatenate([_combed_blocks(tile.T) for tile in tiles])
    if rows.sum() < MIN_COMBED_BLOCKS or rows.mean() < SIDEWAYS * columns.mean():
        return 0.0
    return float(rows.mean())


def _combed_blocks(tile: FloatImage) -> NDArray[np.bool_]:
    """Returns for each block whether many of its pixels lie beyond both neighbors, which are alike."""
    step = tile[1:] - tile[:-1]
    up, down = step[:-1], step[1:]
    combed = (up * down < -(COMB_STEP**2)) & (np.abs(up + down) < np.minimum(np.abs(up), np.abs(down)) / 2)
    return _block_means(combed, COMB_BLOCK).ravel() > COMBED


def _block_means(plane: NDArray[np.generic], side: int) -> NDArray[np.floating]:
    rows, columns = plane.shape[0] // side, plane.shape[1] // side
    blocks = plane[: rows * side, : columns * side].reshape(rows, side, columns, side)
    means: NDArray[np.floating] = blocks.mean((1, 3), dtype=np.float32)
    return means


def _segments(tiles: list[tuple[int, FloatImage]]) -> dict[int, FloatImage]:
    """Returns pieces of rows, (n, SEGMENT), by their position in the photo. Takes each tile with its position."""
    pieces: dict[int, list[FloatImage]] = {}
    for left, tile in tiles:
        for start in range(0, tile.shape[1] - SEGMENT + 1, SEGMENT):
            pieces.setdefault(left + start, []).append(tile[:, start : start + SEGMENT])
    return {start: np.concatenate(piece) for start, piece in pieces.items()}


def _enlargement(rows: dict[int, FloatImage], columns: dict[int, FloatImage], blockiness: float) -> float:
    """Returns the factor that both directions of a photo were enlarged by, 1 if there is no trace of it.

    Enlarging repeats the spectrum of the small photo, attenuated: by factor s, frequency 1/s - f repeats f. The phases
    of the two are locked to each other all over the photo, while those of other frequencies are independent.
    """
    if min(sum(map(len, segments.values())) for segments in (rows, columns)) < MIN_SEGMENTS:
        return 1.0
    directions = [_phase_locking(segments) for segments in (rows, columns)]
    locking = np.minimum(*(_running_max(values, TOLERANCE) for values, _ in directions))
    high_power = max(power for _, power in directions)
    best = _find_peak(locking)
    jpeg = {n: round(SEGMENT * FINE * n / JPEG_BLOCK) - _first() for n in range(1, JPEG_BLOCK)}
    nearest = min(jpeg, key=lambda n: abs(best - jpeg[n]))
    if abs(best - jpeg[nearest]) <= FINE // 2:
        is_jpeg = nearest in LOCKED_BY_JPEG and blockiness > UNBLOCKED
        is_camera = nearest == LOCKED_BY_DEMOSAICING and high_power > MAX_HIGH_POWER
        if not is_jpeg and locking[best] >= (SURE_LOCKING if is_camera else MIN_LOCKING):
            return _factor(best)
        for place in jpeg.values():
            locking[max(0, place - LEAK) : max(0, place + LEAK + 1)] = 0
        best = _find_peak(locking)
    elsewhere = np.delete(locking, slice(max(0, best - LEAK), best + LEAK + 1))
    is_single = np.quantile(elsewhere, 0.95) <= MAX_LOCKING_ELSEWHERE or locking[best] >= SURE_LOCKING
    return _factor(best) if locking[best] >= MIN_LOCKING and is_single else 1.0


def _find_peak(values: NDArray[np.float32]) -> int:
    """Returns the middle of the highest values."""
    return int(np.flatnonzero(values == values.max()).mean())


def _running_max(values: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    padded, highest = np.pad(values, reach), values
    for start in range(2 * reach + 1):
        highest = np.maximum(highest, padded[start : start + len(values)])
    return highest


def _factor(index: int) -> float:
    return SEGMENT * FINE / (_first() + index)


def _first() -> int:
    return round(SEGMENT * FINE / FACTORS[1])


def _phase_locking(segments: dict[int, FloatImage]) -> tuple[NDArray[np.float32], float]:
    """Returns how far pairs of frequencies with each sum are locked, 0..1, with sums in steps of 1 / (96 · 32).

    Also returns the power of high frequencies as a share of that of low ones.
    """
    starts = np.array(sorted(segments))
    spectra = [_rich_spectra(segments[start], MAX_SEGMENTS // len(starts)) for start in starts]
    power = np.concatenate([np.abs(spectrum) ** 2 for spectrum in spectra]).mean(0)
    weights = np.where(power > MIN_POWER, 1 / np.sqrt(np.maximum(power, MIN_POWER)), 0).astype(np.float32)
    weights[:2] = 0
    sums, magnitudes = [], np.zeros(2 * weights.size)
    for spectrum in spectra:
        # The square of the analytic signal holds the products of all pairs of frequencies, by their sum.
        whitened = np.zeros((len(spectrum), 2 * SEGMENT), np.complex64)
        whitened[:, : weights.size] = spectrum * weights
        products = np.fft.fft(np.fft.ifft(whitened, axis=1) ** 2, axis=1)[:, : SEGMENT + 2]
        sums.append(products.sum(0))
        magnitudes[: SEGMENT + 2] += np.abs(products).sum(0)
    last = round(SEGMENT * FINE / FACTORS[0])
    tried = np.arange(_first(), last + 1)
    nearest = (tried + FINE // 2) // FINE
    turns = np.exp(-2j * np.pi * np.outer(starts / SEGMENT, tried / FINE))
    total = np.abs((np.array(sums)[:, nearest] * turns).sum(0))
    locking: NDArray[np.float32] = (total / np.maximum(magnitudes[nearest], 1e-9)).astype(np.float32)
    return locking, float(power[HIGH].mean() / max(power[LOW].mean(), 1e-9))


def _rich_spectra(segments: FloatImage, count: int) -> NDArray[np.complex64]:
    """Returns the spectra of the quarter of the segments with most detail, at most `count`."""
    keep = max(1, min(count, len(segments) // 4))
    detail = np.square(segments[:, 1:] - segments[:, :-1]).mean(1)
    rich = segments[np.argpartition(detail, -keep)[-keep:]]
    window = np.hanning(SEGMENT + 2)[1:-1].astype(np.float32)
    window /= np.sqrt(np.square(window).mean() * SEGMENT)
    return np.fft.rfft((rich - rich.mean(1, keepdims=True)) * window, axis=1).astype(np.complex64, copy=False)


def _sharpness(tiles: list[FloatImage]) -> float:
    """Returns how much of an edge's contrast lies between two pixels at the sharpest edges, 0..1.

    It is about 0.4 / sigma at an edge that a Gaussian of this sigma blurred. 0 if there is no contrast anywhere.
    """
    found = [_edges(view) for tile in tiles for view in (tile[::2], tile[:, ::2].T)]
    contrasts = np.concatenate([contrast for contrast, _ in found])
    steps = np.concatenate([step for _, step in found])
    for minimum in EDGE_CONTRASTS:
        strong = contrasts >= minimum
        if strong.sum() >= MIN_EDGES:
            return float(np.quantile(steps[strong] / contrasts[strong], EDGE_QUANTILE))
    return 0.0


def _edges(lines: FloatImage) -> tuple[FloatImage, FloatImage]:
    """Returns the contrast in each window of the lines, and the largest step between two pixels."""
    count = lines.shape[1] // EDGE_WINDOW
    windows = lines[:, : count * EDGE_WINDOW].reshape(-1, EDGE_WINDOW).T.copy()
    return windows.max(0) - windows.min(0), np.abs(windows[1:] - windows[:-1]).max(0)


def _noise(tiles: list[FloatImage]) -> float:
    """Returns the standard deviation of the noise in the flattest blocks, in levels; 0 if there is nothing to see."""
    found = []
    for tile in tiles:
        rows, columns = tile.shape[0] // 2 * 2, tile.shape[1] // 2 * 2
        quads = tile[:rows, :columns]
        a, b, c, d = quads[::2, ::2], quads[::2, 1::2], quads[1::2, ::2], quads[1::2, 1::2]
        power = _block_means(np.square((a - b - c + d) / 2), NOISE_BLOCK)
        clipped = _block_means((a < NOT_CLIPPED[0]) | (a > NOT_CLIPPED[1]), NOISE_BLOCK)
        found.append(power[clipped == 0])
    powers = np.concatenate(found)
    return float(np.sqrt(np.quantile(powers, NOISE_QUANTILE))) if len(powers) else 0.0


def _blockiness(tiles: list[FloatImage]) -> float:
    """Returns how much stronger steps between blocks of 8 pixels are than others, in levels; the blocks start anywhere.

    The smaller of both directions counts.
    """
    return min(_block_kinks(tiles), _block_kinks([tile.T for tile in tiles]))


def _block_kinks(tiles: list[FloatImage]) -> float:
    total, count = np.zeros(JPEG_BLOCK), np.zeros(JPEG_BLOCK)
    for tile in tiles:
        step = np.abs(tile[:, 1:] - tile[:, :-1])
        kink = step[:, 1:-1] - (step[:, :-2] + step[:, 2:]) / 2
        mean = np.clip(kink, -KINK_LIMIT, KINK_LIMIT).mean(0)
        for phase in range(JPEG_BLOCK):
            total[phase] += mean[phase::JPEG_BLOCK].sum()
            count[phase] += len(mean[phase::JPEG_BLOCK])
    means = total / np.maximum(count, 1)
    return float(means.max() - np.median(means))

"""Converts 16-bit pixels by ICC profiles of the simple kind: a curve for each channel, and a matrix.

Pillow's LittleCMS takes 8 bits only. Cameras and editors write such profiles for RGB and gray (sRGB, Adobe RGB,
ProPhoto, Display P3); those with tables, as for printing, are not read here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVELS = 65536
MAX_TAGS = 100
MAX_CURVE_POINTS = 65536
# Numbers of parameters of each parametric curve (ICC.1:2022, table 68).
PARAMETERS = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}
# XYZ with the white point D50 to linear sRGB: the inverse of IEC 61966-2-1, adapted by Bradford's method.
SRGB_TO_XYZ = np.array(
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)
XYZ_TO_SRGB = np.linalg.inv(SRGB_TO_XYZ)


@dataclass(frozen=True)
class MatrixProfile:
    """`curves` (channels, 65536) are the linear values of all levels; `matrix` (3, channels) leads to linear sRGB."""

    curves: NDArray[np.float32]
    matrix: NDArray[np.float32]

    def to_srgb(self, samples: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """Returns rows (n, w, 3) in sRGB of rows (n, w, channels)."""
        linear = np.stack([curve[samples[..., band]] for band, curve in enumerate(self.curves)], -1)
        return encode_srgb(linear @ self.matrix.T)


def encode_srgb(linear: NDArray[Any]) -> NDArray[np.uint16]:
    """Returns linear values, clipped to 0..1, with the curve of sRGB and 16 bits."""
    linear = np.clip(linear, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray((encoded * (LEVELS - 1)).round(), np.uint16)


@lru_cache(maxsize=4)
def parse_matrix_profile(profile: bytes) -> MatrixProfile | None:
    """Returns the curves and the matrix of a profile; None if it has tables, or is damaged."""
    try:
        return _parse(profile)
    except (struct.error, ValueError, KeyError, IndexError):
        return None


def _parse(profile: bytes) -> MatrixProfile | None:
    (count,) = struct.unpack_from(">I", profile, 128)
    entries = [struct.unpack_from(">4sII", profile, 132 + 12 * number) for number in range(min(count, MAX_TAGS))]
    tags = {name: profile[offset : offset + size] for name, offset, size in entries}
    if b"A2B0" in tags or b"A2B1" in tags:
        return None
    if profile[16:20] == b"GRAY":
        return MatrixProfile(_parse_curve(tags[b"kTRC"])[None], np.ones((3, 1), np.float32))
    if profile[16:20] != b"RGB " or profile[20:24] != b"XYZ ":
        return None
    columns = [struct.unpack_from(">3i", tags[name], 8) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    curves = np.stack([_parse_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")])
    return MatrixProfile(curves, (XYZ_TO_SRGB @ np.array(columns).T / 65536).astype(np.float32))


def _parse_curve(tag: bytes) -> NDArray[np.float32]:
    """Returns the values of a curve at all levels (ICC.1:2022, 10.6 and 10.18)."""
    levels = np.linspace(0, 1, LEVELS)
    if tag[:4] == b"para":
        (kind,) = struct.unpack_from(">H", tag, 8)
        values = struct.unpack_from(f">{PARAMETERS[kind]}i", tag, 12)
        return _parametric(levels, kind, [value / 65536 for value in values])
    if tag[:4] != b"curv":
        raise ValueError(tag[:4])
    (count,) = struct.unpack_from(">I", tag, 8)
    if count > MAX_CURVE_POINTS:
        raise ValueError(count)
    if count == 0:
        return levels.astype(np.float32)
    points = np.array(struct.unpack_from(f">{count}H", tag, 12))
    if count == 1:
        return np.asarray(levels ** (points[0] / 256), np.float32)
    return np.interp(levels, np.linspace(0, 1, count), points / 65535).astype(np.float32)


def _parametric(levels: NDArray[np.float64], kind: int, values: list[float]) -> NDArray[np.float32]:
    gamma, a, b, c, d, e, f = [*values, *[0.0] * (7 - len(values))]
    if kind == 0:
        a = 1.0
    if kind == 1:  # Y = (aX + b)^g from -b/a on, else 0
        d, e = -b / a, 0.0
        c = 0.0
    elif kind == 2:  # (aX + b)^g + c, else c
        d, e, c, f = -b / a, c, 0.0, c
    power = np.maximum(a * levels + b, 0) ** gamma + e
    return np.where(levels >= d, power, c * levels + f).astype(np.float32)

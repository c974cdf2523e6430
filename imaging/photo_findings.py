"""What is said about a photo before a training: its findings, judged from its measures. Without numpy, for the API."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

LEFT_OUT, WARNING = "left_out", "warning"

# Thresholds, from docs/experiments/029-photo-checks.md.
MIN_SHARPNESS = 0.36
MAX_NOISE = 3.0  # 8-bit levels; of clean photos
MIN_QUALITY = 75  # JPEG; of clean photos
MAX_BLOCKINESS = 0.8  # levels; of clean photos whose file says nothing about JPEG
MIN_COMBED = 0.03  # share of blocks
SAME_PHOTO_BITS = 10  # of 128 bits of a perceptual hash; different photos differ in 22 or more
REPEATED_PHOTO_BITS = 2

HASH_BITS, BAND_BITS = 128, 8
STANDARD_LUMA_SUM = 3680  # of the steps of JPEG's example luma table (ITU-T T.81, table K.1), which is quality 50

# Whether a training leaves the photo out. `black_bars` are cut off instead.
SEVERITY = {
    "flat": LEFT_OUT,
    "interlaced": LEFT_OUT,
    "enlarged": LEFT_OUT,
    "blurred": LEFT_OUT,
    "noisy": LEFT_OUT,
    "compressed": WARNING,
    "black_bars": WARNING,
    "gray": WARNING,
    "real_and_clean": WARNING,
    "duplicate": WARNING,
}


@dataclass(frozen=True)
class PhotoMeasures:
    """What `photo_measures.measure_photo` measures, independent of the photo's role. See there."""

    perceptual_hash: str  # 32 hexadecimal digits; empty for a photo without contrast
    is_flat: bool
    is_gray: bool
    bars: tuple[int, int, int, int]  # rows at the top, at the bottom, columns at the left, at the right
    combed: float  # share of blocks
    enlargement: float  # factor, 1 for none
    sharpness: float  # 0..1
    noise: float  # 8-bit levels
    blockiness: float  # 8-bit levels

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PhotoMeasures:
        """Raises KeyError, TypeError or ValueError: a decoder process that an image took over may send anything."""
        top, bottom, left, right = (int(width) for width in values["bars"])
        perceptual_hash = str(values["perceptual_hash"])
        if not re.fullmatch(rf"([0-9a-f]{{{HASH_BITS // 4}}})?", perceptual_hash):
            raise ValueError("not a perceptual hash")
        numbers = {name: float(values[name]) for name in ("combed", "enlargement", "sharpness", "noise", "blockiness")}
        if not all(map(math.isfinite, numbers.values())):
            raise ValueError("not a measure")
        is_flat, is_gray = bool(values["is_flat"]), bool(values["is_gray"])
        return cls(perceptual_hash, is_flat, is_gray, (top, bottom, left, right), **numbers)


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a photo. `code` is stable; `value` is its measure, None if there is none."""

    code: str
    value: float | None = None

    @property
    def severity(self) -> str:
        """Whether a training leaves the photo out (`left_out`) or uses it (`warning`)."""
        return SEVERITY[self.code]

    @property
    def message(self) -> str:
        """What was found and what to do."""
        return _MESSAGES[self.code].format(value=self.value)

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code, "value": self.value}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Finding:
        return cls(values["code"], values["value"])


_MESSAGES = {
    "flat": "The photo has one flat color and shows nothing to learn from. Remove it.",
    "gray": "The photo is gray. It is used; if the others have colors, keep the two kinds in different datasets.",
    "black_bars": "The photo is framed by black bars ({value:.0f} pixels wide). They are cut off before training.",
    "interlaced": "The photo is an interlaced video frame. Deinterlace the video, then export its frames again.",
    "enlarged": "The photo was enlarged ({value:g} times). Add it in its original size.",
    "blurred": "No place in the clean photo is sharp. Replace it by a sharp one, or reduce it to half of its size.",
    "noisy": "The clean photo is noisy (about {value:.0f} levels). Replace it, or reduce it to half of its size.",
    "compressed": "The clean photo is strongly compressed. Replace it, or reduce it to half of its size.",
    "real_and_clean": "The same photo is among the real and the clean photos. Remove it from one of them.",
    "duplicate": "The photo repeats another one of this role and counts twice. Remove one of the two.",
}


def judge(measures: PhotoMeasures, role: str, quality: int | None = None) -> list[Finding]:
    """Returns the findings of one photo as a real (`lr`) or clean (`hr`) one.

    `quality` is the JPEG quality that its file has, None if it is none.
    """
    if measures.is_flat:
        return [Finding("flat")]
    findings = []
    if any(measures.bars):
        findings.append(Finding("black_bars", max(measures.bars)))
    if measures.combed >= MIN_COMBED:
        findings.append(Finding("interlaced", round(measures.combed, 3)))
    if measures.enlargement > 1:
        findings.append(Finding("enlarged", round(measures.enlargement, 2)))
    if role == "lr":
        if measures.is_gray:
            findings.append(Finding("gray"))
        return findings
    if measures.sharpness < MIN_SHARPNESS and measures.enlargement == 1:
        findings.append(Finding("blurred", round(measures.sharpness, 3)))
    if measures.noise > MAX_NOISE:
        findings.append(Finding("noisy", round(measures.noise, 1)))
    if quality is not None and quality < MIN_QUALITY:
        findings.append(Finding("compressed", quality))
    elif quality is None and measures.blockiness > MAX_BLOCKINESS and measures.enlargement == 1:  # it leaves steps, too
        findings.append(Finding("compressed"))
    return findings


def jpeg_quality(luma_table: Sequence[int]) -> int:
    """Returns the quality, 1..100, whose table has the same sum as this one (64 steps), by libjpeg's formula."""
    scaling = 100 * sum(luma_table) / STANDARD_LUMA_SUM
    quality = (200 - scaling) / 2 if scaling <= 100 else 5000 / scaling
    return min(100, max(1, round(quality)))


class HashIndex:
    """Finds earlier photos that look the same. Of photos that repeat each other it keeps the first."""

    def __init__(self, max_bits: int):
        self._max_bits = max_bits
        # Two hashes that differ in few bits agree in at least one of their bands.
        self._bands: dict[tuple[int, int], list[tuple[int, str]]] = {}

    def find(self, perceptual_hash: str) -> str | None:
        """Returns the key of the same photo, None if there is none or the hash is empty."""
        if not perceptual_hash:
            return None
        number = int(perceptual_hash, 16)
        for band in _split_bands(number):
            for other, key in self._bands.get(band, ()):
                if (number ^ other).bit_count() <= self._max_bits:
                    return key
        return None

    def add(self, perceptual_hash: str, key: str) -> None:
        if not perceptual_hash:
            return
        number = int(perceptual_hash, 16)
        for band in _split_bands(number):
            self._bands.setdefault(band, []).append((number, key))


def _split_bands(number: int) -> Iterable[tuple[int, int]]:
    mask = (1 << BAND_BITS) - 1
    return ((place, number >> place & mask) for place in range(0, HASH_BITS, BAND_BITS))

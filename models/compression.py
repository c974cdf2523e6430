"""The compressions of a set of photos. One is drawn for each generated photo."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from models.jpeg import BLOCK, NO_JPEG, compress_with_tables, scale_standard_tables

CODECS = {"webp": "WEBP", "avif": "AVIF", "heic": "HEIF"}  # their names in Pillow
# Besides the quality. One thread each: x265 would start as many as there are cores, for each patch.
CODEC_OPTIONS: dict[str, dict[str, Any]] = {
    "avif": {"speed": 10, "max_threads": 1},
    "heic": {"enc_params": {"preset": "veryfast", "x265:pools": "none", "x265:frame-threads": "1"}},
}
CODEC_TILE = 1024  # pixels a side; a multiple of every JPEG unit


class MissingEncoder(RuntimeError):
    """The encoder of a codec is not installed."""


@dataclass(frozen=True)
class Compression:
    """The compression of a photo: JPEG's in the orientation of the decoded pixels, or another codec's. Else none.

    Raises ValueError for tables that have not 64 steps, for a sampling of no encoder, and for an unknown codec.
    """

    luma: tuple[int, ...] = ()  # quantization steps in rows, 1 or more
    cb: tuple[int, ...] = ()
    cr: tuple[int, ...] = ()
    sampling: tuple[int, int] = (2, 2)  # pixels (across, down) for each chroma sample
    count: int = 1  # photos that have it
    codec: str = ""  # one of CODECS instead of JPEG
    quality: int = 0  # of that codec's encoder in Pillow (of HEIC, in pillow-heif), 0..100

    def __post_init__(self) -> None:
        for table in (self.luma, self.cb, self.cr):
            if len(table) != (64 if self.luma else 0) or not all(step >= 1 for step in table):
                raise ValueError("a quantization table has 64 steps of 1 or more")
        if len(self.sampling) != 2 or not all(1 <= step <= 4 for step in self.sampling):
            raise ValueError(f"sampling is two numbers from 1 to 4, not {self.sampling}")
        if self.codec and (self.codec not in CODECS or self.luma or not 0 <= self.quality <= 100):
            raise ValueError(f"a codec is one of {', '.join(CODECS)}, with a quality from 0 to 100 and without tables")
        if self.count < 1:
            raise ValueError("a compression counts for one photo or more")

    @property
    def is_lossy(self) -> bool:
        """Whether it changes an image."""
        return bool(self.luma or self.codec)

    @property
    def unit(self) -> tuple[int, int]:
        """Pixels (down, across) after which JPEG's blocks of luma and chroma start again; (1, 1) without them."""
        across, down = self.sampling
        return (BLOCK * down, BLOCK * across) if self.luma else (1, 1)


def standard_compression(quality: int) -> Compression:
    """Returns the compression of nearly all encoders at a quality, 1..100; none at 100."""
    if quality >= NO_JPEG:
        return Compression()
    tables = scale_standard_tables(torch.tensor([quality], device="cpu"))[0].flatten(1)
    luma, cb, cr = (tuple(map(int, table)) for table in tables.tolist())
    return Compression(luma, cb, cr)


def nearest_quality(compression: Compression) -> int:
    """Returns the JPEG quality, 1..100, whose standard luma table is nearest in proportion; 100 without compression.

    For other codecs it is theirs, which means about the same.
    """
    if compression.codec:
        return max(1, compression.quality)
    if not compression.luma:
        return NO_JPEG
    qualities = torch.arange(1, NO_JPEG)
    standard = scale_standard_tables(qualities)[:, 0].flatten(1)  # (99, 64)
    # Low frequencies have most of the coefficients that are not rounded to 0.
    weight = 1 / (1 + torch.arange(8)[:, None] + torch.arange(8)).flatten().square()
    distance = ((torch.tensor(compression.luma) / standard).log().abs() * weight).sum(1)
    return int(qualities[distance.argmin()])


class CompressionBank(nn.Module):
    """Draws compressions and applies them. It has no weights, and its tables are not part of a state."""

    tables: Tensor  # (N, 3, 8, 8)
    quality: Tensor  # (N,), the nearest; 100 is none
    group: Tensor  # (N,), the number of its sampling; -1 without tables
    lossy: Tensor  # (N,), whether it changes an image
    owners: Tensor  # (photos,), the index of each photo's compression

    def __init__(self, compressions: tuple[Compression, ...]):
        super().__init__()
        self.codecs = {number: entry for number, entry in enumerate(compressions) if entry.codec}
        self.samplings = sorted({entry.sampling for entry in compressions if entry.luma})
        none = (1,) * 64
        tables = [[entry.luma or none, entry.cb or none, entry.cr or none] for entry in compressions]
        # On the CPU, so that a bank is also built under another default device; modules move their buffers.
        with torch.device("cpu"):
            self.register_buffer("tables", torch.tensor(tables).float().view(-1, 3, BLOCK, BLOCK), persistent=False)
            quality = torch.tensor([float(nearest_quality(entry)) for entry in compressions])
            self.register_buffer("quality", quality, persistent=False)
            group = [self.samplings.index(entry.sampling) if entry.luma else -1 for entry in compressions]
            self.register_buffer("group", torch.tensor(group, dtype=torch.long), persistent=False)
            self.register_buffer(
                "lossy", torch.tensor([entry.is_lossy for entry in compressions]).bool(), persistent=False
            )
            owners = torch.repeat_interleave(torch.tensor([entry.count for entry in compressions], dtype=torch.long))
            self.register_buffer("owners", owners, persistent=False)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is compressed."""
        return not (self.samplings or self.codecs)

    @property
    def band_rows(self) -> int:
        """Rows after which an image may be cut, and compressed in bands with a band of context on both sides."""
        return CODEC_TILE if self.codecs else self.unit[0]

    @property
    def unit(self) -> tuple[int, int]:
        """Pixels (down, across) after which every JPEG compression's blocks start again; (1, 1) without any."""
        if not self.samplings:
            return 1, 1
        across, down = (math.lcm(*(sampling[axis] for sampling in self.samplings)) for axis in (0, 1))
        return BLOCK * down, BLOCK * across

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws indices of compressions (count,), each as often as photos have it. 0 without any."""
        if not len(self.owners):
            return torch.zeros(count, dtype=torch.long, device=generator.device)
        drawn = torch.randint(len(self.owners), (count,), generator=generator, device=generator.device)
        return self.owners.to(drawn.device)[drawn]

    def get_quality(self, index: Tensor) -> Tensor:
        """Returns the JPEG quality (B,) that each of the compressions index (B,) is nearest to; 100 is none."""
        if not len(self.quality):
            return torch.full(index.shape, float(NO_JPEG), device=index.device)
        return self.quality[index]

    def is_lossy(self, index: Tensor) -> Tensor:
        """Returns whether each of the compressions index (B,) changes an image, (B,)."""
        return self.lossy[index]

    def forward(self, lr: Tensor, index: Tensor) -> Tensor:
        """Sends lr (B, 3, h, w), in 0..255, through the compressions index (B,). Those without tables change nothing.

        See `models.jpeg.compress_with_tables` and `send_through_codec`. Exported programs have JPEG alone.
        """
        for number, sampling in enumerate(self.samplings):
            chosen = self.group[index] == number
            if not torch.compiler.is_exporting() and not chosen.any():
                continue
            compressed = compress_with_tables(lr, self.tables[index], sampling)
            lr = torch.where(chosen[:, None, None, None], compressed, lr)
        if self.codecs and not torch.compiler.is_exporting():
            entries = [self.codecs.get(number) for number in index.tolist()]
            images = [
                send_through_codec(image, entry) if entry else image for image, entry in zip(lr, entries, strict=True)
            ]
            lr = torch.stack(images)
        return lr


def can_encode(codec: str) -> bool:
    """Returns whether one of CODECS has its encoder here. That of HEIC is an extra, since x265 is GPL."""
    return codec != "heic" or find_spec("pillow_heif") is not None


def require_encoders(compressions: tuple[Compression, ...]) -> None:
    """Raises `MissingEncoder` if a compression cannot be reproduced here."""
    if not all(can_encode(entry.codec) for entry in compressions):
        raise MissingEncoder(
            "The model compresses photos as HEIC, whose encoder is not installed. Install it: pip install "
            "'patina[heic]'."
        )


@cache
def _register_heif() -> None:
    """Lets Pillow write and read HEIC."""
    import pillow_heif  # noqa: PLC0415 - an extra

    pillow_heif.register_heif_opener(thumbnails=False)
    pillow_heif.options.DECODE_THREADS = 1


def send_through_codec(image: Tensor, compression: Compression) -> Tensor:
    """Sends an image (3, h, w), in 0..255, through another codec than JPEG, in tiles of CODEC_TILE pixels.

    Returns the decoded image. The gradient passes as if nothing had changed. Raises `MissingEncoder`.
    """
    if compression.codec == "heic":
        require_encoders((compression,))
        _register_heif()
    pixels = image.detach().clamp(0, 255).round().byte().permute(1, 2, 0).cpu().numpy()
    decoded, options = pixels.copy(), CODEC_OPTIONS.get(compression.codec, {})
    for top in range(0, pixels.shape[0], CODEC_TILE):
        for left in range(0, pixels.shape[1], CODEC_TILE):
            tile, buffer = (slice(top, top + CODEC_TILE), slice(left, left + CODEC_TILE)), io.BytesIO()
            Image.fromarray(pixels[tile]).save(
                buffer, CODECS[compression.codec], quality=compression.quality, **options
            )
            with Image.open(buffer) as opened:
                decoded[tile] = np.asarray(opened.convert("RGB"))
    result = torch.from_numpy(decoded).permute(2, 0, 1).to(image)
    return image + (result - image).detach()

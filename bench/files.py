"""Synthetic image files for benchmarks, and the multipart body that carries them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


def stream_multipart(files: Iterator[bytes]) -> Iterator[bytes]:
    """Yields the body of a multipart form with the boundary `bench`."""
    for number, data in enumerate(files):
        head = f'--bench\r\nContent-Disposition: form-data; name="files"; filename="{number}"\r\n\r\n'
        yield head.encode() + data + b"\r\n"
    yield b"--bench--\r\n"


def make_png_factory() -> Callable[[int], bytes]:
    """Returns a function from a number to a PNG file of 1 MB of noise. Each number gives different bytes."""
    plain = encode_png(np.random.default_rng(0).integers(0, 256, (577, 577, 3), dtype=np.uint8))
    return lambda number: plain[:-12] + _chunk(b"tEXt", f"n\0{number}".encode()) + plain[-12:]


def make_jpeg_factory() -> Callable[[int], bytes]:
    """Returns a function from a number to a JPEG file of 1 MB and 2.4 megapixels. Each number gives different bytes."""
    buffer = io.BytesIO()
    Image.fromarray(make_picture(1800, 1350)).save(buffer, "JPEG", quality=93)
    jpeg = buffer.getvalue()
    return lambda number: jpeg[:2] + b"\xff\xfe\0\x0a" + f"{number:08}".encode() + jpeg[2:]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def make_picture(height: int, width: int, seed: int = 0) -> Pixels:
    """Returns blurred plus sharp noise, (height, width, 3) uint8, with about as much detail as a photo."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    return np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)


def encode_png(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()

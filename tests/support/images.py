"""Test pictures, as arrays and as image files."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imaging.image_files import read_frames


def make_picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Returns smooth waves with a little texture, (height, width, 3). Each seed gives another picture."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x * rng.uniform(0.02, 0.6) + y * rng.uniform(-0.6, 0.6) + rng.uniform(0, 6)) for _ in range(3)]
    pixels = 128 + 90 * np.stack(waves, -1) + rng.normal(0, 6, (height, width, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def encode_image(pixels: NDArray[np.uint8], file_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format, **options)
    return buffer.getvalue()


def make_png(height: int, width: int, seed: int = 0) -> bytes:
    return encode_image(make_picture(height, width, seed))


def make_photos(count: int, side: int, seed: int = 0) -> dict[str, bytes]:
    """Returns square PNG files by name: 0.png, 1.png, …"""
    return {f"{n}.png": make_png(side, side, seed + n) for n in range(count)}


def save_photos(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """Saves random pictures of low frequency, (width, height): they have structure, and their PNGs are small."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(count)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        coarse.resize(size, Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


def make_zip(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def make_tar(members: dict[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload] # mode is one of many
        for name, data in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return buffer.getvalue()


def read_tar(data: bytes) -> dict[str, bytes]:
    """Returns the files of a tar archive by name."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        files = {member.name: archive.extractfile(member) for member in archive}
        return {name: file.read() for name, file in files.items() if file}


def collect_frames(path: Path, start: int = 0, most: int = 1000) -> list[bytes]:
    """Returns frames of an image file as PNG files, from number `start` on."""
    frames: list[bytes] = []

    def save(png: bytes) -> bool:
        frames.append(png)
        return len(frames) < most

    read_frames(path, start, save, max_pixels=1_000_000)
    return frames

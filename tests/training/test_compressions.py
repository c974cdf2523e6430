"""The compression of photos, as their files say and as their pixels show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from skimage import data

from imaging.compression import read_compression
from models.compression import Compression, standard_compression
from training.data.compressions import MAX_ENTRIES, collect_compressions, describe_file
from training.data.jpeg_estimation import estimate_compression
from training.data.photos import PhotoCompression, Photos

Pixels = NDArray[np.uint8]
# Tables of no encoder: they rise to the middle and fall again, luma unlike columns and rows.
OWN = [
    [4 + (row + 2 * col) % 11 for row in range(8) for col in range(8)],
    [8 + (row + col) for row in range(8) for col in range(8)],
]


def make_picture(height: int = 301, width: int = 403) -> Pixels:
    return np.asarray(Image.fromarray(data.astronaut()).resize((width, height), Image.Resampling.LANCZOS))


def send_through_file(pixels: Pixels, path: Path, *, orientation: int = 1, **options: Any) -> Pixels:
    """Saves a JPEG and returns its decoded pixels, upright."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, "JPEG", exif=exif, **options)
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def table_error(found: PhotoCompression | None, expected: Compression) -> float:
    """Returns the mean relative error of the luma table."""
    assert found is not None
    assert found.compression.luma
    return float(np.mean(np.abs(np.array(found.compression.luma) / np.array(expected.luma) - 1)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_file_and_pixels_agree_in_every_orientation(orientation: int, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    pixels = send_through_file(make_picture(), path, orientation=orientation, qtables=OWN, subsampling=orientation % 3)
    file = read_compression(path)
    assert file is not None
    said, seen = describe_file(file, *pixels.shape[:2]), estimate_compression(pixels)
    assert said is not None
    assert table_error(seen, said.compression) < 0.1
    assert seen is not None
    assert (seen.origin, seen.compression.sampling) == (said.origin, said.compression.sampling)


@pytest.mark.parametrize("quality", [30, 60, 85, 92])
def test_standard_tables_are_found_exactly(quality: int, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    pixels = send_through_file(make_picture(), path, quality=quality, progressive=True)
    with Image.open(path) as image:
        assert isinstance(image, JpegImageFile)
        luma = tuple(image.quantization[0])
    found = estimate_compression(pixels)
    assert found is not None
    assert (found.compression.luma, found.compression.sampling, found.origin) == (luma, (2, 2), (0, 0))


def test_dark_or_framed_corners_do_not_matter(tmp_path: Path) -> None:
    pixels = send_through_file(make_picture(), tmp_path / "photo.jpg", quality=70)
    expected = standard_compression(70)
    framed = np.zeros((400, 500, 3), np.uint8)
    framed[21 : 21 + 301, 43 : 43 + 403] = pixels
    found = estimate_compression(framed)
    assert table_error(found, expected) == 0
    assert found is not None
    assert (found.origin[0] % 8, found.origin[1] % 8) == (21 % 8, 43 % 8)
    dark = pixels.copy()
    dark[:160, :160] = 3
    assert table_error(estimate_compression(dark), expected) == 0
    assert table_error(estimate_compression(np.ascontiguousarray(pixels[5:, 9:])), expected) == 0


def test_photos_without_evidence_are_unknown(tmp_path: Path) -> None:
    sky = np.broadcast_to(np.linspace(80, 120, 300)[:, None, None], (300, 300, 3)).astype(np.uint8)
    noisy = (sky + np.random.default_rng(0).normal(0, 3, sky.shape)).clip(0, 255).astype(np.uint8)
    for index, photo in enumerate((sky, np.zeros((200, 200, 3), np.uint8), noisy)):
        assert estimate_compression(send_through_file(photo, tmp_path / f"{index}.jpg", quality=30)) is None
    assert estimate_compression(sky) is None
    assert estimate_compression(np.zeros((5, 9, 3), np.uint8)) is None


def test_uncompressed_photos_with_detail_count_as_none() -> None:
    assert estimate_compression(make_picture()) == PhotoCompression(Compression())


def test_a_bank_counts_photos_with_evidence(tmp_path: Path) -> None:
    picture = make_picture(200, 280)
    shots = [send_through_file(picture, tmp_path / "a.jpg", quality=60), np.full((64, 64, 3), 40, np.uint8), picture]
    photos = Photos.write(tmp_path / "photos", shots)
    own = Compression((9,) * 64, (9,) * 64, (9,) * 64, (1, 1))
    photos.compressions[0] = PhotoCompression(own)
    assert collect_compressions(photos) == (own, Compression())
    photos.compressions = [PhotoCompression(Compression())] * 3
    assert collect_compressions(photos) == ()


def test_banks_stay_small_and_keep_the_range(tmp_path: Path) -> None:
    photos = Photos.write(tmp_path, [np.zeros((8, 8, 3), np.uint8)] * 200)
    for index in range(200):
        table = (1 + index,) * 64
        photos.compressions[index] = PhotoCompression(Compression(table, table, table))
    bank = collect_compressions(photos)
    assert len(bank) == MAX_ENTRIES
    steps = [entry.luma[0] for entry in bank]
    assert min(steps) < 5
    assert max(steps) > 195


def test_a_crop_moves_the_blocks() -> None:
    table = (9,) * 64
    photo = PhotoCompression(Compression(table, table, table, (2, 1)), (5, 3))
    assert photo.crop(7, 4).origin == (6, 15)

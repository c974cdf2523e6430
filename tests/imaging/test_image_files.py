"""Accepted image files and their pixels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imaging.image_files import ImageRejected, ImageSize, check_image, read_rgb
from imaging.png import write_png
from tests.support.images import encode_image, make_picture, make_png

LIMIT = 1_000_000


def saved(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "image"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF", "BMP"])
def test_lossless_formats_keep_every_pixel(tmp_path: Path, file_format: str) -> None:
    pixels = make_picture(33, 47)
    path = saved(tmp_path, encode_image(pixels, file_format, **({"lossless": True} if file_format == "WEBP" else {})))
    assert check_image(path, max_pixels=LIMIT) == ImageSize(47, 33)
    np.testing.assert_array_equal(read_rgb(path), pixels)


def test_jpeg_is_accepted(tmp_path: Path) -> None:
    path = saved(tmp_path, encode_image(make_picture(33, 47), "JPEG"))
    assert check_image(path, max_pixels=LIMIT) == ImageSize(47, 33)
    assert read_rgb(path).shape == (33, 47, 3)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    pixels = make_picture(32, 64)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise
    path = saved(tmp_path, encode_image(pixels, "PNG", exif=exif))
    assert check_image(path, max_pixels=LIMIT) == ImageSize(32, 64)
    np.testing.assert_array_equal(read_rgb(path), np.rot90(pixels, -1))


def test_grayscale_is_repeated_and_alpha_dropped(tmp_path: Path) -> None:
    pixels = make_picture(16, 16)
    gray = saved(tmp_path, encode_image(pixels[..., 0]))
    np.testing.assert_array_equal(read_rgb(gray), np.repeat(pixels[..., :1], 3, -1))
    alpha = np.full((16, 16, 1), 7, np.uint8)
    np.testing.assert_array_equal(read_rgb(saved(tmp_path, encode_image(np.concatenate([pixels, alpha], -1)))), pixels)


@pytest.mark.parametrize(("mode", "file_format"), [("I;16", "PNG"), ("I;16", "TIFF"), ("F", "TIFF"), ("I", "TIFF")])
def test_deep_grayscale_is_rejected(tmp_path: Path, mode: str, file_format: str) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (8, 8)).save(buffer, file_format)
    with pytest.raises(ImageRejected) as caught:
        check_image(saved(tmp_path, buffer.getvalue()), max_pixels=LIMIT)
    assert caught.value.code == "more_than_8_bits"


def test_16_bit_color_is_rejected(tmp_path: Path) -> None:
    import tifffile  # noqa: PLC0415

    deep = make_picture(8, 8).astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "deep.tif", deep, photometric="rgb")
    with pytest.raises(ImageRejected) as caught:
        check_image(tmp_path / "deep.tif", max_pixels=LIMIT)
    assert caught.value.code == "more_than_8_bits"
    with pytest.raises(ImageRejected):
        check_image(saved(tmp_path, png_16_bit(deep)), max_pixels=LIMIT)


def png_16_bit(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint16]]) -> bytes:
    """Returns a 16-bit RGB PNG, built by RFC 2083 because Pillow cannot write one."""
    import struct  # noqa: PLC0415
    import zlib  # noqa: PLC0415

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
def test_truncated_file_is_rejected(tmp_path: Path, file_format: str) -> None:
    data = encode_image(make_picture(64, 64), file_format)
    with pytest.raises(ImageRejected) as caught:
        check_image(saved(tmp_path, data[: len(data) // 2]), max_pixels=LIMIT)
    assert caught.value.code in {"corrupt_image", "not_an_image"}


@pytest.mark.parametrize(
    ("data", "code"), [(b"", "empty_file"), (b"just text", "not_an_image"), (b"GIF89a" + bytes(50), "not_an_image")]
)
def test_file_that_is_no_image_is_rejected(tmp_path: Path, data: bytes, code: str) -> None:
    with pytest.raises(ImageRejected) as caught:
        check_image(saved(tmp_path, data), max_pixels=LIMIT)
    assert caught.value.code == code


def test_too_many_pixels_are_rejected_by_the_header(tmp_path: Path) -> None:
    with pytest.raises(ImageRejected) as caught:
        check_image(saved(tmp_path, make_png(100, 101)), max_pixels=10_000)
    assert caught.value.code == "image_too_large"


def test_written_png_is_lossless(tmp_path: Path) -> None:
    pixels = make_picture(20, 30)
    np.testing.assert_array_equal(read_rgb(saved(tmp_path, write_png(pixels))), pixels)

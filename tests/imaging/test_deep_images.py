"""Images of more than 8 bits per channel keep them, and HEIC and RAW files are read."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from imaging.image_files import check_image, read_picture, read_rgb
from imaging.image_info import ImageSize
from imaging.rejections import ImageRejected
from tests.support.images import collect_frames, make_picture

LIMIT = 1_000_000
Deep = NDArray[np.uint16]


def make_deep(height: int, width: int, channels: int) -> Deep:
    return np.random.default_rng(channels).integers(0, 65536, (height, width, channels), np.uint16)


def encode_png(pixels: Deep, color_type: int, *, transparent: bytes = b"") -> bytes:
    """Returns a 16-bit PNG with a filter that needs whole pixels, built by RFC 2083 because Pillow cannot write it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, channels = pixels.shape
    rows = pixels.astype(">u2").reshape(height, -1).view(np.uint8)
    left = np.zeros_like(rows)
    left[:, 2 * channels :] = rows[:, : -2 * channels]
    data = b"".join(b"\1" + row.tobytes() for row in rows - left)
    head = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    extra = chunk(b"tRNS", transparent) if transparent else b""
    body = extra + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body


def saved(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "image"
    path.write_bytes(data)
    return path


def to_8_bits(pixels: NDArray[Any], full: int = 65535) -> NDArray[Any]:
    return np.rint(pixels / full * 255)


@pytest.mark.parametrize(("channels", "color_type"), [(1, 0), (2, 4), (3, 2), (4, 6)])
def test_png_keeps_its_16_bits(tmp_path: Path, channels: int, color_type: int) -> None:
    pixels = make_deep(20, 30, channels)
    path = saved(tmp_path, encode_png(pixels, color_type))
    picture = read_picture(path, deep=True)
    assert check_image(path, max_pixels=LIMIT).bits == 16
    np.testing.assert_array_equal(picture.rgb, np.broadcast_to(pixels[..., : 3 if channels > 2 else 1], (20, 30, 3)))
    if channels in (2, 4):
        assert picture.alpha is not None
        np.testing.assert_array_equal(picture.alpha, pixels[..., -1])
    scaled = read_picture(path).rgb
    assert scaled.dtype == np.uint8
    assert np.abs(scaled - to_8_bits(picture.rgb)).max() == 0


@pytest.mark.parametrize(("channels", "color_type"), [(1, 0), (3, 2)])
def test_transparent_color_of_a_deep_png_counts(tmp_path: Path, channels: int, color_type: int) -> None:
    pixels = make_deep(20, 30, channels)
    pixels[:, :5] = 1000
    transparent = struct.pack(f">{channels}H", *[1000] * channels)
    path = saved(tmp_path, encode_png(pixels, color_type, transparent=transparent))
    assert check_image(path, max_pixels=LIMIT).opaque == (0, 5, 20, 25)


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_tiff_keeps_its_16_bits(tmp_path: Path, byte_order: Any, channels: int) -> None:
    pixels = make_deep(20, 30, channels)
    kind = "minisblack" if channels == 1 else "rgb"
    tifffile.imwrite(
        tmp_path / "image",
        pixels[..., 0] if channels == 1 else pixels,
        photometric=kind,
        byteorder=byte_order,
        extrasamples=["unassalpha"] if channels == 4 else None,
    )
    picture = read_picture(tmp_path / "image", deep=True)
    np.testing.assert_array_equal(picture.rgb, np.broadcast_to(pixels[..., : min(3, channels)], (20, 30, 3)))
    if channels == 4:
        assert picture.alpha is not None
        np.testing.assert_array_equal(picture.alpha, pixels[..., 3])


def test_compressed_deep_tiff_keeps_its_bits(tmp_path: Path) -> None:
    pixels = make_deep(64, 50, 3)
    tifffile.imwrite(tmp_path / "image", pixels, photometric="rgb", compression="zlib", predictor=True)
    np.testing.assert_array_equal(read_picture(tmp_path / "image", deep=True).rgb, pixels)


def test_deep_cielab_is_rounded_once(tmp_path: Path) -> None:
    """Steps of CIELAB in 8 bits are up to ten levels of sRGB."""
    path = tmp_path / "image"
    lab = make_deep(20, 30, 3) // 4 + np.uint16(24_000)
    lab[..., 1:] ^= 0x8000  # a and b have a sign
    tifffile.imwrite(path, lab, photometric="cielab")
    deep = read_picture(path, deep=True).rgb
    assert deep.dtype == np.uint16
    np.testing.assert_array_equal(read_rgb(path), to_8_bits(deep))


def test_white_is_zero_in_deep_tiffs_too(tmp_path: Path) -> None:
    pixels = make_deep(20, 30, 1)[..., 0]
    tifffile.imwrite(tmp_path / "image", pixels, photometric="miniswhite")
    np.testing.assert_array_equal(read_picture(tmp_path / "image", deep=True).rgb[..., 0], 65535 - pixels)


def test_floating_point_is_clipped_to_0_and_1(tmp_path: Path) -> None:
    values = np.linspace(-0.5, 1.5, 600, dtype=np.float32).reshape(20, 30)
    values[0, 0] = np.nan
    tifffile.imwrite(tmp_path / "image", values)
    check = check_image(tmp_path / "image", max_pixels=LIMIT)
    assert check.bits == 32
    expected = np.clip(np.nan_to_num(values), 0, 1)
    found = read_picture(tmp_path / "image", deep=True).rgb[..., 1]
    assert np.abs(found - expected * 65535).max() <= 0.51
    assert np.abs(read_rgb(tmp_path / "image")[..., 0] - expected * 255).max() <= 0.51


def test_deep_gray_jpeg_2000_keeps_its_bits(tmp_path: Path) -> None:
    pixels = make_deep(40, 60, 1)[..., 0]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG2000")
    path = saved(tmp_path, buffer.getvalue())
    assert check_image(path, max_pixels=LIMIT).bits == 16
    np.testing.assert_array_equal(read_picture(path, deep=True).rgb[..., 2], pixels)


@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("kind", [np.float32, np.float16, np.uint16])
def test_deep_color_in_other_layouts_is_read(tmp_path: Path, kind: Any, planes: Any) -> None:
    pixels = make_deep(20, 30, 3)
    stored = pixels if kind is np.uint16 else ((pixels / 65535).astype(kind))
    expected = pixels if kind is np.uint16 else stored.astype(float) * 65535
    moved = np.moveaxis(stored, -1, 0) if planes == "separate" else stored
    tifffile.imwrite(tmp_path / "image", moved, photometric="rgb", planarconfig=planes, compression="zlib")
    check = check_image(tmp_path / "image", max_pixels=LIMIT)
    assert (check.size, check.bits) == (ImageSize(30, 20), 8 * np.dtype(kind).itemsize)
    assert np.abs(read_picture(tmp_path / "image", deep=True).rgb - expected).max() <= 0.51


def test_integers_of_32_bits_cannot_be_scaled(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("I", (8, 8)).save(buffer, "TIFF")
    with pytest.raises(ImageRejected) as caught:
        read_rgb(saved(tmp_path, buffer.getvalue()))
    assert caught.value.code == "unsupported_depth"


class TestHeif:
    pillow_heif = pytest.importorskip("pillow_heif")

    def encode(self, mode: str, pixels: NDArray[Any], **options: Any) -> bytes:
        buffer = io.BytesIO()
        file = self.pillow_heif.from_bytes(mode, (pixels.shape[1], pixels.shape[0]), pixels.tobytes())
        file.save(buffer, quality=100, chroma=444, matrix_coefficients=0, **options)
        return buffer.getvalue()

    def test_heic_is_read(self, tmp_path: Path) -> None:
        pixels = make_picture(48, 64)
        path = saved(tmp_path, self.encode("RGB", pixels))
        check = check_image(path, max_pixels=LIMIT)
        assert (check.size, check.bits, check.frames) == (ImageSize(64, 48), 8, 1)
        np.testing.assert_array_equal(read_rgb(path), np.asarray(self.pillow_heif.open_heif(path)))
        assert np.abs(read_rgb(path).astype(int) - pixels).mean() < 1

    def test_10_bits_are_scaled_by_their_range(self, tmp_path: Path) -> None:
        pixels = make_deep(48, 64, 3) >> 6 << 6  # bits on top
        self.pillow_heif.options.SAVE_HDR_TO_12_BIT = False
        path = saved(tmp_path, self.encode("RGB;16", pixels))
        assert check_image(path, max_pixels=LIMIT).bits == 10
        decoded = np.asarray(self.pillow_heif.open_heif(path, convert_hdr_to_8bit=False)) >> 6
        assert np.abs(read_picture(path, deep=True).rgb - decoded / 1023 * 65535).max() <= 0.5
        assert np.abs(read_rgb(path) - decoded / 1023 * 255).max() <= 0.51
        assert np.abs(decoded / 1023 - pixels / 65472).mean() < 4 / 1023

    def test_alpha_and_orientation_are_those_of_the_file(self, tmp_path: Path) -> None:
        pixels = np.dstack([make_picture(48, 64), np.full((48, 64), 99, np.uint8)])
        exif = Image.Exif()
        exif[0x0112] = 6
        path = saved(tmp_path, self.encode("RGBA", pixels, exif=exif.tobytes()))
        picture = read_picture(path)
        expected = np.asarray(self.pillow_heif.open_heif(path).to_pillow())  # a decoder that turns it by itself
        assert picture.rgb.shape == (*expected.shape[:2], 3)
        assert picture.alpha is not None
        assert np.abs(picture.alpha.astype(int) - 99).max() <= 1
        assert np.abs(picture.rgb.astype(int) - expected[..., :3]).max() <= 1

    def test_damaged_file_is_rejected(self, tmp_path: Path) -> None:
        data = self.encode("RGB", make_picture(48, 64))
        with pytest.raises(ImageRejected) as caught:
            check_image(saved(tmp_path, data[: len(data) // 2]), max_pixels=LIMIT)
        assert caught.value.code in {"corrupt_image", "not_an_image"}

    def test_missing_decoder_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pi_heif", None)
        with pytest.raises(ImageRejected, match="pip install pi-heif") as caught:
            check_image(saved(tmp_path, self.encode("RGB", make_picture(16, 16))), max_pixels=LIMIT)
        assert caught.value.code == "decoder_missing"


class TestRaw:
    """Built from scratch: a DNG with a thumbnail in front, as cameras write it, and Bayer samples in a sub-image."""

    def make_dng(self, path: Path, mosaic: Deep) -> Path:
        tags = [
            (50706, "B", 4, (1, 4, 0, 0), True),
            (50708, "s", 0, "A camera", True),
            (50721, "2i", 9, (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1), True),  # ColorMatrix1
            (50728, "2I", 3, (1, 1, 1, 1, 1, 1), True),  # AsShotNeutral
        ]
        cfa = [
            (33421, "H", 2, (2, 2), True),
            (33422, "B", 4, (0, 1, 1, 2), True),
            (50714, "H", 1, 0, True),  # BlackLevel
            (50717, "H", 1, 65535, True),  # WhiteLevel
        ]
        with tifffile.TiffWriter(path) as file:
            file.write(make_picture(12, 16), subfiletype=1, subifds=1, extratags=tags)
            file.write(mosaic, photometric="cfa", subfiletype=0, extratags=cfa)
        return path

    def test_raw_file_is_not_its_thumbnail(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "rawpy", None)
        path = self.make_dng(tmp_path / "image", make_deep(96, 128, 1)[..., 0])
        with pytest.raises(ImageRejected, match="develop it first") as caught:
            check_image(path, max_pixels=LIMIT)
        assert caught.value.code == "raw_file"

    @pytest.mark.parametrize(
        "head",
        [
            b"FUJIFILMCCD-RAW 0201",
            b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
            b"IIU\0\x18\0\0\0",
            b"IIRO\x08\0\0\0",
            b"II*\0\x10\0\0\0CR\2\0",
        ],
    )
    def test_raw_files_are_known_by_their_first_bytes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes
    ) -> None:
        monkeypatch.setitem(sys.modules, "rawpy", None)
        with pytest.raises(ImageRejected) as caught:
            check_image(saved(tmp_path, head + bytes(100)), max_pixels=LIMIT)
        assert caught.value.code == "raw_file"

    def test_raw_file_is_developed_at_full_size(self, tmp_path: Path) -> None:
        pytest.importorskip("rawpy")
        mosaic = np.full((96, 128), 20_000, np.uint16)
        path = self.make_dng(tmp_path / "image", mosaic)
        check = check_image(path, max_pixels=LIMIT)
        assert (check.size, [warning.code for warning in check.warnings]) == (ImageSize(128, 96), ["raw_developed"])
        pixels = read_rgb(path)
        assert pixels.shape == (96, 128, 3)
        gray = pixels[8:-8, 8:-8].reshape(-1, 3)
        assert np.ptp(gray.astype(int), axis=0).max() <= 2
        assert len(collect_frames(path)) == 1

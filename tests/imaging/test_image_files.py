"""Accepted image files and their pixels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from imaging.image_files import check_image, read_picture, read_rgb, thumbnail
from imaging.image_info import ImageSize
from imaging.png import write_png
from imaging.rejections import ImageRejected
from tests.support.images import collect_frames, encode_image, make_picture, make_png

LIMIT = 1_000_000


def saved(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "image"
    path.write_bytes(data)
    return path


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF", "BMP", "JPEG2000"])
def test_lossless_formats_keep_every_pixel(tmp_path: Path, file_format: str) -> None:
    pixels = make_picture(33, 47)
    path = saved(tmp_path, encode_image(pixels, file_format, **({"lossless": True} if file_format == "WEBP" else {})))
    check = check_image(path, max_pixels=LIMIT)
    assert (check.size, check.opaque, check.bits, check.frames) == (ImageSize(47, 33), (0, 0, 33, 47), 8, 1)
    assert not check.warnings
    np.testing.assert_array_equal(read_rgb(path), pixels)


@pytest.mark.parametrize("file_format", ["JPEG", "AVIF", "GIF"])
def test_lossy_formats_are_accepted(tmp_path: Path, file_format: str) -> None:
    pixels = make_picture(33, 47)
    path = saved(tmp_path, encode_image(pixels, file_format))
    assert check_image(path, max_pixels=LIMIT).size == ImageSize(47, 33)
    assert np.abs(read_rgb(path).astype(int) - pixels).mean() < 20


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:

    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, encode_image(make_picture(32, 64), "PNG", exif=exif))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    size = check_image(path, max_pixels=LIMIT).size
    assert (size.height, size.width) == expected.shape[:2]
    np.testing.assert_array_equal(read_rgb(path), expected)


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_gray_and_palettes_become_rgb(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(make_picture(16, 24)).convert(mode)
    path = saved(tmp_path, encode(image, "PNG"))
    np.testing.assert_array_equal(read_rgb(path), np.asarray(image.convert("RGB")))


def test_cmyk_without_profile_is_converted_plainly(tmp_path: Path) -> None:
    image = Image.fromarray(make_picture(16, 24)).convert("CMYK")
    path = saved(tmp_path, encode(image, "TIFF"))
    np.testing.assert_array_equal(read_rgb(path), np.asarray(image.convert("RGB")))


def test_written_png_is_lossless(tmp_path: Path) -> None:
    pixels = make_picture(20, 30)
    np.testing.assert_array_equal(read_rgb(saved(tmp_path, write_png(pixels))), pixels)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "JPEG2000", "AVIF"])
def test_truncated_file_is_rejected(tmp_path: Path, file_format: str) -> None:
    data = encode_image(make_picture(64, 64), file_format)
    with pytest.raises(ImageRejected) as caught:
        check_image(saved(tmp_path, data[: len(data) // 2]), max_pixels=LIMIT)
    assert caught.value.code in {"corrupt_image", "not_an_image"}


@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        (b"", "empty_file", "empty"),
        (b"just text", "not_an_image", "Convert it to one"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "not_an_image", "a video"),
        (b"%PDF-1.7", "not_an_image", "a PDF"),
        (b"8BPS\0\1", "not_an_image", "Photoshop"),
        (b'<?xml version="1.0"?><svg>', "not_an_image", "SVG"),
        (b"\xff\x0a" + bytes(20), "not_an_image", "JPEG XL"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(20), "unsupported_archive", "7z archive"),
        (b"Rar!\x1a\x07\1\0", "unsupported_archive", "RAR archive"),
        (b"\x28\xb5\x2f\xfd" + bytes(20), "unsupported_archive", "Zstandard"),
    ],
)
def test_file_that_is_no_image_is_named(tmp_path: Path, data: bytes, code: str, message: str) -> None:
    with pytest.raises(ImageRejected, match=message) as caught:
        check_image(saved(tmp_path, data), max_pixels=LIMIT)
    assert caught.value.code == code


def test_too_many_pixels_are_rejected_by_the_header(tmp_path: Path) -> None:
    with pytest.raises(ImageRejected) as caught:
        check_image(saved(tmp_path, make_png(100, 101)), max_pixels=10_000)
    assert caught.value.code == "image_too_large"


class TestTransparency:
    def test_picture_keeps_alpha(self, tmp_path: Path) -> None:
        rgba = np.dstack([make_picture(16, 20), np.arange(320, dtype=np.uint8).reshape(16, 20)])
        picture = read_picture(saved(tmp_path, encode_image(rgba)))
        assert picture.alpha is not None
        np.testing.assert_array_equal(np.dstack([picture.rgb, picture.alpha]), rgba)

    def test_learning_uses_the_opaque_rectangle(self, tmp_path: Path) -> None:
        pixels = make_picture(600, 700)
        alpha = np.zeros((600, 700), np.uint8)
        alpha[51:553, 33:690] = 255
        alpha[300, 10:33] = 255  # sticks out
        path = saved(tmp_path, encode_image(np.dstack([pixels, alpha])))
        check = check_image(path, max_pixels=LIMIT)
        assert (check.size, check.opaque) == (ImageSize(700, 600), (51, 33, 502, 657))
        np.testing.assert_array_equal(read_rgb(path), pixels[51:553, 33:690])

    def test_mostly_transparent_image_is_rejected(self, tmp_path: Path) -> None:
        alpha = np.zeros((64, 64), np.uint8)
        alpha[:31, :31] = 255
        path = saved(tmp_path, encode_image(np.dstack([make_picture(64, 64), alpha])))
        assert check_image(path, max_pixels=LIMIT).opaque is None
        with pytest.raises(ImageRejected) as caught:
            read_rgb(path)
        assert caught.value.code == "mostly_transparent"

    @pytest.mark.parametrize("mode", ["P", "L", "RGB"])
    def test_transparent_color_of_a_png_counts(self, tmp_path: Path, mode: str) -> None:
        gray = Image.new("L", (20, 10), 3)
        gray.paste(9, (0, 0, 4, 10))
        path = saved(tmp_path, encode(gray.convert(mode), "PNG", transparency=(9, 9, 9) if mode == "RGB" else 9))
        assert check_image(path, max_pixels=LIMIT).opaque == (0, 4, 10, 16)


class TestFrames:
    def read_all(self, path: Path) -> list[NDArray[np.uint8]]:
        return [np.asarray(Image.open(io.BytesIO(png)).convert("RGB")) for png in collect_frames(path)]

    @pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF", "GIF", "MPO"])
    def test_all_frames_are_read(self, tmp_path: Path, file_format: str) -> None:
        pictures = [np.full((24, 32, 3), value, np.uint8) for value in (0, 85, 170)]
        images = [Image.fromarray(pixels) for pixels in pictures]
        options = {"lossless": True} if file_format == "WEBP" else {}
        path = saved(tmp_path, encode(images[0], file_format, save_all=True, append_images=images[1:], **options))
        assert check_image(path, max_pixels=LIMIT).frames == 3
        np.testing.assert_array_equal(read_rgb(path), pictures[0])
        for frame, expected in zip(self.read_all(path), pictures, strict=True):
            assert np.abs(frame.astype(int) - expected).max() <= 2

    def test_reading_stops_and_goes_on_at_a_frame(self, tmp_path: Path) -> None:
        images = [Image.new("L", (16, 16), value) for value in (10, 20, 30)]
        path = saved(tmp_path, encode(images[0], "TIFF", save_all=True, append_images=images[1:]))
        found = collect_frames(path, start=1, most=1)
        assert [np.asarray(Image.open(io.BytesIO(png))).max() for png in found] == [20]

    def test_preview_in_a_jpeg_is_no_frame(self, tmp_path: Path) -> None:
        small = Image.new("RGB", (16, 12), "red")
        data = encode(Image.new("RGB", (64, 48)), "MPO", save_all=True, append_images=[small])
        assert check_image(saved(tmp_path, data), max_pixels=LIMIT).frames == 1

    def test_preview_in_a_tiff_is_no_page(self, tmp_path: Path) -> None:
        import tifffile  # noqa: PLC0415

        pixels = make_picture(40, 60)
        with tifffile.TiffWriter(tmp_path / "image") as file:
            file.write(pixels[::4, ::4], subfiletype=1)
            file.write(pixels)
        check = check_image(tmp_path / "image", max_pixels=LIMIT)
        assert (check.size, check.frames) == (ImageSize(60, 40), 1)
        np.testing.assert_array_equal(read_rgb(tmp_path / "image"), pixels)


class TestForgivingJpeg:
    def check(self, tmp_path: Path, data: bytes) -> list[str]:
        return [warning.code for warning in check_image(saved(tmp_path, data), max_pixels=LIMIT).warnings]

    @pytest.mark.parametrize("progressive", [False, True])
    def test_missing_end_marker_is_a_warning(self, tmp_path: Path, progressive: bool) -> None:
        data = encode_image(make_picture(64, 96), "JPEG", progressive=progressive)
        assert self.check(tmp_path, data[:-2]) == ["missing_end"]
        np.testing.assert_array_equal(read_rgb(tmp_path / "image"), np.asarray(Image.open(io.BytesIO(data))))

    @pytest.mark.parametrize("progressive", [False, True])
    def test_missing_pixels_are_an_error(self, tmp_path: Path, progressive: bool) -> None:
        data = encode_image(
            np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8), "JPEG", progressive=progressive
        )
        for missing in (200, 1000, len(data) // 2):
            with pytest.raises(ImageRejected) as caught:
                self.check(tmp_path, data[:-missing])
            assert caught.value.code == "corrupt_image"

    def test_video_behind_the_image_is_a_warning(self, tmp_path: Path) -> None:
        data = encode_image(make_picture(64, 96), "JPEG")
        video = b"\0\0\0\x18ftypmp42" + b"\xff\xda" * 300
        assert self.check(tmp_path, data + video) == ["trailing_data"]
        np.testing.assert_array_equal(read_rgb(tmp_path / "image"), np.asarray(Image.open(io.BytesIO(data))))

    def test_padding_is_no_trailing_data(self, tmp_path: Path) -> None:
        assert self.check(tmp_path, encode_image(make_picture(64, 96), "JPEG") + bytes(500)) == []

    def test_thumbnail_is_not_counted_as_scans(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x927C] = b"\xff\xda" * 300  # a maker's note
        assert self.check(tmp_path, encode_image(make_picture(64, 96), "JPEG", exif=exif)) == []


def test_thumbnail_has_the_colors_of_the_image(tmp_path: Path) -> None:
    path = saved(tmp_path, encode_image(np.full((600, 300, 3), (200, 100, 50), np.uint8), "JPEG", quality=95))
    small = np.asarray(Image.open(io.BytesIO(thumbnail(path))))
    assert small.shape == (256, 128, 3)
    assert np.abs(small.astype(int) - (200, 100, 50)).max() <= 6


@pytest.mark.parametrize("name", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_large_images_are_decoded_with_the_same_pixels(
    tmp_path: Path, name: str, orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their memory is given back while rows are converted."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.random.default_rng(0).integers(0, 256, (300, 500, 3), dtype=np.uint8)
    path = tmp_path / "photo"
    Image.fromarray(pixels).save(path, name, exif=exif)
    expected = read_rgb(path)
    monkeypatch.setattr("imaging.readers.large.LARGE_PIXELS", 1000)
    assert np.array_equal(read_rgb(path), expected)
    reference = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    assert np.array_equal(expected, reference)

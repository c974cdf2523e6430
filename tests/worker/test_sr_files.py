"""Super-resolved images in each format, read back by Pillow and compared with what was written."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from imaging.image_info import Picture
from imaging.metadata import clean_exif
from imaging.rejections import ImageRejected
from store.sr_options import Depth, ImageFormat, Metadata, SrOptions
from tests.support.images import make_picture
from worker.jobs import sr_files
from worker.jobs.alpha import AlphaEnlarger, fill_transparent
from worker.jobs.sr_files import write_result

SCALE = 2
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" xmp:Rating="5"/></x:xmpmeta>'
MAKE, ORIENTATION, GPS, EXPOSURE, PIXEL_WIDTH = 0x010F, 0x0112, 0x8825, 0x829A, 0xA002
ALL = list(ImageFormat)
# Mean error in levels, of a colorful picture with noise. WebP always has half of the pixels for colors.
LOSS = {ImageFormat.png: 0, ImageFormat.tiff: 0, ImageFormat.jpeg: 1, ImageFormat.avif: 2, ImageFormat.webp: 10}


def make_exif() -> bytes:
    """EXIF as a camera writes it: with an orientation, the sensor's width, and a thumbnail."""
    exif = Image.Exif()
    exif[MAKE], exif[ORIENTATION] = "A camera", 6
    exif.get_ifd(0x8769).update({EXPOSURE: 0.01, PIXEL_WIDTH: 4000})
    exif.get_ifd(GPS).update({1: "N", 2: (48.0, 8.0, 14.0)})
    exif.get_ifd(1).update({0x0201: 10, 0x0202: 20})
    return exif.tobytes()


def make_display_p3() -> bytes:
    """A profile that is not sRGB: its red and green are swapped, which shows at once."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = data.index(b"rXYZ"), data.index(b"gXYZ")
    data[red : red + 4], data[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(data)


def make_result(*, bits: int = 8, alpha: bool = False, profile: bytes = b"") -> tuple[Picture, NDArray[Any]]:
    """Returns a source, and an enlarged picture for it."""
    source, enlarged = make_picture(20, 30, 1), make_picture(SCALE * 20, SCALE * 30, 1)
    if bits == 16:
        rng = np.random.default_rng(0)
        source = rng.integers(0, 65536, source.shape, np.uint16)
        enlarged = rng.integers(0, 65536, enlarged.shape, np.uint16)
    plane = np.linspace(0, 2**bits - 1, 20 * 30).reshape(20, 30).round().astype(source.dtype) if alpha else None
    return Picture(source, plane, profile, b"Exif\0\0" + make_exif().removeprefix(b"Exif\0\0"), XMP), enlarged


def write(path: Path, picture: Picture, enlarged: NDArray[Any], **options: Any) -> Any:
    """Writes the enlarged picture in three bands and opens the file."""
    bands = iter([enlarged[:7], enlarged[7:30], enlarged[30:]])
    write_result(path, picture, SCALE, bands, SrOptions(**options))
    return Image.open(path)


@pytest.mark.parametrize("image_format", ALL)
def test_pixels_are_those_of_the_network(tmp_path: Path, image_format: ImageFormat) -> None:
    picture, enlarged = make_result()
    opened = write(tmp_path / "sr", picture, enlarged, image_format=image_format, quality=100)
    assert opened.format == image_format.upper()
    errors = np.abs(np.asarray(opened.convert("RGB")).astype(int) - enlarged)
    assert errors.mean() <= LOSS[image_format]
    assert opened.info["icc_profile"] if image_format is not ImageFormat.png else opened.info["srgb"] == 0
    again = tmp_path / "again"
    write(again, picture, enlarged, image_format=image_format, quality=100)
    assert again.read_bytes() == (tmp_path / "sr").read_bytes()


@pytest.mark.parametrize("image_format", ALL)
def test_metadata_is_kept_without_what_would_be_wrong(tmp_path: Path, image_format: ImageFormat) -> None:
    profile = make_display_p3()
    picture, enlarged = make_result(profile=profile)
    opened = write(tmp_path / "sr", picture, enlarged, image_format=image_format)
    exif = opened.getexif()
    assert exif[MAKE] == "A camera"
    assert exif.get(ORIENTATION, 1) == 1
    assert exif.get_ifd(1) == {}
    assert exif.get_ifd(GPS)[1] == "N"
    details = exif.get_ifd(0x8769)
    assert (float(details[EXPOSURE]), details[PIXEL_WIDTH]) == (0.01, SCALE * 30)
    assert opened.info["icc_profile"] == profile
    xmp = opened.info.get("xmp") or opened.info.get("XML:com.adobe.xmp") or opened.tag_v2[700]
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    assert b'xmp:Rating="5"' in xmp
    assert b'tiff:Orientation="1"' in xmp
    dropped = write(tmp_path / "sr", picture, enlarged, image_format=image_format, metadata=Metadata.drop)
    assert not {MAKE, GPS} & set(dropped.getexif())
    assert b"camera" not in (tmp_path / "sr").read_bytes()
    assert dropped.info["icc_profile"] == profile  # without it the colors would be wrong


def test_damaged_exif_is_left_out() -> None:
    assert clean_exif(b"Exif\0\0II*\0\xff\xff\xff\x7f", 10, 10) == b""
    assert clean_exif(b"no exif at all", 10, 10) == b""
    assert clean_exif(b"", 10, 10) == b""


@pytest.mark.parametrize("image_format", ALL)
def test_transparency_is_enlarged_with_the_image(tmp_path: Path, image_format: ImageFormat) -> None:
    picture, enlarged = make_result(alpha=True)
    opened = write(tmp_path / "sr", picture, enlarged, image_format=image_format, quality=100)
    assert picture.alpha is not None
    large = Image.fromarray(picture.alpha.astype(np.float32)).resize((60, 40), Image.Resampling.BICUBIC)
    alpha = np.rint(np.asarray(large)).clip(0, 255)
    if image_format is ImageFormat.jpeg:
        assert opened.mode == "RGB"
        white = enlarged * alpha[..., None] / 255 + 255 - alpha[..., None]
        assert np.abs(np.asarray(opened) - white).max() <= 12
        return
    assert opened.mode == "RGBA"
    tolerance = 2 if image_format is ImageFormat.avif else 1
    assert np.abs(np.asarray(opened)[..., 3] - alpha).max() <= tolerance


@pytest.mark.parametrize("image_format", [ImageFormat.png, ImageFormat.tiff])
@pytest.mark.parametrize("alpha", [False, True], ids=["rgb", "rgba"])
def test_16_bits_are_written_as_16(tmp_path: Path, image_format: ImageFormat, alpha: bool) -> None:
    """Pillow reads 8 of the 16 bits of color only, so the samples are read by this test itself."""
    picture, enlarged = make_result(bits=16, alpha=alpha)
    opened = write(tmp_path / "sr", picture, enlarged, image_format=image_format, depth=Depth.keep)
    channels = 4 if alpha else 3
    data = (tmp_path / "sr").read_bytes()
    samples = read_png_16(data, channels) if image_format is ImageFormat.png else read_tiff_16(opened, data, channels)
    np.testing.assert_array_equal(samples[..., :3], enlarged)
    lossy = SrOptions(image_format=ImageFormat.jpeg, depth=Depth.keep)
    assert sr_files.bits_of(picture, lossy) == 8


def read_png_16(data: bytes, channels: int) -> NDArray[np.uint16]:
    """Undoes the deflate and the filter Sub, as RFC 2083 specifies."""
    assert data[24] == 16
    idat, at = b"", 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4])
        if data[at + 4 : at + 8] == b"IDAT":
            idat += data[at + 8 : at + 8 + length]
        at += length + 12
    rows = np.frombuffer(zlib.decompress(idat), np.uint8).reshape(40, -1)
    assert (rows[:, 0] == 1).all()
    samples = rows[:, 1:].reshape(40, 60, 2 * channels).cumsum(1, dtype=np.uint8)
    return samples.view(">u2").astype(np.uint16)


def read_tiff_16(opened: Any, data: bytes, channels: int) -> NDArray[np.uint16]:
    """Undoes the deflate and the horizontal predictor, as TIFF 6.0 specifies."""
    tags = opened.tag_v2
    assert (tags[258], tags[259], tags[317]) == ((16,) * channels, 8, 2)
    strips = [zlib.decompress(data[at : at + size]) for at, size in zip(tags[273], tags[279], strict=True)]
    return np.frombuffer(b"".join(strips), "<u2").reshape(40, 60, channels).cumsum(1, dtype=np.uint16)


def test_a_result_that_a_format_cannot_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture, enlarged = make_result()
    monkeypatch.setitem(sr_files.MAX_SIDE, ImageFormat.webp, 59)
    with pytest.raises(ImageRejected, match=r"59 pixels on a side.*format=png"):
        write(tmp_path / "sr", picture, enlarged, image_format=ImageFormat.webp)
    monkeypatch.setattr("imaging.tiff.MAX_BYTES", 1000)
    with pytest.raises(ImageRejected, match="TIFF"):
        write(tmp_path / "sr", picture, enlarged, image_format=ImageFormat.tiff)


def test_hidden_colors_do_not_bleed_in() -> None:
    rng = np.random.default_rng(0)
    alpha = np.zeros((33, 50), np.uint8)
    alpha[5:20, 10:30] = 255
    rgb = np.full((33, 50, 3), (0, 255, 0), np.uint8)  # a green screen under full transparency
    rgb[alpha > 0] = rng.integers(180, 221, (15 * 20, 3))
    filled = fill_transparent(rgb, alpha).astype(int)
    np.testing.assert_array_equal(filled[alpha > 0], rgb[alpha > 0])
    assert filled.min() >= 180
    assert filled.max() <= 220
    assert fill_transparent(rgb, np.full_like(alpha, 255)) is rgb
    assert fill_transparent(rgb, np.zeros_like(alpha)) is rgb


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_bands_of_transparency_have_no_seam(kind: type) -> None:
    alpha: NDArray[Any] = np.random.default_rng(1).integers(0, np.iinfo(kind).max + 1, (23, 17)).astype(kind)
    whole = AlphaEnlarger(alpha, 3, 8).rows(0, 69)
    bands = [AlphaEnlarger(alpha, 3, 8).rows(start, min(start + 7, 69)) for start in range(0, 69, 7)]
    np.testing.assert_array_equal(np.concatenate(bands), whole)
    large = Image.fromarray(alpha.astype(np.float32)).resize((51, 69), Image.Resampling.BICUBIC)
    expected = (np.asarray(large) * (255 / np.iinfo(kind).max)).round().clip(0, 255)
    assert np.abs(whole - expected).max() <= 1

"""Color profiles are applied as an independent computation applies them."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from imaging.color import BT_2020, DISPLAY_P3, ColorConverter, make_profile
from imaging.image_files import check_image, read_picture, read_rgb
from tests.support.images import encode_image, make_picture

# Linear Display P3 (D65) to linear sRGB, as published with CSS Color 4.
P3_TO_SRGB = np.array([[1.2249402, -0.2249402, 0], [-0.0420570, 1.0420570, 0], [-0.0196376, -0.0786361, 1.0982736]])
BT2020_TO_SRGB = np.array(
    [[1.6604910, -0.5876411, -0.0728499], [-0.1245505, 1.1328999, -0.0083494], [-0.0181508, -0.1005789, 1.1187297]]
)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def decode_srgb(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def encode_srgb(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def gray_profile(gamma: float) -> bytes:
    """Returns a minimal ICC profile for gray with a power curve (ICC.1:2001-04)."""

    def text(value: bytes) -> bytes:
        return b"desc" + bytes(4) + struct.pack(">I", len(value) + 1) + value + b"\0" + bytes(79)

    tags = {
        b"desc": text(b"gray"),
        b"wtpt": b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in (0.9642, 1.0, 0.8249))),
        b"kTRC": b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)),
        b"cprt": b"text" + bytes(4) + b"none\0",
    }
    table, data, offset = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        padded = value + bytes(-len(value) % 4)
        table += struct.pack(">4sII", name, offset + len(data), len(value))
        data += padded
    size = offset + len(data)
    head = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02100000, b"mntr", b"GRAY", b"XYZ ") + bytes(12) + b"acsp"
    head += bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + data


def saved(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "image"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("primaries", "matrix"), [(DISPLAY_P3, P3_TO_SRGB), (BT_2020, BT2020_TO_SRGB)])
def test_wide_gamut_is_converted_by_its_matrix(tmp_path: Path, primaries: int, matrix: NDArray[np.float64]) -> None:
    pixels = make_picture(40, 50)
    path = saved(tmp_path, encode_image(pixels, "PNG", icc_profile=make_profile(primaries)))
    expected = encode_srgb(decode_srgb(pixels / 255) @ matrix.T) * 255
    found = read_rgb(path)
    assert np.abs(found - expected).max() <= 1.5
    assert np.abs(found.astype(int) - pixels).max() > 5
    np.testing.assert_array_equal(read_picture(path, keep_color=True).rgb, pixels)
    assert read_picture(path, keep_color=True).profile == make_profile(primaries)
    assert read_picture(path).profile == b""


@pytest.mark.parametrize("channels", [1, 3])
def test_profiles_are_applied_to_all_16_bits(tmp_path: Path, channels: int) -> None:
    import tifffile  # noqa: PLC0415

    pixels = np.random.default_rng(0).integers(0, 65536, (20, 30, channels), np.uint16)
    if channels == 3:
        profile, kind = make_profile(DISPLAY_P3), "rgb"
        expected = encode_srgb(decode_srgb(pixels / 65535) @ P3_TO_SRGB.T)
    else:
        profile, kind = gray_profile(1.8), "minisblack"
        expected = encode_srgb((pixels / 65535) ** (461 / 256))  # as the profile rounds 1.8
    tifffile.imwrite(tmp_path / "image", pixels.squeeze(), photometric=kind, iccprofile=profile)
    found = read_picture(tmp_path / "image", deep=True).rgb
    difference = np.abs(found / 65535 - expected)  # the profile itself rounds its matrix and its curve
    assert difference.mean() < 0.0002
    assert difference.max() < 0.003
    assert len(np.unique(found)) > 500
    assert np.abs(read_rgb(tmp_path / "image") / 255 - expected).mean() < 0.002


def test_gray_profile_is_applied(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint8)[None].repeat(4, 0)
    path = saved(tmp_path, encode_image(ramp, "PNG", icc_profile=gray_profile(1.8)))
    expected = encode_srgb((ramp / 255) ** 1.8) * 255
    assert np.abs(read_rgb(path) - expected[..., None]).max() <= 1.5


def test_gray_image_takes_a_profile_of_rgb(tmp_path: Path) -> None:
    gray = make_picture(20, 30)[..., 0]
    path = saved(tmp_path, encode_image(gray, "JPEG", quality=100, icc_profile=make_profile(DISPLAY_P3)))
    check = check_image(path, max_pixels=10_000)
    assert not check.warnings  # neutral colors are the same in both
    assert np.abs(read_rgb(path).astype(int) - np.asarray(Image.open(path))[..., None]).max() <= 1


def test_srgb_profile_changes_no_pixel(tmp_path: Path) -> None:
    pixels = make_picture(40, 50)
    path = saved(tmp_path, encode_image(pixels, "PNG", icc_profile=SRGB))
    np.testing.assert_array_equal(read_rgb(path), pixels)


@pytest.mark.parametrize("profile", [b"not a profile", SRGB[:200], gray_profile(2.2)])
def test_unusable_profile_is_ignored_with_a_warning(tmp_path: Path, profile: bytes) -> None:
    pixels = make_picture(40, 50)
    path = saved(tmp_path, encode_image(pixels, "PNG", icc_profile=profile))
    assert [warning.code for warning in check_image(path, max_pixels=10_000).warnings] == ["color_profile_ignored"]
    np.testing.assert_array_equal(read_rgb(path), pixels)


def test_transparency_survives_a_profile(tmp_path: Path) -> None:
    rgba = np.dstack([make_picture(20, 30), np.full((20, 30), 77, np.uint8)])
    picture = read_picture(saved(tmp_path, encode_image(rgba, "PNG", icc_profile=make_profile(DISPLAY_P3))))
    assert picture.alpha is not None
    assert (picture.alpha == 77).all()
    opaque = read_rgb(saved(tmp_path, encode_image(rgba[..., :3], "PNG", icc_profile=make_profile(DISPLAY_P3))))
    np.testing.assert_array_equal(picture.rgb, opaque)


def test_cielab_is_what_littlecms_makes_of_it(tmp_path: Path) -> None:
    lab = np.random.default_rng(0).integers((60, 110, 110), (220, 146, 146), (20, 30, 3)).astype(np.uint8)
    image = Image.frombytes("LAB", (30, 20), (lab ^ np.array([0, 128, 128], np.uint8)).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "TIFF")
    transform = ImageCms.buildTransform(
        ImageCms.createProfile("LAB"),
        ImageCms.createProfile("sRGB"),
        "LAB",
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    expected = np.asarray(transform.apply(image))
    # LittleCMS interpolates in a table, coarsely near the border of sRGB; most colors are not there.
    difference = np.abs(read_rgb(saved(tmp_path, buffer.getvalue())).astype(int) - expected)
    assert np.percentile(difference, 97) <= 1
    signed = lab.astype(int) - (0, 128, 128)
    deep = ColorConverter("LAB", b"").to_rgb((signed * (257, 256, 256) + (0, 32768, 32768)).astype(np.uint16))
    assert np.percentile(np.abs(deep / 257 - expected), 97) <= 1

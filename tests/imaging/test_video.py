"""Videos: what is known of them, and their frames, compared with the formulas of ITU-R BT.601, BT.709 and BT.2020."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from config.settings import Settings
from imaging.rejections import ImageRejected
from imaging.video.containers import find_container, is_video
from imaging.video.info import ColorTags
from imaging.video.pixels import from_rgb, to_rgb
from imaging.video.reader import BOTTOM, TOP, VideoReader
from tests.support.images import encode_image
from tests.support.videos import make_frame, write_video

SETTINGS = Settings()
# Weights of red and blue in luma, from the recommendations; by their code in H.273.
WEIGHTS = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}


def encode_yuv(rgb: NDArray[np.float64], matrix: int, bits: int, *, full: bool) -> list[NDArray[np.float64]]:
    """Returns the three planes of R'G'B' (h, w, 3), 0 to 1."""
    red, blue = WEIGHTS[matrix]
    luma = red * rgb[..., 0] + (1 - red - blue) * rgb[..., 1] + blue * rgb[..., 2]
    chroma = [(rgb[..., 2] - luma) / 2 / (1 - blue), (rgb[..., 0] - luma) / 2 / (1 - red)]
    step, top = 2 ** (bits - 8), 2**bits - 1
    if full:
        return [luma * top, *(plane * top + 128 * step for plane in chroma)]
    return [luma * 219 * step + 16 * step, *(plane * 224 * step + 128 * step for plane in chroma)]


def random_colors(seed: int, size: int = 32) -> NDArray[np.float64]:
    return np.random.default_rng(seed).random((size, size, 3))


@pytest.mark.parametrize("matrix", WEIGHTS)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("bits", [8, 10])
def test_colors_follow_their_matrix_and_range(matrix: int, bits: int, *, full: bool) -> None:
    rgb = random_colors(matrix)
    kind = np.uint8 if bits == 8 else np.uint16
    planes = [np.clip(plane.round(), 0, 2**bits - 1).astype(kind) for plane in encode_yuv(rgb, matrix, bits, full=full)]
    frame = make_frame(planes, "yuv444p" if bits == 8 else "yuv444p10le")
    pixels = to_rgb(frame, ColorTags(matrix, 1, 1, full), bits)
    # Rounding of the planes is up to 2 levels of 8 bits in a color, ours at most one more.
    error = np.abs(pixels / (255 if bits == 8 else 65535) - rgb).max() * 255
    assert error < (3 if bits == 8 else 0.75)
    assert pixels.dtype == kind


@pytest.mark.parametrize("matrix", WEIGHTS)
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_encoded_colors_follow_the_matrix(matrix: int, kind: type[np.uint8] | type[np.uint16]) -> None:
    bits, top = (8, 255) if kind is np.uint8 else (10, 65535)
    flat = random_colors(matrix, 4).repeat(8, 0).repeat(8, 1)
    pixels: NDArray[Any] = (flat * top).round().astype(kind)
    frame = from_rgb(pixels, ColorTags(matrix, 1, 1, False))
    expected = encode_yuv(flat, matrix, bits, full=False)
    for plane, full in zip(frame.planes, expected, strict=True):
        samples: NDArray[Any] = np.frombuffer(bytes(plane), kind).reshape(plane.height, -1)[:, : plane.width]
        step = full.shape[0] // plane.height
        inner = slice(4 // step, None, 8 // step)  # away from the edges of colors
        assert np.abs(samples[inner, inner] - full[::step, ::step][inner, inner]).max() < 1
    assert frame.format.name == ("yuv420p" if bits == 8 else "yuv420p10le")


def test_odd_sizes_grow_by_their_border() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    frame = from_rgb(pixels, ColorTags(1, 1, 1, False))
    assert (frame.width, frame.height) == (10, 8)
    luma = np.frombuffer(bytes(frame.planes[0]), np.uint8).reshape(8, -1)[:, :10]
    assert np.array_equal(luma[:, 9], luma[:, 8])
    assert np.array_equal(luma[7], luma[6])


def test_chroma_is_interpolated() -> None:
    luma = np.full((16, 32), 120, np.uint8)
    blue = np.full((8, 16), 128, np.uint8)
    blue[:, 8:] = 160
    frame = make_frame([luma, blue, np.full((8, 16), 128, np.uint8)], "yuv420p")
    row = to_rgb(frame, ColorTags(1, 1, 1, False), 8)[8, :, 2].astype(int)
    assert len(set(row)) > 2
    assert (np.diff(row) >= 0).all()


def make_scene(seed: int, height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    blocks = np.random.default_rng(seed).integers(20, 236, (height // 8, width // 8, 3), dtype=np.uint8)
    return blocks.repeat(8, 0).repeat(8, 1)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.mov", "libx264"), ("a.avi", "ffv1")]
)
def test_frames_and_facts_of_each_container(tmp_path: Path, name: str, codec: str) -> None:
    frames = [make_scene(number) for number in range(6)]
    pixel_format = "bgr0" if codec == "ffv1" else "yuv444p"
    options: dict[str, str] | None = {} if codec == "ffv1" else None
    path = write_video(tmp_path / name, frames, codec=codec, pixel_format=pixel_format, options=options)
    assert is_video(path)
    with VideoReader(path, SETTINGS) as reader:
        info = reader.info
        assert (info.width, info.height, info.bits, info.interlaced, info.rotation) == (64, 48, 8, False, 0)
        assert info.rate == pytest.approx(25)
        seen = reader.look(16)
        assert [round(info.to_seconds(frame.stamp) * 25) for frame in seen] == list(range(6))
        assert reader.at_end
        for number, expected in enumerate(frames):
            assert np.abs(reader.take(number).astype(int) - expected).max() <= 3
        reader.restart()
        reader.seek(seen[3].stamp)
        found = reader.skip_to(seen[3].stamp)
        assert found
        assert found.stamp == seen[3].stamp
        assert np.abs(reader.take(0).astype(int) - frames[3]).max() <= 3


def find_matrix(path: Path) -> list[int]:
    """Returns a, b, c, d of the display matrix in an MP4's last track header (ISO 14496-12, 8.3.2)."""
    data = path.read_bytes()
    at = data.rindex(b"tkhd") + 4
    start = at + 40 if data[at] == 0 else at + 52
    values = np.frombuffer(data[start : start + 36], ">i4")
    return [int(values[place]) >> 16 for place in (0, 1, 3, 4)]


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_is_applied_as_the_file_says(tmp_path: Path, rotation: int) -> None:
    scene = make_scene(0)
    path = write_video(tmp_path / "a.mp4", [scene] * 3, rotation=rotation, pixel_aspect=Fraction(4, 3))
    a, b, c, d = find_matrix(path)
    # A pixel at (x, y) is shown at (a x + c y, b x + d y), moved to positive coordinates.
    y, x = np.mgrid[: scene.shape[0], : scene.shape[1]]
    shown_x, shown_y = a * x + c * y, b * x + d * y
    shown_x, shown_y = shown_x - shown_x.min(), shown_y - shown_y.min()
    expected = np.zeros((shown_y.max() + 1, shown_x.max() + 1, 3), int)
    expected[shown_y, shown_x] = scene
    with VideoReader(path, SETTINGS) as reader:
        reader.look(1)
        pixels = reader.take(0).astype(int)
        aspect = (3, 4) if rotation != 180 else (4, 3)
        assert reader.info.pixel_aspect == aspect
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected).max() <= 3


def test_fields_of_interlaced_video_are_apart(tmp_path: Path) -> None:
    """The two fields show different pictures, also in their colors."""
    top, bottom = make_scene(1), make_scene(2)
    woven = [
        np.stack([plane[::2], other[::2]], 1).reshape(plane.shape)
        for plane, other in zip(_subsample(top), _subsample(bottom), strict=True)
    ]
    frames = [make_frame(woven, "yuv420p") for _ in range(3)]
    interlaced = {"crf": "0", "x264-params": "tff=1"}
    path = write_video(tmp_path / "a.mkv", frames, pixel_format="yuv420p", options=interlaced)
    with VideoReader(path, SETTINGS) as reader:
        assert reader.info.interlaced
        reader.look(1)
        for field, scene in ((TOP, top), (BOTTOM, bottom)):
            pixels = reader.take(0, field).astype(int)
            assert pixels.shape == (24, 64, 3)
            inner = (slice(2, None, 4), slice(4, None, 8))  # centers of blocks
            assert np.abs(pixels[inner] - scene[::2][inner]).max() <= 4


def _subsample(rgb: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    planes = encode_yuv(rgb / 255, 6, 8, full=False)
    return [planes[0].round().astype(np.uint8), *(plane[::2, ::2].round().astype(np.uint8) for plane in planes[1:])]


def test_tags_and_depth_are_read(tmp_path: Path) -> None:
    scene = make_scene(0, 720, 1280)
    untagged = write_video(tmp_path / "hd.mkv", [scene], pixel_format="yuv420p", options={"preset": "ultrafast"})
    tags = ColorTags(9, 9, 16, False)
    deep = write_video(
        tmp_path / "deep.mkv", [make_scene(0)], pixel_format="yuv420p10le", tags=tags, options={"preset": "ultrafast"}
    )
    with VideoReader(untagged, SETTINGS) as reader:
        assert reader.info.colors == (1, 1, 1, False)  # as players take HD
    with VideoReader(deep, SETTINGS) as reader:
        assert reader.info.colors == tags
        assert reader.info.colors.is_hdr
        assert reader.info.bits == 10
        reader.look(1)
        assert reader.take(0).dtype == np.uint16


@pytest.mark.parametrize("keep", [200, 3000])
def test_damaged_videos_are_refused_or_end_early(tmp_path: Path, keep: int) -> None:
    path = write_video(tmp_path / "a.mkv", [make_scene(number) for number in range(8)])
    path.write_bytes(path.read_bytes()[:keep])
    try:
        with VideoReader(path, SETTINGS) as reader:
            assert len(reader.look(16)) < 8
    except ImageRejected as error:
        assert error.code in ("damaged_video", "no_frames")  # noqa: PT017 - either outcome is right


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    for name, data in {"a.png": encode_image(make_scene(0)), "b.avif": encode_image(make_scene(0), "AVIF")}.items():
        (tmp_path / name).write_bytes(data)
        assert find_container(data) is None
        with pytest.raises(ImageRejected) as refused:
            VideoReader(tmp_path / name, SETTINGS)
        assert refused.value.code == "not_a_video"

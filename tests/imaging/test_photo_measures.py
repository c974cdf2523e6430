"""What is wrong with photos is found in their pixels, and nothing in ordinary ones."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from imaging import photo_measures
from imaging.photo_findings import judge
from imaging.photo_measures import crop_bars, find_bars, measure_photo
from tests.support.images import encode_image
from tests.support.scenes import make_scene

Pixels = NDArray[np.uint8]
BICUBIC, LANCZOS = Image.Resampling.BICUBIC, Image.Resampling.LANCZOS


@pytest.fixture(scope="module")
def scene() -> Pixels:
    return make_scene(480, 576)


def codes(pixels: Pixels, role: str = "hr") -> list[str]:
    return [finding.code for finding in judge(measure_photo(pixels), role)]


def enlarge(pixels: Pixels, factor: float, resample: Image.Resampling = BICUBIC) -> Pixels:
    height, width = pixels.shape[:2]
    small = Image.fromarray(pixels).resize((round(width / factor), round(height / factor)), BICUBIC)
    return np.asarray(small.resize((width, height), resample))


def compress(pixels: Pixels, quality: int) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(encode_image(pixels, "JPEG", quality=quality))).convert("RGB"))


def add_noise(pixels: Pixels, std: float) -> Pixels:
    noise = np.random.default_rng(1).normal(0, std, pixels.shape)
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("role", ["lr", "hr"])
def test_nothing_is_wrong_with_an_ordinary_photo(scene: Pixels, role: str) -> None:
    assert codes(scene, role) == []
    assert codes(compress(scene, 90), role) == []


@pytest.mark.parametrize("size", [(32, 32), (48, 200), (128, 128)])
def test_small_real_photos_are_measured(size: tuple[int, int]) -> None:
    assert codes(make_scene(*size), "lr") == []


def test_a_soft_noisy_real_photo_is_an_ordinary_one(scene: Pixels) -> None:
    """The blur and noise of a camera are what a training learns."""
    soft = np.asarray(Image.fromarray(scene).filter(ImageFilter.GaussianBlur(1.2)))
    for photo in (soft, add_noise(soft, 10), compress(add_noise(soft, 4), 60)):
        assert codes(photo, "lr") == []


@pytest.mark.parametrize("factor", [4 / 3, 1.5, 1.7, 2, 3, 4])
def test_an_enlargement_and_its_factor_are_found(scene: Pixels, factor: float) -> None:
    measures = measure_photo(enlarge(scene, factor))
    assert measures.enlargement == pytest.approx(factor, rel=0.03)
    assert [finding.code for finding in judge(measures, "lr")] == ["enlarged"]


def test_an_enlargement_is_found_after_compression_and_noise(scene: Pixels) -> None:
    assert codes(compress(enlarge(scene, 3), 95), "lr") == ["enlarged"]
    assert codes(add_noise(enlarge(scene, 3), 1), "lr") == ["enlarged"]
    assert codes(enlarge(scene, 1.5, LANCZOS), "lr") == ["enlarged"]


def test_strong_compression_is_no_enlargement(scene: Pixels) -> None:
    for quality in (30, 50, 75):
        assert "enlarged" not in codes(compress(scene, quality), "lr")


def test_a_large_enlarged_photo_is_found_in_parts_of_it(scene: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sides were enlarged by factors that differ a little, because the small photo had whole pixels."""
    monkeypatch.setattr(photo_measures, "WHOLE", 100_000)
    assert codes(enlarge(scene, 1.7), "lr") == ["enlarged"]


def test_a_clean_photo_without_a_sharp_place_is_blurred(scene: Pixels) -> None:
    blurred = np.asarray(Image.fromarray(scene).filter(ImageFilter.GaussianBlur(2)))
    assert codes(blurred) == ["blurred"]
    half_sharp = blurred.copy()
    half_sharp[:, :200] = scene[:, :200]
    assert codes(half_sharp) == []


def test_a_noisy_clean_photo_is_found(scene: Pixels) -> None:
    measures = measure_photo(add_noise(scene, 10))
    assert measures.noise == pytest.approx(10, rel=0.15)
    assert [finding.code for finding in judge(measures, "hr")] == ["noisy"]


def test_a_compressed_clean_photo_is_found(scene: Pixels) -> None:
    assert codes(compress(scene, 30)) == ["compressed"]
    assert [finding.code for finding in judge(measure_photo(scene), "hr", quality=60)] == ["compressed"]
    assert judge(measure_photo(compress(scene, 30)), "hr", quality=90) == []  # the file knows better


@pytest.mark.parametrize("role", ["lr", "hr"])
def test_an_interlaced_frame_is_found(scene: Pixels, role: str) -> None:
    frame = scene.copy()
    frame[1::2] = np.roll(scene, 6, axis=1)[1::2]
    assert codes(frame, role) == ["interlaced"]
    assert codes(np.ascontiguousarray(frame.transpose(1, 0, 2)), role) == []  # upright stripes are no fields


@pytest.mark.parametrize("quality", [None, 80])
def test_black_bars_are_found_and_cut_off(scene: Pixels, quality: int | None) -> None:
    top, bottom = np.zeros((60, 576, 3), np.uint8), np.zeros((60, 576, 3), np.uint8)
    framed = np.concatenate([top, scene, bottom])
    framed = framed if quality is None else compress(framed, quality)
    assert codes(framed, "lr") == ["black_bars"]
    assert find_bars(framed) == (64, 62, 0, 0)  # with soft edges; what is left begins with a JPEG block
    np.testing.assert_array_equal(crop_bars(framed, find_bars(framed)), framed[64:-62])


def test_bars_at_the_sides_are_found(scene: Pixels) -> None:
    bar = np.zeros((480, 40, 3), np.uint8)
    assert find_bars(np.concatenate([bar, scene, bar], axis=1)) == (0, 0, 48, 42)


def test_a_dark_background_is_no_bar() -> None:
    rows, columns = np.mgrid[:300, :300]
    night = np.full((300, 300, 3), 5, np.uint8)
    night[(rows - 150) ** 2 + (columns - 150) ** 2 < 80**2] = 200
    assert find_bars(night) == (0, 0, 0, 0)
    one_bar = make_scene(300, 300).copy()
    one_bar[:60] = 0
    assert find_bars(one_bar) == (0, 0, 0, 0)


def test_gray_and_flat_photos_are_found(scene: Pixels) -> None:
    gray = np.asarray(Image.fromarray(scene).convert("L").convert("RGB"))
    assert codes(gray, "lr") == ["gray"]
    assert codes(gray, "hr") == []
    flat = np.full((200, 300, 3), (70, 80, 90), np.uint8)
    assert codes(flat, "lr") == codes(flat, "hr") == ["flat"]
    assert measure_photo(flat).perceptual_hash == ""


@pytest.mark.parametrize(
    "change",
    [
        lambda pixels: np.asarray(Image.fromarray(pixels).resize((144, 120), BICUBIC)),
        lambda pixels: compress(pixels, 50),
        lambda pixels: add_noise(pixels, 8),
    ],
    ids=["smaller", "compressed", "noisy"],
)
def test_the_same_photo_has_about_the_same_hash(scene: Pixels, change: Callable[[Pixels], Pixels]) -> None:
    def count_bits(other: Pixels) -> int:
        first, second = (int(measure_photo(pixels).perceptual_hash, 16) for pixels in (scene, other))
        return (first ^ second).bit_count()

    assert count_bits(change(scene)) <= 6
    assert count_bits(make_scene(480, 576, seed=1)) >= 30

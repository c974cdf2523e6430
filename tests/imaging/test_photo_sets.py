"""What is said about the photos of a dataset together."""

from __future__ import annotations

import io
from dataclasses import replace

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from imaging.photo_findings import Finding, jpeg_quality
from imaging.photo_sets import CheckedPhoto, add_repeats, find_left_out, find_mixtures

ENLARGED, FLAT, GRAY = Finding("enlarged", 2.0), Finding("flat"), Finding("gray")


def make_photo(key: str, role: str = "lr", look: int = 0, **values: object) -> CheckedPhoto:
    photo = CheckedPhoto(key, role, f"{key}.png", f"bytes of {key}", f"{look:032x}", ())
    return replace(photo, **values)  # type: ignore[arg-type]


def found(photos: list[CheckedPhoto]) -> dict[str, list[str]]:
    return {photo.key: [finding.code for finding in photo.findings] for photo in add_repeats(photos)}


def test_the_same_photo_as_real_and_clean_is_found() -> None:
    photos = [
        make_photo("a", look=0xFF00 << 64),
        make_photo("b", look=0x0FF0 << 32),
        make_photo("same bytes", "hr", look=2**100 - 1, sha256="bytes of a"),
        make_photo("same look", "hr", look=(0x0FF0 << 32) ^ 0b10101 << 70),
        make_photo("other", "hr", look=2**60 - 1),
    ]
    both = ["real_and_clean"]
    assert found(photos) == {"a": both, "b": both, "same bytes": both, "same look": both, "other": []}


def test_a_repeated_photo_counts_once() -> None:
    photos = [make_photo("first"), make_photo("again", look=1 << 90), make_photo("other", look=2**40 - 1)]
    assert found(photos) == {"first": [], "again": ["duplicate"], "other": []}


def test_photos_without_contrast_look_like_none() -> None:
    assert found([make_photo("a", perceptual_hash=""), make_photo("b", perceptual_hash="")]) == {"a": [], "b": []}


def test_what_most_photos_share_belongs_to_the_device() -> None:
    some = {"a": [ENLARGED], "b": [], "c": [], "d": [GRAY]}
    assert find_left_out(some) == {"a"}
    most = {"a": [ENLARGED], "b": [ENLARGED], "c": [FLAT]}
    assert find_left_out(most) == {"c"}


def test_flat_photos_never_stay() -> None:
    assert find_left_out({"a": [FLAT], "b": [FLAT]}) == {"a", "b"}


def test_mixtures_of_real_photos_are_named() -> None:
    photos = [make_photo(str(n), is_jpeg=True, quality=90) for n in range(8)]
    assert find_mixtures(photos) == []
    others = [make_photo("png"), make_photo("gray", is_jpeg=True, quality=40, findings=(GRAY,))]
    assert [mixture.code for mixture in find_mixtures([*photos[:4], *others])] == [
        "mixed_colors",
        "mixed_formats",
        "mixed_qualities",
    ]
    assert find_mixtures([replace(photo, role="hr") for photo in others]) == []


def test_the_quality_of_a_table_is_that_of_libjpeg() -> None:

    for quality in (20, 49, 50, 75, 90, 95, 100):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8)).save(buffer, "JPEG", quality=quality)
        with JpegImageFile(io.BytesIO(buffer.getvalue())) as image:
            assert abs(jpeg_quality(image.quantization[0]) - quality) <= 1

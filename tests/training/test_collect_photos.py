"""Which files of a package become photos to pretrain on. Nothing is fetched."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from training.estimator.collect_photos import (
    PACKAGES_FILE,
    flat_share,
    load_views,
    prepare,
    read_description,
    read_members,
    sharpness,
    thumbnail,
    view_thumbnails,
)


def make_photo(seed: int, side: int = 520) -> NDArray[np.uint8]:
    """Draws smooth colors with sharp blobs and a little grain."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((side, side))
    y, x = np.mgrid[:side, :side]
    pixels = np.asarray(coarse).astype(np.float64)
    for _ in range(30):
        center, radius = rng.uniform(0, side, 2), rng.uniform(5, 60)
        pixels[np.hypot(y - center[0], x - center[1]) < radius] = rng.uniform(0, 255, 3)
    return np.clip(pixels + rng.normal(0, 1, pixels.shape), 0, 255).astype(np.uint8)


def encode(photo: NDArray[np.uint8], kind: str = "PNG", **options: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, kind, **options or {"compress_level": 0})
    return buffer.getvalue()


def test_sharp_photos_are_kept_and_others_are_not() -> None:
    photo = make_photo(0)
    kept = prepare(encode(photo))
    assert kept is not None
    assert np.array_equal(kept, photo)
    blurred = np.asarray(Image.fromarray(photo).filter(ImageFilter.GaussianBlur(8)))
    assert sharpness(blurred) < sharpness(photo)
    assert prepare(encode(blurred)) is None
    assert prepare(encode(photo[:300, :300])) is None  # too small
    assert prepare(encode(photo, "JPEG", quality=3)) is None  # compressed strongly
    assert prepare(b"no image") is None
    drawing = np.zeros_like(photo)
    drawing[100:200, 50:300] = 200
    assert flat_share(drawing) > 0.9
    assert prepare(encode(drawing)) is None


def test_large_photos_are_averaged_down() -> None:
    photo = make_photo(1)[:480].repeat(5, 0).repeat(5, 1)[:, :2400]  # 2400 pixels, so 2 × 2 become one
    kept = prepare(encode(photo))
    assert kept is not None
    assert kept.shape == (1200, 1200, 3)
    assert np.array_equal(kept[:2, 0], photo[:4:2, 0])


def test_the_same_content_is_found_as_a_part_too(tmp_path: Path) -> None:
    photo, other = make_photo(2, 640), make_photo(3, 640)
    (tmp_path / "judged").mkdir()
    Image.fromarray(photo).save(tmp_path / "judged" / "a.png")
    views = load_views([tmp_path / "judged"])
    smaller = np.asarray(Image.fromarray(photo).resize((400, 400), Image.Resampling.BOX))
    part = np.asarray(Image.fromarray(photo[:, :320]).resize((333, 666)))
    mirrored = np.ascontiguousarray(photo[:, ::-1])
    for same in (photo, smaller, part, mirrored):
        assert (views @ thumbnail(same)).max() > 0.95
    assert (np.stack(view_thumbnails(other)) @ views.T).max() < 0.9


@pytest.mark.parametrize("kind", ["npm", "wheel"])
def test_packages_state_version_and_license(kind: str, tmp_path: Path) -> None:
    if kind == "npm":
        path = tmp_path / "theme-1.2.3.tgz"
        description = json.dumps({"version": "1.2.3", "license": "MIT"}).encode()
        inner = json.dumps({"version": "9", "license": "GPL"}).encode()
        files = {"package/package.json": description, "package/dep/package.json": inner, "package/a.jpg": b"jpeg"}
        with tarfile.open(path, "w:gz") as archive:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    else:
        path = tmp_path / "theme-1.2.3-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr("theme-1.2.3.dist-info/METADATA", "Name: theme\nVersion: 1.2.3\nLicense: MIT\n")
            wheel.writestr("theme/a.jpg", b"jpeg")
    members = list(read_members(path))
    described = [found for name, content in members if (found := read_description(name, content))]
    assert described == [("1.2.3", "MIT")]
    assert any(name.endswith("a.jpg") for name, _ in members)


def test_every_listed_package_has_a_registry_and_a_name() -> None:
    lines = [line.split() for line in PACKAGES_FILE.read_text().splitlines() if not line.startswith("#")]
    assert len(lines) > 40
    assert {line[0] for line in lines} == {"npm", "pip"}
    assert len({line[1] for line in lines}) == len(lines)

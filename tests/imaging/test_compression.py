"""What a file's header says about its compression, against what Pillow says."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from skimage import data

from imaging.compression import FileCompression, read_compression

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
OWN = [[3 + n for n in range(64)], [9 + 2 * n for n in range(64)]]


def write(folder: Path, *, pixels: np.ndarray[Any, Any] = PIXELS, orientation: int = 1, **options: Any) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = folder / "photo"
    Image.fromarray(pixels).save(path, "JPEG", exif=exif, **options)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tables_sampling_and_orientation_are_read(orientation: int, tmp_path: Path) -> None:
    subsampling = orientation % 3
    path = write(tmp_path, orientation=orientation, qtables=OWN, subsampling=subsampling, progressive=orientation > 4)
    found = read_compression(path)
    assert found is not None
    assert [list(table) for table in found.tables] == [OWN[0], OWN[1], OWN[1]]
    assert found.sampling == ((1, 1), (2, 1), (2, 2))[subsampling]
    assert (found.orientation, found.progressive, found.color) == (orientation, orientation > 4, "ycbcr")
    assert FileCompression.from_json(found.to_json()) == found


def test_gray_and_standard_files_are_read(tmp_path: Path) -> None:
    found = read_compression(write(tmp_path, pixels=PIXELS[:, :, 0], quality=70))
    assert found is not None
    assert (len(found.tables), found.sampling, found.color) == (1, (1, 1), "gray")
    with Image.open(tmp_path / "photo") as image:
        assert isinstance(image, JpegImageFile)
        assert list(found.tables[0]) == list(image.quantization[0])


def test_other_files_say_nothing(tmp_path: Path) -> None:
    for file_format, mode in (("PNG", "RGB"), ("WEBP", "RGB"), ("JPEG", "CMYK")):
        path = tmp_path / file_format
        Image.fromarray(PIXELS).convert(mode).save(path, file_format, lossless=True)
        assert read_compression(path) is None


@pytest.mark.parametrize("quality", [10, 40, 75, 90])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_the_quality_of_lossy_webp_is_read(quality: int, has_alpha: bool, tmp_path: Path) -> None:
    picture = Image.fromarray(data.chelsea()).convert("RGBA" if has_alpha else "RGB")
    if has_alpha:
        picture.putalpha(100)
    picture.save(tmp_path / "photo", "WEBP", quality=quality)
    found = read_compression(tmp_path / "photo")
    assert found is not None
    assert found.codec == "webp"
    assert found.quality == pytest.approx(quality, abs=6)
    content = (tmp_path / "photo").read_bytes()
    for length in range(0, 200, 3):
        (tmp_path / "cut").write_bytes(content[:length])
        read_compression(tmp_path / "cut")


@pytest.mark.parametrize("quality", [10, 33, 60, 85, 97])
@pytest.mark.parametrize(("size", "subsampling"), [((40, 30), "4:2:0"), ((451, 300), "4:4:4"), ((4200, 70), "4:2:0")])
def test_the_quality_of_an_avif_is_read(quality: int, size: tuple[int, int], subsampling: str, tmp_path: Path) -> None:
    """Also with several tiles, which wide images have."""
    picture = Image.fromarray(data.chelsea()).resize(size)
    picture.save(tmp_path / "photo", "AVIF", quality=quality, subsampling=subsampling, speed=10)
    found = read_compression(tmp_path / "photo")
    assert found is not None
    assert found.codec == "avif"
    assert found.quality == pytest.approx(quality, abs=1)


@pytest.mark.parametrize("quality", [0, 33, 60, 85])
@pytest.mark.parametrize(("size", "options"), [((40, 30), {}), ((451, 300), {"chroma": 444}), ((64, 64), {"bits": 10})])
def test_the_quality_of_a_heic_is_read(
    quality: int, size: tuple[int, int], options: dict[str, int], tmp_path: Path
) -> None:
    picture = Image.fromarray(data.chelsea()).resize(size)
    heif = pillow_heif.from_pillow(picture)
    if options.pop("bits", 8) > 8:
        deep = np.asarray(picture).astype(np.uint16) * 257
        heif = pillow_heif.from_bytes("RGB;16", size, deep.tobytes())
    heif.save(tmp_path / "photo", quality=quality, **options)
    found = read_compression(tmp_path / "photo")
    assert found is not None
    assert found.codec == "heic"
    assert found.quality == pytest.approx(quality, abs=1)


def test_a_damaged_heic_says_nothing_or_the_truth(tmp_path: Path) -> None:
    path = tmp_path / "photo"
    pillow_heif.from_pillow(Image.fromarray(data.chelsea()).resize((64, 64))).save(path, quality=50)
    content = path.read_bytes()
    for at in range(0, 1000, 3):
        path.write_bytes(content[:at])
        read_compression(path)
        path.write_bytes(content[:at] + b"\xff\xff" + content[at + 2 :])
        read_compression(path)


def test_a_damaged_or_lossless_avif_says_nothing_or_the_truth(tmp_path: Path) -> None:
    path = tmp_path / "photo"
    Image.fromarray(data.chelsea()).save(path, "AVIF", quality=100, subsampling="4:4:4", speed=10)
    assert read_compression(path) is None
    Image.fromarray(data.chelsea()).save(path, "AVIF", quality=60, speed=10)
    content = path.read_bytes()
    for at in range(0, 600, 3):
        path.write_bytes(content[:at])
        read_compression(path)
        path.write_bytes(content[:at] + b"\xff\xff" + content[at + 2 : 1000])
        read_compression(path)


def test_damaged_headers_say_nothing_or_the_truth(tmp_path: Path) -> None:
    """Cut off or changed anywhere, a header is never an error, and takes no time."""
    content, rng = write(tmp_path, orientation=6, qtables=OWN).read_bytes(), np.random.default_rng(1)
    path = tmp_path / "damaged"
    for length in range(0, 900, 7):
        path.write_bytes(content[:length])
        read_compression(path)
    for _ in range(300):
        changed = bytearray(content)
        for at in rng.integers(0, 900, 3):
            changed[at] = rng.integers(256)
        path.write_bytes(changed)
        read_compression(path)
    path.write_bytes(b"\xff\xd8" + b"\xff" * 100_000)
    assert read_compression(path) is None
    buffer = io.BytesIO(content)
    assert Image.open(buffer).size == (56, 40)

"""A hostile image can crash only its decoder process."""

from __future__ import annotations

import io
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from config.settings import Settings
from imaging.decoder_pool import DecoderPool
from imaging.image_files import check_image, read_picture, read_rgb
from imaging.rejections import ImageRejected
from tests.support.images import collect_frames, encode_image, make_picture, make_png


@pytest.fixture(scope="module", params=[2])
def decoders(request: pytest.FixtureRequest) -> Iterator[DecoderPool]:
    """A pool that allows `request.param` CPU seconds per image."""
    opened = DecoderPool(Settings(decode_seconds=request.param, max_image_pixels=20_000_000))
    yield opened
    opened.close()
    assert not processes()


impatient = pytest.mark.parametrize("decoders", [0.2], indirect=True)


def processes() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if "imaging.decoder_process" in child.cmdline():
                found.append(child)
    return found


def saved(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "image"
    path.write_bytes(data)
    return path


def many_scans(side: int, scans: int) -> bytes:
    """Returns a progressive JPEG that repeats a scan; the decoder passes over the whole image for each."""
    data = encode_image(np.full((side, side, 3), 128, np.uint8), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * (scans - data[:last].count(b"\xff\xda")) + data[-2:]


def vast_tile() -> bytes:
    """Returns a TIFF of 8 × 8 pixels in one deflated tile of 1.8 gigabytes."""
    tags = [
        (256, 3, 1, 8),
        (257, 3, 1, 8),
        (258, 3, 1, 8),
        (259, 3, 1, 8),
        (262, 3, 1, 1),
        (277, 3, 1, 1),
        (322, 4, 1, 42_000),
        (323, 4, 1, 42_000),
        (324, 4, 1, 8),
        (325, 4, 1, 100),
    ]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(200)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
def test_pixels_are_those_of_read_rgb(tmp_path: Path, decoders: DecoderPool, file_format: str) -> None:
    path = saved(tmp_path, encode_image(make_picture(33, 47), file_format))
    pixels = decoders.read_rgb(path)
    np.testing.assert_array_equal(pixels, read_rgb(path))
    pixels[:] = 0  # the array is writable
    assert decoders.check(path) == check_image(path, max_pixels=20_000_000)
    assert decoders.count_pixels(path) == 33 * 47


@pytest.mark.parametrize("alpha", [False, True])
def test_pictures_are_those_of_read_picture(tmp_path: Path, decoders: DecoderPool, alpha: bool) -> None:
    pixels = np.dstack([make_picture(33, 47), np.full((33, 47), 9, np.uint8)]) if alpha else make_picture(33, 47)
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    path = saved(tmp_path, encode_image(pixels, "PNG", exif=exif))
    expected, picture = read_picture(path), decoders.read_picture(path)
    np.testing.assert_array_equal(picture.rgb, expected.rgb)
    assert (picture.alpha is not None) == alpha
    if picture.alpha is not None:
        np.testing.assert_array_equal(picture.alpha, pixels[..., 3])
    assert b"A camera" in picture.exif
    assert picture[2:] == expected[2:]


def test_frames_are_those_of_read_frames(tmp_path: Path, decoders: DecoderPool) -> None:
    buffer = io.BytesIO()
    images = [Image.new("RGB", (20, 10), (value, 0, 0)) for value in (0, 100, 200)]
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:])
    path = saved(tmp_path, buffer.getvalue())
    expected = collect_frames(path, start=1)
    assert decoders.read_frames(path, 1) == expected
    assert len(expected) == 2
    assert decoders.read_frames(path, 3) == []


def test_large_images_are_decoded_one_at_a_time(decoders: DecoderPool, monkeypatch: pytest.MonkeyPatch) -> None:
    decoding, most = 0, 0

    def send(request: dict[str, object], file: Path) -> tuple[dict[str, object], int]:
        nonlocal decoding, most
        if not request["large"]:
            return {"large": True}, -1
        decoding += 1
        most = max(most, decoding)
        time.sleep(0.02)
        decoding -= 1
        return {"pixels": 200_000_000}, -1

    monkeypatch.setattr(decoders, "_send", send)
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(decoders.count_pixels, [Path("x")] * 8)) == [200_000_000] * 8
    assert most == 1


def test_thumbnail_is_a_small_webp(tmp_path: Path, decoders: DecoderPool) -> None:
    path = saved(tmp_path, encode_image(make_picture(300, 600), "JPEG"))
    small = Image.open(io.BytesIO(decoders.thumbnail(path)))
    assert (small.format, small.size) == ("WEBP", (256, 128))


@impatient
def test_hostile_image_gets_no_thumbnail(tmp_path: Path, decoders: DecoderPool) -> None:
    for hostile, code, message in (
        (vast_tile(), "undecodable_image", "tiles"),
        (many_scans(4000, 200), "undecodable_image", "takes too long"),
        (make_png(64, 64)[:-200], "corrupt_image", "cut off"),
    ):
        with pytest.raises(ImageRejected, match=message) as caught:
            decoders.thumbnail(saved(tmp_path, hostile))
        assert caught.value.code == code


def test_rejections_have_codes(tmp_path: Path, decoders: DecoderPool) -> None:
    for data, code in ((b"", "empty_file"), (b"text", "not_an_image"), (make_png(64, 64)[:-200], "corrupt_image")):
        with pytest.raises(ImageRejected) as caught:
            decoders.read_rgb(saved(tmp_path, data))
        assert caught.value.code == code
    with pytest.raises(FileNotFoundError):
        decoders.read_rgb(tmp_path / "missing")


@impatient
def test_slow_image_is_rejected(tmp_path: Path, decoders: DecoderPool) -> None:
    # 200 scans are allowed, but take seconds. More are counted and rejected.
    for scans, message in ((200, "takes too long"), (3000, "more than 200 scans")):
        path = saved(tmp_path, many_scans(4000, scans))
        assert path.stat().st_size < 10_000_000
        with pytest.raises(ImageRejected, match=message) as caught:
            decoders.read_rgb(path)
        assert caught.value.code == "undecodable_image"
    assert decoders.read_rgb(saved(tmp_path, make_png(20, 20))).shape == (20, 20, 3)


def test_image_with_a_huge_tile_is_rejected(tmp_path: Path, decoders: DecoderPool) -> None:
    with pytest.raises(ImageRejected, match="tiles"):
        decoders.read_rgb(saved(tmp_path, vast_tile()))


def test_large_canvas_is_rejected_by_the_header(tmp_path: Path, decoders: DecoderPool) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "WEBP", lossless=True)
    data = bytearray(buffer.getvalue())
    bits = struct.unpack_from("<I", data, 21)[0]
    struct.pack_into("<I", data, 21, (bits & ~0xFFFFFFF) | 16382 | (16382 << 14))
    for ask in (decoders.check, decoders.read_rgb):
        with pytest.raises(ImageRejected) as caught:
            ask(saved(tmp_path, bytes(data)))
        assert caught.value.code == "image_too_large"


@pytest.mark.parametrize("sides", [(5000, 4001), (30_000, 30_000)])
def test_any_excess_of_pixels_has_the_same_code(tmp_path: Path, decoders: DecoderPool, sides: tuple[int, int]) -> None:
    """Pillow warns above its limit and raises above twice its limit. Each method checks both."""
    data = bytearray(make_png(16, 16))
    struct.pack_into(">II", data, 16, *sides)
    struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    for ask in (decoders.check, decoders.count_pixels, decoders.read_rgb, decoders.thumbnail):
        with pytest.raises(ImageRejected) as caught:
            ask(saved(tmp_path, bytes(data)))
        assert caught.value.code == "image_too_large", ask


def test_killed_decoder_is_restarted(tmp_path: Path, decoders: DecoderPool) -> None:
    path = saved(tmp_path, encode_image(make_picture(500, 500), "PNG"))
    expected = read_rgb(path)
    decoders.read_rgb(path)
    idle, crashes = processes(), decoders.crashes
    for process in idle:
        process.kill()
    np.testing.assert_array_equal(decoders.read_rgb(path), expected)
    assert decoders.crashes == crashes + 1, "only one of the dead was needed"
    assert not {process.pid for process in idle} & {process.pid for process in processes()}

    for process in (busy := processes()):
        process.suspend()
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(decoders.read_rgb, path)
        with pytest.raises(TimeoutError):
            pending.result(0.2)
        for process in busy:
            process.kill()
        np.testing.assert_array_equal(pending.result(), expected)


def test_many_threads_share_the_pool(tmp_path: Path, decoders: DecoderPool) -> None:
    paths = []
    for number in range(8):
        path = tmp_path / str(number)
        path.write_bytes(make_png(40 + number, 50, number))
        paths.append(path)
    wrong: list[Path] = []

    def ask(path: Path) -> None:
        if not np.array_equal(decoders.read_rgb(path), read_rgb(path)):
            wrong.append(path)

    threads = [threading.Thread(target=ask, args=(path,)) for path in paths * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(processes()) <= decoders.processes

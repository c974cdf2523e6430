"""How often checks of photos find what is wrong, and how often they complain about ordinary photos.

    python -m bench.photo_checks --clean ../shared/photos/hr --real ../shared/photos/real_lr --cameras ../shared/bench

Each folder's photos are checked as they are (false alarms), and in versions that are wrong in one way (hits). With
--cameras, the clean photos are also shot by the blind cameras of cameras.py, whose photos must stay real photos.
Prints a table for docs/experiments and the time of a check.
"""

from __future__ import annotations

import argparse
import importlib
import io
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from imaging.image_files import read_rgb
from imaging.photo_findings import judge
from imaging.photo_measures import measure_photo

Pixels = NDArray[np.uint8]
MAX_SIDE = 1600
CODES = ("flat", "gray", "black_bars", "interlaced", "enlarged", "blurred", "noisy", "compressed")


def resize(pixels: Pixels, factor: float, resample: Image.Resampling = Image.Resampling.BICUBIC) -> Pixels:
    height, width = pixels.shape[:2]
    return np.asarray(Image.fromarray(pixels).resize((round(width * factor), round(height * factor)), resample))


def enlarge(factor: float, resample: Image.Resampling = Image.Resampling.BICUBIC) -> Callable[[Pixels], Pixels]:
    """Returns a function that reduces a photo and enlarges it to its size again."""
    return lambda pixels: resize(resize(pixels, 1 / factor), factor, resample)


def blur(sigma: float) -> Callable[[Pixels], Pixels]:
    return lambda pixels: np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(sigma)))


def add_noise(std: float) -> Callable[[Pixels], Pixels]:
    def apply(pixels: Pixels) -> Pixels:
        noise = np.random.default_rng(0).normal(0, std, pixels.shape)
        return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)

    return apply


def compress(quality: int) -> Callable[[Pixels], Pixels]:
    def apply(pixels: Pixels) -> Pixels:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
        return read_rgb(io.BytesIO(buffer.getvalue()))

    return apply


def interlace(pixels: Pixels) -> Pixels:
    """Returns a frame whose second field is 6 pixels later."""
    frame = pixels.copy()
    frame[1::2] = np.roll(pixels, 6, axis=1)[1::2]
    return frame


def add_bars(pixels: Pixels) -> Pixels:
    """Returns a letterboxed photo, after JPEG compression."""
    bar = np.zeros((pixels.shape[0] // 8, *pixels.shape[1:]), np.uint8)
    return compress(85)(np.concatenate([bar, pixels, bar]))


def to_gray(pixels: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(pixels).convert("L").convert("RGB"))


def one_color(pixels: Pixels) -> Pixels:
    return np.broadcast_to(pixels.mean((0, 1)).astype(np.uint8), pixels.shape).copy()


VERSIONS: dict[str, Callable[[Pixels], Pixels]] = {
    "as it is": lambda pixels: pixels,
    "blur 1": blur(1),
    "blur 2": blur(2),
    "enlarged 1.33": enlarge(4 / 3),
    "enlarged 1.7": enlarge(1.7),
    "enlarged 2": enlarge(2),
    "enlarged 2, Lanczos": enlarge(2, Image.Resampling.LANCZOS),
    "enlarged 2, bilinear": enlarge(2, Image.Resampling.BILINEAR),
    "enlarged 2, JPEG 90": lambda pixels: compress(90)(enlarge(2)(pixels)),
    "enlarged 2, noise 2": lambda pixels: add_noise(2)(enlarge(2)(pixels)),
    "enlarged 3": enlarge(3),
    "enlarged 4": enlarge(4),
    "noise 2": add_noise(2),
    "noise 5": add_noise(5),
    "noise 10": add_noise(10),
    "JPEG 90": compress(90),
    "JPEG 75": compress(75),
    "JPEG 40": compress(40),
    "interlaced": interlace,
    "bars": add_bars,
    "gray": to_gray,
    "one color": one_color,
}


def count_findings(photos: list[Pixels], role: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for pixels in photos:
        findings = {finding.code for finding in judge(measure_photo(pixels), role)}
        found.update(findings)
        found["any"] += bool(findings)
    return found


def print_row(*cells: object) -> None:
    print("|", " | ".join(str(cell or "") for cell in cells), "|", flush=True)


def print_versions(photos: list[Pixels], role: str) -> None:
    for name, version in VERSIONS.items():
        found = count_findings([version(pixels) for pixels in photos], role)
        print_row(role, f"{name} ({len(photos)})", *(found[code] for code in CODES), found["any"])


def print_cameras(folder: Path, photos: list[Pixels]) -> None:
    sys.path.insert(0, str(folder))
    cameras = importlib.import_module("cameras").CAMERAS
    for name, camera in cameras.items():
        generator = np.random.default_rng(0)
        shots = [camera.shoot(pixels, generator).lr for pixels in photos]
        found = count_findings(shots, "lr")
        print_row("lr", f"camera {name} ({len(shots)})", *(found[code] for code in CODES), found["any"])


def read_folder(folder: Path, limit: int) -> list[Pixels]:
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"))
    return [read_rgb(file)[:MAX_SIDE, :MAX_SIDE] for file in files[:: 1 + (len(files) - 1) // limit]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clean", type=Path, nargs="+", default=[], help="folders of clean photos")
    parser.add_argument("--real", type=Path, nargs="+", default=[], help="folders of real photos")
    parser.add_argument("--cameras", type=Path, help="the folder of cameras.py")
    parser.add_argument("--photos", type=int, default=1000, help="at most this many of each folder")
    options = parser.parse_args()
    print_row("role", "photos", *CODES, "any")
    print_row(*["---"] * (3 + len(CODES)))
    for role, folders in (("hr", options.clean), ("lr", options.real)):
        for folder in folders:
            print_versions(read_folder(folder, options.photos), role)
    if options.cameras and options.clean:
        print_cameras(options.cameras, read_folder(options.clean[0], options.photos))
    for megapixels in (0.5, 2, 12):
        side = round((megapixels * 1e6) ** 0.5)
        picture = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
        measure_photo(picture)
        began = time.process_time()
        measure_photo(picture)
        print(f"{megapixels} megapixels: {1000 * (time.process_time() - began):.0f} ms")


if __name__ == "__main__":
    main()

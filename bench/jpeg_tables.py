"""Quantization tables and sampling of JPEG files: as the files say, and as their pixels show.

    python -m bench.jpeg_tables FOLDER --variants

Reads each file's header and compares it with what libjpeg says. Then estimates tables and sampling from the decoded
pixels alone, as if they had been saved again as PNG. `--variants` repeats that with each photo rotated, cropped at an
odd position, and framed in black.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from bench.measure import Metric, add_json_option, save_metrics
from imaging.compression import FileCompression, read_compression
from imaging.image_files import read_rgb
from models.compression import nearest_quality
from models.jpeg import BLOCK
from training.data.compressions import describe_file
from training.data.jpeg_estimation import estimate_compression
from training.data.photos import PhotoCompression

Pixels = NDArray[np.uint8]
STRONG = 95  # weaker compressions are reported, but not judged
MAX_ERROR = 0.1


class Result(NamedTuple):
    """One photo in one variant: mean relative errors of the estimated tables, 1 where none was found."""

    variant: str
    quality: int
    luma: float
    chroma: float
    is_sampling_right: bool
    is_origin_right: bool
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--variants", action="store_true", help="also rotated, cropped and framed")
    add_json_option(parser)
    options = parser.parse_args()
    paths = [path for path in sorted(options.folder.iterdir()) if path.suffix.lower() in {".jpg", ".jpeg"}]
    results, exact, with_tables = list[Result](), 0, 0
    for path in paths:
        file = read_compression(path)
        if file is None:
            print(f"{path.name}: no tables")
            continue
        with_tables += 1
        exact += equals_libjpeg(file, path)
        pixels = read_rgb(path)
        said = describe_file(file, *pixels.shape[:2])
        if said is None:
            continue
        for result in judge(pixels, said, all_variants=options.variants):
            results.append(result)
            print(f"{path.name[:32]:32} {describe(result)}", flush=True)
    metrics = [Metric("files whose header is read as libjpeg reads it", exact / max(1, with_tables), "", 1.0)]
    for variant in dict.fromkeys(result.variant for result in results):
        judged = [result for result in results if result.variant == variant and result.quality <= STRONG]
        share = np.mean([result.luma <= MAX_ERROR for result in judged]).item()
        metrics.append(Metric(f"{variant}: luma tables within 10%", share, "", 0.95))
        metrics.append(Metric(f"{variant}: luma error, median", np.median([r.luma for r in judged]).item(), ""))
        metrics.append(Metric(f"{variant}: chroma error, median", np.median([r.chroma for r in judged]).item(), ""))
        metrics.append(Metric(f"{variant}: sampling right", np.mean([r.is_sampling_right for r in judged]).item(), ""))
    for metric in metrics:
        print(f"{metric.name}: {metric.value:.3f}")
    save_metrics(options, metrics)


def describe(result: Result) -> str:
    return (
        f"{result.variant:8} quality {result.quality:3}: luma off {result.luma:6.1%}, chroma {result.chroma:6.1%}"
        f"{'' if result.is_sampling_right else ', sampling wrong'}{'' if result.is_origin_right else ', blocks wrong'}"
        f", {result.seconds:.2f} s"
    )


def equals_libjpeg(file: FileCompression, path: Path) -> bool:
    with Image.open(path) as image:
        assert isinstance(image, JpegImageFile)
        layers = image.layer  # (id, across, down, table) of each component
        tables = [tuple(image.quantization[table]) for *_, table in layers]
        sampling = (layers[0][1] // layers[-1][1], layers[0][2] // layers[-1][2])
        orientation = image.getexif().get(0x0112, 1)
    return tables == list(file.tables) and sampling == file.sampling and orientation == file.orientation


def judge(pixels: Pixels, said: PhotoCompression, *, all_variants: bool) -> Iterator[Result]:
    variants = [("upright", pixels, said)]
    if all_variants:
        height, width = pixels.shape[:2]
        turned = describe_turned(said, height)
        framed = np.zeros((height + 90, width + 70, 3), np.uint8)
        framed[43 : 43 + height, 21 : 21 + width] = pixels
        variants += [
            ("rotated", np.ascontiguousarray(np.rot90(pixels, -1)), turned),
            ("cropped", np.ascontiguousarray(pixels[5:, 3:]), said.crop(5, 3)),
            ("framed", framed, said.crop(-43, -21)),
        ]
    for variant, photo, expected in variants:
        started = time.process_time()
        found = estimate_compression(photo)
        yield compare(variant, expected, found, time.process_time() - started)


def describe_turned(said: PhotoCompression, height: int) -> PhotoCompression:
    """Returns the compression of an upright photo after a quarter turn clockwise, by what a file would say."""
    luma, cb, cr = said.compression.luma, said.compression.cb, said.compression.cr
    across, down = said.compression.sampling
    file = FileCompression("jpeg", (luma, cb, cr), (across, down), orientation=6)
    turned = describe_file(file, 0, height)
    assert turned
    return turned


def compare(variant: str, said: PhotoCompression, found: PhotoCompression | None, seconds: float) -> Result:
    quality = nearest_quality(said.compression)
    if found is None or not found.compression.luma:
        return Result(variant, quality, 1.0, 1.0, False, False, seconds)
    luma, *chroma = (
        float(
            np.mean(np.abs(np.array(getattr(found.compression, name)) / np.array(getattr(said.compression, name)) - 1))
        )
        for name in ("luma", "cb", "cr")
    )
    is_sampling_right = found.compression.sampling == said.compression.sampling
    return Result(variant, quality, luma, float(np.mean(chroma)), is_sampling_right, _same_blocks(said, found), seconds)


def _same_blocks(said: PhotoCompression, found: PhotoCompression) -> bool:
    """Returns whether luma blocks start at the same places."""
    return all((one - other) % BLOCK == 0 for one, other in zip(said.origin, found.origin, strict=True))


if __name__ == "__main__":
    main()

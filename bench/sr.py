"""Super-resolution with the paper's EDSR, 16 blocks of width 64, ×4, against a plain run of the same network.

The plain run is in float32, in PyTorch's default memory layout, on the whole image if it fits and else in overlapping
tiles. Megapixels are those of the enlarged image. Without --sr the network is trained briefly, so that there is a PSNR
to lose.

    python -m bench.sr [--quick] [--check] [--sr sr.safetensors]
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import torch
from numpy.typing import NDArray
from skimage import data
from torch.nn import functional

from bench.measure import Metric, Summary, Workload, compute_ratio, measure_added_memory, run, time_interleaved
from imaging.png import PngWriter
from models.checkpoint import load_edsr
from models.device import choose_dtype
from models.inference.tiling import super_resolve, upscale_rows
from models.networks.edsr import EDSR, EDSRConfig

MEGA = 1e6
PLAIN_TILE = 540  # the largest side whose feature maps at full size fit into 16 GB
UNTILED_PIXELS = 480 * 320


def make_photo(height: int, width: int) -> NDArray[np.uint8]:
    """Returns a photograph (height, width, 3), repeated until it is large enough."""
    tile: NDArray[np.uint8] = data.chelsea()
    return np.tile(tile, (-(-height // len(tile)), -(-width // tile.shape[1]), 1))[:height, :width].copy()


def make_pairs(side: int = 96) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns patches (N, 3, side, side) of photographs, and each at a quarter of the size, both in [0, 1]."""
    photos = [data.astronaut(), data.chelsea(), data.coffee()]
    patches = [
        pixels[top : top + side, left : left + side]
        for pixels in photos
        for top in range(0, len(pixels) - side, side)
        for left in range(0, pixels.shape[1] - side, side)
    ]
    hr = torch.from_numpy(np.stack(patches)).permute(0, 3, 1, 2).float() / 255
    return hr, (functional.avg_pool2d(hr, 4) * 255).round() / 255


def train_edsr(steps: int) -> EDSR:
    torch.manual_seed(0)
    edsr, (hr, lr) = EDSR(EDSRConfig()), make_pairs()
    optimizer = torch.optim.Adam((weight for weight in edsr.parameters() if weight.requires_grad), lr=5e-4)
    for step in range(steps):
        batch = torch.arange(4 * step, 4 * step + 4) * 37 % len(hr)
        loss = functional.l1_loss(edsr(lr[batch]), hr[batch])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return edsr.eval()


def super_resolve_plainly(edsr: EDSR, lr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    (height, width), scale, radius = lr.shape[:2], edsr.config.scale, edsr.config.receptive_radius
    side = max(height, width) if height * width <= UNTILED_PIXELS else PLAIN_TILE
    sr = np.empty((scale * height, scale * width, 3), np.uint8)
    for top in range(0, height, side):
        for left in range(0, width, side):
            above, before = max(0, top - radius), max(0, left - radius)
            tile = torch.from_numpy(lr[above : top + side + radius, before : left + side + radius].copy())
            with torch.inference_mode():
                enlarged = edsr(tile.permute(2, 0, 1)[None].float() / 255)[0]
            pixels = (enlarged.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
            inner = pixels[scale * (top - above) :, scale * (left - before) :][: scale * side, : scale * side]
            sr[scale * top : scale * (top + side), scale * left : scale * (left + side)] = inner
    return sr


def prepare_streaming(height: int, width: int) -> Workload:
    """Returns a workload that writes rows to disk as they come, as the worker does."""
    edsr, lr = EDSR(EDSRConfig()).eval(), make_photo(height, width)

    def stream() -> None:
        with TemporaryFile() as file, PngWriter(file, 4 * width, 4 * height) as png:
            for rows in upscale_rows(edsr, lr):
                png.write(rows)

    return stream


def measure_peak_flops() -> float:
    """Returns the multiplications and additions per second of a large float32 product, an upper bound."""
    matrix = torch.rand(1024, 1024)
    multiply = partial(torch.mm, matrix, matrix)
    return 2 * 1024**3 / min(time_interleaved({"mm": multiply}, 10)["mm"])


def count_flops(config: EDSRConfig) -> int:
    """Returns the multiplications and additions for a low-resolution pixel, with the fused tail."""
    convolutions = 9 * (3 * config.width + (2 * config.blocks + 1) * config.width**2)
    return 2 * (convolutions + 25 * config.width * 3 * config.scale**2)


def measure_psnr_loss(edsr: EDSR, dtype: torch.dtype, every: int) -> float:
    """Returns the PSNR in dB that `dtype` loses to float32, over each `every`-th patch."""
    hr, lr = (patches[::every] for patches in make_pairs())
    lr_pixels = (lr.permute(0, 2, 3, 1) * 255).round().byte().numpy()
    hr_pixels = 255 * hr.permute(0, 2, 3, 1).numpy().astype(np.float64)
    errors = []
    for kind in (torch.float32, dtype):
        squared = [
            np.square(super_resolve(edsr, np.ascontiguousarray(patch), dtype=kind) - truth).mean()
            for patch, truth in zip(lr_pixels, hr_pixels, strict=True)
        ]
        errors.append(float(np.mean(squared)))
    return 10 * float(np.log10(errors[1] / errors[0]))


def measure(options: argparse.Namespace) -> list[Metric]:
    sizes = ((160, 240), (270, 480)) if options.quick else ((320, 480), (1080, 1920))
    edsr = load_edsr(options.sr) if options.sr else train_edsr(10 if options.quick else 100)
    peak = measure_peak_flops()
    metrics = []
    for height, width in sizes:
        lr, name = make_photo(height, width), f"{width}×{height}"
        difference = np.abs(super_resolve(edsr, lr).astype(int) - super_resolve_plainly(edsr, lr)).max()
        workloads = {"ours": partial(super_resolve, edsr, lr), "plain": partial(super_resolve_plainly, edsr, lr)}
        seconds = time_interleaved(workloads, 3)
        megapixels = edsr.config.scale**2 * height * width / MEGA
        ours, plain = (Summary.from_values([megapixels / each for each in seconds[who]]) for who in ("ours", "plain"))
        share = count_flops(edsr.config) * height * width / min(seconds["ours"]) / peak
        limit = (
            f"{peak / count_flops(edsr.config) * edsr.config.scale**2 / MEGA:.2f} by arithmetic, {share:.0%} reached"
        )
        metrics += [
            Metric(f"{name}", ours, "megapixels a second", limit=limit),
            Metric(f"{name}, plain float32", plain, "megapixels a second"),
            Metric(f"{name}, times as fast", compute_ratio(seconds["plain"], seconds["ours"]), target=2, threshold=1.5),
            Metric(f"{name}, largest difference", float(difference), "levels", 1, 1, lower_is_better=True),
        ]
    chosen = choose_dtype(torch.device("cpu"))
    for dtype, name in {chosen: "as chosen here", torch.bfloat16: "in bfloat16"}.items():
        lost = measure_psnr_loss(edsr, dtype, 8 if options.quick else 1)
        metrics.append(Metric(f"PSNR lost {name} ({dtype})", lost, "dB", 0.02, 0.02, True))
    # Each of these images has several bands.
    heights, width = ((400, 1200), 240) if options.quick else ((540, 1080, 2160), 1920)
    added = [measure_added_memory(prepare_streaming, height, width) for height in heights]
    for height, memory in zip(heights, added, strict=True):
        metrics.append(Metric(f"memory added at {width}×{height}", memory / 2**20, "MiB"))
    metrics.append(Metric("memory, tallest against least tall", added[-1] / added[0], "", 1.1, 1.3, True))
    return metrics


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sr", type=Path, help="a trained network; by default one is trained briefly")


if __name__ == "__main__":
    run(__doc__, measure, add_arguments)

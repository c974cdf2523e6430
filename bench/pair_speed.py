"""Pairs a second for training: the learned degradation beside the second-order pipeline, on the same photos.

    python -m bench.pair_speed --threads 1

Both read a photo from its PNG for each pair, as a `DataLoader`'s worker does. The second-order pipeline
(pipelines.py) degrades a crop of 400 pixels and cuts 256 out of it, as Real-ESRGAN does. `DegradedPairs` cuts 256. The
model is an untrained one of the default preset with JPEG, which takes as long as a trained one.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import default_collate

from bench.measure import Metric, Summary, Workload, compute_ratio, run, time_interleaved
from bench.pipelines import degrade_second_order
from imaging.image_files import read_rgb
from models.compression import standard_compression
from models.degradation import Degradation
from patina import Degrader
from patina.torch import DegradedPairs
from training.presets import get_preset

SCALE, CROP, POOL_CROP, BATCH = 4, 256, 400, 16
SIDE, PHOTOS = 480, 8  # as the crops that people cut their photos into beforehand


def write_photos(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(PHOTOS):
        coarse = Image.fromarray(rng.integers(0, 256, (SIDE // 8, SIDE // 8, 3), dtype=np.uint8))
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / f"{number}.png")


def make_degrader(device: str) -> Degrader:
    config = get_preset("default", SCALE, device=device).degradation
    compressions = tuple(standard_compression(quality) for quality in range(50, 96, 5))
    degradation = Degradation(replace(config, compressions=compressions))
    assert degradation.noise is not None
    nn.init.normal_(degradation.noise.head.weight, std=0.1)
    return Degrader(degradation.to(device))


def measure(options: argparse.Namespace) -> list[Metric]:
    torch.set_num_threads(options.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photos(folder)
        pairs = DegradedPairs(folder, make_degrader("cpu"), crop=CROP)
        batched = DegradedPairs(folder, make_degrader(device), crop=CROP, batched=True)
        rng, index = np.random.default_rng(0), itertools.count()

        def second_order() -> None:
            photo = read_rgb(pairs.photos[next(index) % PHOTOS].path)
            top, left = rng.integers(SIDE - POOL_CROP, size=2)
            degrade_second_order(photo[top : top + POOL_CROP, left : left + POOL_CROP], SCALE, rng)

        workloads: dict[str, Workload] = {
            "second-order pipeline": second_order,
            "learned, in a worker": lambda: pairs[next(index)],
            "learned, batched": lambda: batched.feed_data(
                default_collate([batched[next(index)] for _ in range(BATCH)])
            ),
        }
        times = time_interleaved(workloads, rounds=3 if options.quick else 7)
    sizes = dict.fromkeys(workloads, 1) | {"learned, batched": BATCH}
    metrics = [
        Metric(f"{name}, pairs a second", Summary.from_values([sizes[name] / seconds for seconds in times[name]]), "/s")
        for name in workloads
    ]
    ratio = compute_ratio(times["second-order pipeline"], times["learned, in a worker"])
    return [*metrics, Metric("learned in a worker, relative to the second-order pipeline", ratio, "×", 2.0, 1.2)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=1)


if __name__ == "__main__":
    run(__doc__, measure, add_arguments)

"""What a sample costs the interpreter: the time to draw triplets of images so small that pixels cost nothing.

    python -m bench.sampling_overhead

One interpreter runs one operation at a time, so this bounds the samples of a process with a fast GPU, in any number of
threads. More processes (`patina worker --per-device`) have more interpreters. A GPU's driver adds to it; no GPU was
there when this was written. It measures CPU time of one thread, which other programs disturb less than the clock.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from bench.measure import Metric, Summary, run
from models.degradation import Degradation
from models.inference.triplet import SourceImage, TripletSampler
from training.presets import get_preset

SIDE, SCALE, SAMPLES = 32, 4, 4


def time_samples(sampler: TripletSampler, images: int, rounds: int) -> list[float]:
    """Returns the CPU microseconds of a sample in each round."""
    hr = np.zeros((SIDE, SIDE, 3), np.uint8)
    sources = [SourceImage(hr, str(number), range(SAMPLES)) for number in range(images)]
    taken = []
    for seed in range(rounds + 1):
        started = time.thread_time()
        count = sum(1 for _ in sampler.sample(sources, seed=seed))
        taken.append(1e6 * (time.thread_time() - started) / count)
    return taken[1:]  # the first warms up


def measure(options: argparse.Namespace) -> list[Metric]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    sampler = TripletSampler(Degradation(get_preset("default", SCALE, device="cpu").degradation).eval())
    overhead = Summary.from_values(time_samples(sampler, 16 if options.quick else 64, 5 if options.quick else 15))
    limit = f"at most {1e6 / overhead.low:,.0f} samples a second of one interpreter"
    name = f"CPU time of a sample of {SIDE}×{SIDE} pixels, {SAMPLES} of each image"
    return [Metric(name, overhead, "µs", target=600, threshold=3000, lower_is_better=True, limit=limit)]


if __name__ == "__main__":
    run(__doc__, measure)

"""A kernel applied to 32 patches, as in a training step, and to one image of 2040×1356 pixels, against unfolding.

    python -m bench.degrade_operator

The reference is the paper's formula written plainly: all windows unfolded, multiplied and summed, in contiguous
float32. Ours reads the image's bytes. The reference gets float32 that is ready in memory.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bench.measure import Metric, Summary, Workload, compute_ratio, measure_added_memory, run, time_interleaved
from models.fixed_point import quantize_kernels
from models.geometry import apply_kernel, paper_origin, reflect_indices
from models.inference.blur import blur

SCALE, TAPS = 4, 21
ORIGIN = (paper_origin(TAPS), paper_origin(TAPS))
SIDE = 1024  # of the matrices whose product measures the cores' arithmetic

Case = tuple[Callable[[], Tensor], Callable[[], Tensor], int]  # ours, reference, number of multiply-adds


def apply_kernel_plainly(hr: Tensor, kernel: Tensor) -> Tensor:
    """Applies kernel (B, K, K) to hr (B, 3, H, W) in [0, 1]. Returns (B, 3, H // s, W // s)."""
    batch, channels, height, width = hr.shape
    rows = reflect_indices(ORIGIN[0], SCALE * (height // SCALE - 1) + TAPS, height)
    cols = reflect_indices(ORIGIN[1], SCALE * (width // SCALE - 1) + TAPS, width)
    padded = hr[:, :, rows][:, :, :, cols].flatten(0, 1)[:, None]
    windows = functional.unfold(padded, TAPS, stride=SCALE)  # (B·3, K², h·w)
    weight = kernel.flatten(1).repeat_interleave(channels, 0)[:, :, None]
    return (windows * weight).sum(1).view(batch, channels, height // SCALE, width // SCALE)


def make_patches_case(count: int = 32) -> Case:
    """Returns the case with the shapes of the preset `seed`."""
    generator = torch.Generator().manual_seed(0)
    hr = torch.rand(count, 3, 128, 128, generator=generator)
    kernel = torch.rand(count, TAPS, TAPS, generator=generator)
    kernel /= kernel.sum((1, 2), keepdim=True)
    multiply_adds = count * 3 * 32 * 32 * TAPS**2
    return (
        lambda: apply_kernel(hr, kernel, SCALE, ORIGIN),
        lambda: apply_kernel_plainly(hr, kernel),
        multiply_adds,
    )


def make_image_case(height: int = 1356) -> Case:
    rng = np.random.default_rng(0)
    hr = rng.integers(0, 256, (height, 2040, 3), dtype=np.uint8)
    kernel = quantize_kernels(torch.from_numpy(rng.random((1, TAPS, TAPS))))
    floats = torch.from_numpy(hr).permute(2, 0, 1)[None].float().contiguous() / 255
    multiply_adds = 3 * (height // SCALE) * (2040 // SCALE) * TAPS**2
    return (
        lambda: blur(hr, kernel, SCALE, ORIGIN, torch.device("cpu")) / 255,
        lambda: apply_kernel_plainly(floats, kernel),
        multiply_adds,
    )


def prepare_ours(make_case: Callable[..., Case]) -> Callable[[], Tensor]:
    make_case(4)[0]()  # the first call loads code and tables, whose memory does not count
    return make_case()[0]


def prepare_reference(make_case: Callable[..., Case]) -> Callable[[], Tensor]:
    make_case(4)[1]()
    return make_case()[1]


def measure(options: argparse.Namespace) -> list[Metric]:
    torch.set_num_threads(options.threads)
    metrics = []
    for name, make_case in (("32 patches of 128×128", make_patches_case), ("an image of 2040×1356", make_image_case)):
        metrics += _compare(name, make_case, 3 if options.quick else 15)
    return metrics


def _compare(name: str, make_case: Callable[..., Case], rounds: int) -> list[Metric]:
    ours, reference, multiply_adds = make_case()
    difference = (ours() - reference()).abs().max().item()
    matrix = torch.rand(SIDE, SIDE)
    workloads: dict[str, Workload] = {
        "ours": ours,
        "reference": reference,
        "matrices": partial(torch.mm, matrix, matrix),
    }
    seconds = time_interleaved(workloads, rounds)
    at_best = [product * multiply_adds / SIDE**3 for product in seconds["matrices"]]
    taken = {who: Summary.from_values([1000 * each for each in seconds[who]]) for who in ("ours", "reference")}
    prepare = {"ours": prepare_ours, "reference": prepare_reference}
    memory = {who: measure_added_memory(function, make_case) / 2**20 for who, function in prepare.items()}
    return [
        Metric(
            f"{name}: time, reference to ours",
            compute_ratio(seconds["reference"], seconds["ours"]),
            "times",
            target=20,
            threshold=8,
            limit=f"{taken['ours'].median:.1f} and {taken['reference'].median:.0f} ms; as many multiply-adds in matrix "
            f"products take {1000 * Summary.from_values(at_best).median:.1f} ms, "
            f"{100 * compute_ratio(at_best, seconds['ours']).median:.0f}% reached",
        ),
        Metric(
            f"{name}: added peak memory, reference to ours",
            memory["reference"] / max(memory["ours"], 0.1),
            "times",
            target=50,
            threshold=15,
            limit=f"{memory['ours']:.1f} and {memory['reference']:.0f} MiB",
        ),
        Metric(f"{name}: largest difference", difference, target=1e-5, threshold=1e-5, lower_is_better=True),
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of both; default: all cores")


if __name__ == "__main__":
    run(__doc__, measure, add_arguments)

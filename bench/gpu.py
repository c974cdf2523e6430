"""On a GPU: the joint step, applying kernels, degrading and super-resolution, each against the same done plainly.

    PYTHONPATH=. python bench/gpu.py [--quick]

The references are those of train_step.py, degrade_operator.py and sr.py, on the GPU as well: float32, as PyTorch lays
tensors out by itself. Memory is what PyTorch has taken of the GPU's at most.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from bench import degrade_operator, sr, train_step
from bench.measure import Metric, Summary, Workload, compute_ratio, run, time_interleaved
from models.degradation import Degradation
from models.geometry import apply_kernel
from models.inference.tiling import super_resolve
from models.inference.triplet import degrade_samples
from models.networks.edsr import EDSR
from training.config import preset
from training.data.photos import Photos
from training.phases.joint import joint_step
from training.state import State

GPU = torch.device("cuda")
MEGA = 1e6


def finished(work: Workload) -> Callable[[], None]:
    """Waits until the GPU has done it."""

    def done() -> None:
        work()
        torch.cuda.synchronize()

    return done


def compare(what: str, ours: Workload, plain: Workload, rounds: int, *, target: float | None = None) -> list[Metric]:
    works = {"ours": finished(ours), "plain": finished(plain)}
    taken = time_interleaved(works, rounds)
    memory = {name: added_on_gpu(work) / 2**20 for name, work in works.items()}
    milliseconds = {name: Summary.from_values([1000 * seconds for seconds in taken[name]]) for name in works}
    return [
        Metric(what, milliseconds["ours"], "ms", limit=f"plainly {milliseconds['plain']} ms"),
        Metric(f"{what}: times as fast", compute_ratio(taken["plain"], taken["ours"]), target=target),
        Metric(f"{what}: memory added", memory["ours"], "MiB", limit=f"plainly {memory['plain']:.0f} MiB"),
    ]


def added_on_gpu(work: Workload) -> int:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    return torch.cuda.max_memory_allocated() - before


def joint_steps(folder: Path, rounds: int) -> list[Metric]:
    """Of the `seed` preset, batch 32 and EDSR 16×64."""
    train_step.photos(folder)
    real, clean = Photos(folder / "lr"), Photos(folder / "hr")
    ours, plain = (State(preset("seed", 4, device="cuda"), 0, "cuda") for _ in range(2))
    train_step.made_plain(plain)
    return compare(
        "joint step, batch 32",
        lambda: [joint_step(ours, real, clean, 0.0) for _ in range(5)],
        lambda: [train_step.plain_step(plain, real, clean) for _ in range(5)],
        rounds,
        target=3,
    )


def operators(rounds: int) -> list[Metric]:
    generator = torch.Generator().manual_seed(0)
    hr = torch.rand(32, 3, 128, 128, generator=generator).to(GPU)
    kernel = torch.rand(32, degrade_operator.TAPS, degrade_operator.TAPS, generator=generator).to(GPU)
    ours = partial(apply_kernel, hr, kernel, degrade_operator.SCALE, degrade_operator.ORIGIN)
    plain = partial(degrade_operator.reference, hr, kernel)
    return compare("kernels applied to 32 patches", ours, plain, rounds, target=20)


def degrading(rounds: int) -> list[Metric]:
    """Samples of a photo of 2 megapixels, computed; reading and writing files is left out."""
    rng = np.random.default_rng(0)
    hr = rng.integers(0, 256, (1356, 2040, 3), dtype=np.uint8)
    figures = []
    for name in ("seed", "default"):
        degradation = Degradation(preset(name, 4, device="cuda").degradation).to(GPU).eval()
        taken = time_interleaved({name: partial(samples_of, degradation, hr)}, rounds)[name]
        rate = Summary.from_values([4 / seconds for seconds in taken])
        figures.append(Metric(f"degrade, preset {name}", rate, "samples a second"))
    return figures


def samples_of(degradation: Degradation, hr: NDArray[np.uint8]) -> None:
    list(degrade_samples(degradation, hr, seed=0, source_sha256="0", samples=range(4)))


def super_resolution(rounds: int, sizes: Mapping[str, tuple[int, int]]) -> list[Metric]:
    edsr = sr.fitted(20).to(GPU)
    figures = []
    for name, (height, width) in sizes.items():
        lr = sr.photo(height, width)
        plainly = torch.from_numpy(lr).permute(2, 0, 1)[None].to(GPU)
        contiguous = EDSR(edsr.config).to(GPU).eval()
        contiguous.load_state_dict(edsr.state_dict())

        def plain(image: torch.Tensor = plainly, network: torch.nn.Module = contiguous) -> None:
            with torch.inference_mode():
                ((network(image.float() / 255)[0].clamp(0, 1) * 255).round().byte()).cpu()

        figures += compare(f"{name} enlarged", partial(super_resolve, edsr, lr), plain, rounds, target=2)
    return figures


def measure(options: argparse.Namespace) -> list[Metric]:
    if not torch.cuda.is_available():
        print("No GPU that PyTorch can use: nothing is measured.\n")
        return []
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}\n")
    rounds = 3 if options.quick else 9
    with TemporaryDirectory() as folder:
        figures = joint_steps(Path(folder), rounds)
    figures += operators(rounds)
    figures += degrading(rounds)
    return figures + super_resolution(rounds, {"480×320": (320, 480), "1920×1080": (1080, 1920)})


if __name__ == "__main__":
    run(__doc__, measure)

"""On a GPU: the joint step, kernels, degrading and super-resolution, each against a plain implementation.

    python -m bench.gpu [--quick]

The references are those of train_step.py, degrade_operator.py and sr.py, also on the GPU: float32 in PyTorch's default
memory layout. Memory is the peak that PyTorch allocates on the GPU.
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
from training.data.photos import Photos
from training.phases.joint import joint_step
from training.presets import get_preset
from training.state import TrainState

GPU = torch.device("cuda")


def synchronized(workload: Workload) -> Callable[[], None]:
    """Returns a workload that waits until the GPU has finished."""

    def run_and_wait() -> None:
        workload()
        torch.cuda.synchronize()

    return run_and_wait


def compare(name: str, ours: Workload, plain: Workload, rounds: int, *, target: float | None = None) -> list[Metric]:
    workloads = {"ours": synchronized(ours), "plain": synchronized(plain)}
    seconds = time_interleaved(workloads, rounds)
    memory = {who: measure_gpu_memory(workload) / 2**20 for who, workload in workloads.items()}
    milliseconds = {who: Summary.from_values([1000 * each for each in seconds[who]]) for who in workloads}
    return [
        Metric(name, milliseconds["ours"], "ms", limit=f"plain: {milliseconds['plain']} ms"),
        Metric(f"{name}: times as fast", compute_ratio(seconds["plain"], seconds["ours"]), target=target),
        Metric(f"{name}: memory added", memory["ours"], "MiB", limit=f"plain: {memory['plain']:.0f} MiB"),
    ]


def measure_gpu_memory(workload: Workload) -> int:
    """Returns the bytes that a workload adds to the memory that PyTorch has allocated."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    workload()
    return torch.cuda.max_memory_allocated() - before


def measure_joint_step(folder: Path, rounds: int) -> list[Metric]:
    """Measures the joint step of the preset `seed`, batch 32 and EDSR 16×64."""
    train_step.write_photos(folder)
    real, clean = Photos(folder / "lr"), Photos(folder / "hr")
    ours, plain = (TrainState(get_preset("seed", 4, device="cuda"), 0, "cuda") for _ in range(2))
    train_step.make_plain(plain)
    return compare(
        "joint step, batch 32",
        lambda: [joint_step(ours, real, clean, 0.0) for _ in range(5)],
        lambda: [train_step.plain_step(plain, real, clean) for _ in range(5)],
        rounds,
        target=3,
    )


def measure_operator(rounds: int) -> list[Metric]:
    generator = torch.Generator().manual_seed(0)
    hr = torch.rand(32, 3, 128, 128, generator=generator).to(GPU)
    kernel = torch.rand(32, degrade_operator.TAPS, degrade_operator.TAPS, generator=generator).to(GPU)
    ours = partial(apply_kernel, hr, kernel, degrade_operator.SCALE, degrade_operator.ORIGIN)
    plain = partial(degrade_operator.apply_kernel_plainly, hr, kernel)
    return compare("kernels applied to 32 patches", ours, plain, rounds, target=20)


def measure_degrading(rounds: int) -> list[Metric]:
    """Measures samples of a photo of 2 megapixels, without reading and writing files."""
    rng = np.random.default_rng(0)
    hr = rng.integers(0, 256, (1356, 2040, 3), dtype=np.uint8)
    metrics = []
    for name in ("seed", "default"):
        degradation = Degradation(get_preset(name, 4, device="cuda").degradation).to(GPU).eval()
        seconds = time_interleaved({name: partial(draw_samples, degradation, hr)}, rounds)[name]
        rate = Summary.from_values([4 / each for each in seconds])
        metrics.append(Metric(f"degrade, preset {name}", rate, "samples a second"))
    return metrics


def draw_samples(degradation: Degradation, hr: NDArray[np.uint8]) -> None:
    list(degrade_samples(degradation, hr, seed=0, seed_key="0", samples=range(4)))


def measure_super_resolution(rounds: int, sizes: Mapping[str, tuple[int, int]]) -> list[Metric]:
    edsr = sr.train_edsr(20).to(GPU)
    metrics = []
    for name, (height, width) in sizes.items():
        lr = sr.make_photo(height, width)
        lr_on_gpu = torch.from_numpy(lr).permute(2, 0, 1)[None].to(GPU)
        contiguous = EDSR(edsr.config).to(GPU).eval()
        contiguous.load_state_dict(edsr.state_dict())

        def plain(image: torch.Tensor = lr_on_gpu, network: torch.nn.Module = contiguous) -> None:
            with torch.inference_mode():
                ((network(image.float() / 255)[0].clamp(0, 1) * 255).round().byte()).cpu()

        metrics += compare(f"{name} enlarged", partial(super_resolve, edsr, lr), plain, rounds, target=2)
    return metrics


def measure(options: argparse.Namespace) -> list[Metric]:
    if not torch.cuda.is_available():
        print("PyTorch finds no GPU. Nothing is measured.\n")
        return []
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}\n")
    rounds = 3 if options.quick else 9
    with TemporaryDirectory() as folder:
        metrics = measure_joint_step(Path(folder), rounds)
    metrics += measure_operator(rounds)
    metrics += measure_degrading(rounds)
    return metrics + measure_super_resolution(rounds, {"480×320": (320, 480), "1920×1080": (1080, 1920)})


if __name__ == "__main__":
    run(__doc__, measure)

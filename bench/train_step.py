"""The joint step of the preset `seed`, batch 32 and EDSR 16×64, against a plain implementation of the same step.

The plain step follows the paper's formulas (unfold, multiply, sum) in float32, with PyTorch's default memory layout and
two discriminator passes. Each runs in its own process, Patina's with the environment that its workers give to a
training. Both draw the same patches and start from the same weights, so their losses can be compared after a number of
steps: the difference of the means of the last third, in standard errors of the reference. Consecutive steps are
correlated, so the standard error comes from the means of ten pieces of that third.

    python -m bench.train_step [--quick] [--batch 32] [--steps 300]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from skimage import data
from torch.nn import functional

from bench.measure import (
    Metric,
    Summary,
    compute_ratio,
    read_peak_memory,
    read_resident_memory,
    reset_peak_memory,
    run,
    time_interleaved,
)
from models.losses import quantize_ste
from training.data.photos import Photos
from training.phases.joint import joint_step
from training.phases.patches import sample_hr, sample_latents, sample_lr
from training.presets import get_preset
from training.state import TrainState
from worker.jobs.train import MALLOC_ENV

NUM_PIECES = 10
LOSSES = ("adversarial", "discriminator", "edsr_l1", "noise_std")
# Per low-resolution pixel, forward and backward.
EDSR_OPERATIONS = 3 * 2 * (9 * (3 * 64 + 33 * 64**2 + 64 * 256 + 4 * 64 * 256 + 16 * 64 * 3))


def write_photos(folder: Path) -> tuple[Photos, Photos]:
    """Writes (real, clean) photos from scikit-image. The real ones are other photos, decimated."""
    real = [pixels[::3, ::3] for pixels in (data.rocket(), data.coffee())]
    return Photos.write(folder / "lr", real), Photos.write(folder / "hr", [data.astronaut(), data.chelsea()])


def plain_step(state: TrainState, real_photos: Photos, clean_photos: Photos) -> dict[str, float]:
    """Runs the joint step in a plain implementation. Returns its losses."""
    config, degradation, discriminator = state.config, state.degradation, state.discriminator
    taps, scale, batch = config.degradation.kernel.size, config.scale, config.batch_size
    real = sample_lr(state, real_photos, batch)
    hr, _ = sample_hr(state, clean_photos, batch, config.lr_patch)
    latents = sample_latents(state, batch, config.lr_patch)

    kernel = degradation.kernel(latents.kernel)
    padded = functional.pad(hr, 4 * (taps // 2,), mode="reflect")
    windows = functional.unfold(padded, taps, stride=scale).view(batch, 3, taps**2, -1)
    blurred = (windows * kernel.view(batch, 1, taps**2, 1)).sum(2).view_as(real)
    noise = degradation.draw_noise(latents, blurred.detach())
    lr = quantize_ste(blurred + noise)

    discriminator.requires_grad_(False)
    adversarial = (discriminator(lr) - 1).square().mean()
    state.optimizers["degradation"].zero_grad()
    torch.autograd.backward(adversarial + config.noise_l2_weight * noise.square().mean())
    torch.nn.utils.clip_grad_norm_(degradation.parameters(), config.max_grad_norm)
    state.optimizers["degradation"].step()

    discriminator.requires_grad_(True)
    real_scores, fake_scores = discriminator(real), discriminator(lr.detach())
    discriminator_loss = ((real_scores - 1).square().mean() + fake_scores.square().mean()) / 2
    state.optimizers["discriminator"].zero_grad()
    torch.autograd.backward(discriminator_loss)
    state.optimizers["discriminator"].step()

    edsr_l1 = (state.edsr(lr.detach()) - hr).abs().mean()
    state.optimizers["edsr"].zero_grad()
    torch.autograd.backward(edsr_l1)
    state.optimizers["edsr"].step()
    noise_std = 255 * noise.detach().square().mean().sqrt()
    losses = (adversarial, discriminator_loss, edsr_l1, noise_std)
    return dict(zip(LOSSES, (loss.item() for loss in losses), strict=True))


def make_plain(state: TrainState) -> None:
    """Gives networks PyTorch's default memory layout, and optimizers its default implementation."""
    for network in state.networks.values():
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    state.optimizers = {
        name: torch.optim.Adam(
            [weight for weight in network.parameters() if weight.requires_grad], state.config.edsr_lr
        )
        for name, network in state.networks.items()
    }


class StepProcess:
    """A process that runs a step on request."""

    def __init__(self, folder: Path, batch: int, *, plain: bool):
        self._pipe, remote = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(
            target=serve_steps, args=(remote, folder, batch, plain), daemon=True
        )
        before = dict(os.environ)
        os.environ.update({} if plain else MALLOC_ENV)
        self._process.start()
        os.environ.clear()
        os.environ.update(before)
        self._pipe.recv()  # it is ready
        self.losses: list[list[float]] = []
        self._memory_before = read_resident_memory(self._pid)
        reset_peak_memory(self._pid)

    @property
    def _pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def added_memory(self) -> int:
        return read_peak_memory(self._pid) - self._memory_before

    def step(self) -> None:
        self._pipe.send(None)
        self.losses.append(self._pipe.recv())


def serve_steps(pipe: Connection, folder: Path, batch: int, plain: bool) -> None:
    real, clean = Photos(folder / "lr"), Photos(folder / "hr")
    state = TrainState(replace(get_preset("seed", 4, device="cpu"), batch_size=batch), 0, "cpu")
    if plain:
        make_plain(state)
    step = plain_step if plain else partial(joint_step, progress=0.0)
    pipe.send(None)
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        losses = step(state, real, clean)
        pipe.send([losses[name] for name in LOSSES])


def measure_peak_arithmetic() -> float:
    """Returns the operations per second of a large float32 product, an upper limit for convolutions."""
    matrix = torch.rand(1024, 1024)
    return 2 * 1024**3 / min(time_interleaved({"mm": partial(torch.mm, matrix, matrix)}, 10)["mm"])


def compare_losses(ours: NDArray[np.float64], plain: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns how far the means of the last third of each loss differ, in standard errors of the reference."""
    last = slice(-max(2, len(plain) // 3), None)
    ours, plain = ours[last], plain[last]
    pieces = np.array([piece.mean(0) for piece in np.array_split(plain, min(NUM_PIECES, len(plain)))])
    error = pieces.std(0, ddof=1) / len(pieces) ** 0.5
    return np.asarray(np.abs(ours.mean(0) - plain.mean(0)) / np.maximum(error, 1e-12))


def measure(options: argparse.Namespace) -> list[Metric]:
    batch = options.batch or (8 if options.quick else 32)
    steps = options.steps or (12 if options.quick else 300)
    rounds = 3 if options.quick else 7
    peak = measure_peak_arithmetic()
    with TemporaryDirectory() as folder:
        write_photos(Path(folder))
        ours, plain = (StepProcess(Path(folder), batch, plain=kind) for kind in (False, True))
        seconds = time_interleaved({"ours": ours.step, "plain": plain.step}, rounds)
        started = time.monotonic()
        while len(plain.losses) < steps:
            ours.step()
            plain.step()
        print(f"{steps} steps of both; the untimed ones took {time.monotonic() - started:.0f} s", flush=True)
        differences = compare_losses(np.array(ours.losses), np.array(plain.losses))
        memory = ours.added_memory, plain.added_memory
    best = EDSR_OPERATIONS * batch * 32**2 / peak
    limit = f"{best:.2f} s for the EDSR's arithmetic alone, if all of it were done"
    share = f"{best / min(seconds['plain']):.0%} of it reached"
    metrics = [
        Metric(f"step, batch {batch}", Summary.from_values(seconds["ours"]), "s", limit=limit),
        Metric("step, plain", Summary.from_values(seconds["plain"]), "s", limit=share),
        Metric("times as fast", compute_ratio(seconds["plain"], seconds["ours"]), target=3, threshold=1.4),
        Metric("memory added", memory[0] / 2**20, "MiB"),
        Metric("memory added, plain", memory[1] / 2**20, "MiB"),
        Metric("memory, share of plain", memory[0] / memory[1], "", 1, 1, lower_is_better=True),
    ]
    for name, difference in zip(LOSSES, differences, strict=True):
        title = f"{name} after {steps} steps, difference"
        metrics.append(Metric(title, float(difference), "standard errors", 2, 3, lower_is_better=True))
    return metrics


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch", type=int, help="patches per step")
    parser.add_argument("--steps", type=int, help="steps after which losses are compared")


if __name__ == "__main__":
    run(__doc__, measure, add_arguments)

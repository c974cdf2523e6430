"""The joint step of the `seed` preset, batch 32 and EDSR 16×64, against the same step written plainly.

Plainly is: from the paper's formulas (unfold, multiply, sum), float32, as PyTorch lays tensors out by itself, with two
passes of the discriminator. Each runs in a process of its own, Patina's with the environment that its workers give to a
training. Both draw the same patches and start from the same weights, so that their losses can be compared after as many
steps: the difference of the means of the last third, in standard errors of the reference's. As steps that follow each
other are alike, these are taken from the means of ten pieces of it.

    PYTHONPATH=. python bench/train_step.py [--quick] [--check] [--batch 32] [--steps 300]
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
from training.config import preset
from training.data.patches import draw_clean, draw_latents, draw_real
from training.data.photos import Photos
from training.phases.joint import joint_step
from training.state import State
from worker.jobs.train import MALLOC_ENV

PIECES = 10
LOSSES = ("adversarial", "discriminator", "edsr_l1", "noise_levels")
EDSR_OPERATIONS = 3 * 2 * (9 * (3 * 64 + 33 * 64**2 + 64 * 256 + 4 * 64 * 256 + 16 * 64 * 3))  # a pixel, back and forth


def photos(folder: Path) -> tuple[Photos, Photos]:
    """(real, clean) of photographs that scikit-image carries; the real ones are other photographs, shrunk."""
    real = [pixels[::3, ::3] for pixels in (data.rocket(), data.coffee())]
    return Photos.write(folder / "lr", real), Photos.write(folder / "hr", [data.astronaut(), data.chelsea()])


def plain_step(state: State, real_photos: Photos, clean_photos: Photos) -> dict[str, float]:
    recipe, degradation, discriminator = state.recipe, state.degradation, state.discriminator
    taps, scale, batch = recipe.degradation.kernel.size, recipe.scale, recipe.batch
    real = draw_real(state, real_photos, batch)
    hr, _ = draw_clean(state, clean_photos, batch, recipe.lr_patch)
    latents = draw_latents(state, batch, recipe.lr_patch)

    kernel = degradation.kernel(latents.kernel)
    padded = functional.pad(hr, 4 * (taps // 2,), mode="reflect")
    windows = functional.unfold(padded, taps, stride=scale).view(batch, 3, taps**2, -1)
    blurred = (windows * kernel.view(batch, 1, taps**2, 1)).sum(2).view_as(real)
    noise = degradation.draw_noise(latents, blurred.detach())
    lr = quantize_ste(blurred + noise)

    discriminator.requires_grad_(False)
    adversarial = (discriminator(lr) - 1).square().mean()
    state.optimizers["degradation"].zero_grad()
    torch.autograd.backward(adversarial + recipe.noise_weight * noise.square().mean())
    torch.nn.utils.clip_grad_norm_(degradation.parameters(), recipe.clip_gradient)
    state.optimizers["degradation"].step()

    discriminator.requires_grad_(True)
    told_real, told_made = discriminator(real), discriminator(lr.detach())
    discrimination = ((told_real - 1).square().mean() + told_made.square().mean()) / 2
    state.optimizers["discriminator"].zero_grad()
    torch.autograd.backward(discrimination)
    state.optimizers["discriminator"].step()

    restoration = (state.edsr(lr.detach()) - hr).abs().mean()
    state.optimizers["edsr"].zero_grad()
    torch.autograd.backward(restoration)
    state.optimizers["edsr"].step()
    levels = 255 * noise.detach().square().mean().sqrt()
    return dict(zip(LOSSES, (x.item() for x in (adversarial, discrimination, restoration, levels)), strict=True))


def made_plain(state: State) -> None:
    for network in state.networks.values():
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    rate = state.recipe.edsr_rate
    state.optimizers = {
        name: torch.optim.Adam([weight for weight in network.parameters() if weight.requires_grad], rate)
        for name, network in state.networks.items()
    }


class Trainer:
    """A process that makes steps when asked to."""

    def __init__(self, folder: Path, batch: int, *, plain: bool):
        self._pipe, its = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(
            target=serve, args=(its, folder, batch, plain), daemon=True
        )
        before = dict(os.environ)
        os.environ.update({} if plain else MALLOC_ENV)
        self._process.start()
        os.environ.clear()
        os.environ.update(before)
        self._pipe.recv()  # it is ready
        self.losses: list[list[float]] = []
        self._before = read_resident_memory(self._pid)
        reset_peak_memory(self._pid)

    @property
    def _pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def added_memory(self) -> int:
        return read_peak_memory(self._pid) - self._before

    def step(self) -> None:
        self._pipe.send(None)
        self.losses.append(self._pipe.recv())


def serve(pipe: Connection, folder: Path, batch: int, plain: bool) -> None:
    real, clean = Photos(folder / "lr"), Photos(folder / "hr")
    state = State(replace(preset("seed", 4, device="cpu"), batch=batch), 0, "cpu")
    if plain:
        made_plain(state)
    step = plain_step if plain else partial(joint_step, fraction=0.0)
    pipe.send(None)
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        told = step(state, real, clean)
        pipe.send([told[name] for name in LOSSES])


def arithmetic() -> float:
    """Multiplications and additions a second of a large float32 product, the most that convolutions could reach."""
    one = torch.rand(1024, 1024)
    return 2 * 1024**3 / min(time_interleaved({"mm": partial(torch.mm, one, one)}, 10)["mm"])


def apart(ours: NDArray[np.float64], plain: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each loss, how far the means of the last third are apart, in standard errors of the reference's."""
    last = slice(-max(2, len(plain) // 3), None)
    ours, plain = ours[last], plain[last]
    pieces = np.array([piece.mean(0) for piece in np.array_split(plain, min(PIECES, len(plain)))])
    error = pieces.std(0, ddof=1) / len(pieces) ** 0.5
    return np.asarray(np.abs(ours.mean(0) - plain.mean(0)) / np.maximum(error, 1e-12))


def measure(options: argparse.Namespace) -> list[Metric]:
    batch = options.batch or (8 if options.quick else 32)
    steps = options.steps or (12 if options.quick else 300)
    rounds = 3 if options.quick else 7
    peak = arithmetic()
    with TemporaryDirectory() as folder:
        photos(Path(folder))
        ours, plain = (Trainer(Path(folder), batch, plain=kind) for kind in (False, True))
        taken = time_interleaved({"ours": ours.step, "plain": plain.step}, rounds)
        started = time.monotonic()
        while len(plain.losses) < steps:
            ours.step()
            plain.step()
        print(f"{steps} steps of both; those not timed took {time.monotonic() - started:.0f} s", flush=True)
        differences = apart(np.array(ours.losses), np.array(plain.losses))
        memory = ours.added_memory, plain.added_memory
    best = EDSR_OPERATIONS * batch * 32**2 / peak
    limit = f"{best:.2f} s for the EDSR's arithmetic alone, were nothing of it left out"
    figures = [
        Metric(f"step, batch {batch}", Summary.from_values(taken["ours"]), "s", limit=limit),
        Metric(
            "step, plain",
            Summary.from_values(taken["plain"]),
            "s",
            limit=f"{best / min(taken['plain']):.0%} of it reached",
        ),
        Metric("times as fast", compute_ratio(taken["plain"], taken["ours"]), target=3, threshold=1.4),
        Metric("memory added", memory[0] / 2**20, "MiB"),
        Metric("memory added, plain", memory[1] / 2**20, "MiB"),
        Metric("memory, share of plain", memory[0] / memory[1], "", 1, 1, lower_is_better=True),
    ]
    for name, difference in zip(LOSSES, differences, strict=True):
        figures.append(Metric(f"{name} after {steps} steps, apart", float(difference), "standard errors", 2, 3, True))
    return figures


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch", type=int, help="patches a step")
    parser.add_argument("--steps", type=int, help="after which losses are compared")


if __name__ == "__main__":
    run(__doc__, measure, add_arguments)

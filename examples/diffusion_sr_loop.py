"""Trains a diffusion network for super-resolution on `DegradedPairs`, in the styles of SeeSR and of OSEDiff.

    python examples/diffusion_sr_loop.py degrader.safetensors my-clean-photos --steps 1000
    python examples/diffusion_sr_loop.py degrader.safetensors my-clean-photos --one-step

Both enlarge `lq` to the size of `gt` first, and scale pixels to [-1, 1]. SeeSR's loop adds noise to `gt` at a random
time, and the network predicts it, conditioned on `lq`. OSEDiff's loop starts from `lq` at the last time, and one step
of the network has to give `gt`. A latent diffusion model would encode both with its autoencoder first.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from patina import Degrader
from patina.torch import DegradedPairs, PairSampler

TIMES = 1000  # of the noise schedule
TIME_FEATURES = 32


class SmallDenoiser(nn.Module):
    """Stands for a UNet: predicts the noise in `noisy`, given the time and the condition, all (B, 3, H, W)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.head = nn.Conv2d(6, width, 3, padding=1)
        self.time = nn.Linear(TIME_FEATURES, width)
        self.body = nn.Sequential(
            *(nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)),
            *(nn.SiLU(), nn.Conv2d(width, 3, 3, padding=1)),
        )

    def forward(self, noisy: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        frequencies = torch.exp(-math.log(TIMES) * torch.arange(TIME_FEATURES // 2, device=time.device) / 16)
        angles = time[:, None] * frequencies
        embedding: Tensor = self.time(torch.cat([angles.sin(), angles.cos()], 1))[:, :, None, None]
        return self.body(self.head(torch.cat([noisy, condition], 1)) + embedding)  # type: ignore[no-any-return]


def seesr_loss(network: SmallDenoiser, gt: Tensor, condition: Tensor, signal: Tensor) -> Tensor:
    """Returns the error of the predicted noise at random times. `signal` (TIMES,) is the share of gt's power."""
    time = torch.randint(TIMES, (len(gt),), device=gt.device)
    share, noise = signal[time][:, None, None, None], torch.randn_like(gt)
    return functional.mse_loss(network(share.sqrt() * gt + (1 - share).sqrt() * noise, time, condition), noise)


def osediff_loss(network: SmallDenoiser, gt: Tensor, condition: Tensor, signal: Tensor) -> Tensor:
    """Returns the error of one step from the condition at the last time to gt."""
    time = torch.full((len(gt),), TIMES - 1, device=gt.device)
    share = signal[-1]
    restored = (condition - (1 - share).sqrt() * network(condition, time, condition)) / share.sqrt()
    return functional.mse_loss(restored, gt)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("degrader", type=Path, help="a model's degrader.safetensors")
    parser.add_argument("photos", type=Path, help="folder of clean photos")
    parser.add_argument("--one-step", action="store_true", help="as OSEDiff; the default is as SeeSR")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", type=int, default=512)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    degrader = Degrader.load(options.degrader, options.device)
    pairs = DegradedPairs(options.photos, degrader, crop=options.crop, seed=options.seed, batched=True)
    sampler = PairSampler(pairs, seed=options.seed)
    network = SmallDenoiser().to(options.device)
    optimizer = torch.optim.AdamW(network.parameters(), 5e-5)
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, TIMES, device=options.device) ** 2  # as Stable Diffusion
    signal = (1 - betas).cumprod(0)
    compute_loss = osediff_loss if options.one_step else seesr_loss
    loader = DataLoader(pairs, options.batch, sampler=sampler, num_workers=options.workers)
    for step, batch in enumerate(loader, start=1):
        data = pairs.feed_data(batch)
        gt = 2 * data["gt"] - 1
        condition = 2 * functional.interpolate(data["lq"], size=gt.shape[2:], mode="bicubic") - 1
        loss = compute_loss(network, gt, condition, signal)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 0 or step == options.steps:
            print(f"step {step}: loss {loss.item():.4f}")
        if step == options.steps:
            break


if __name__ == "__main__":
    main()

"""Trains in the style of BasicSR: a model with `feed_data` and `optimize_parameters`, fed by `DegradedPairs`.

    python examples/basicsr_loop.py degrader.safetensors my-clean-photos --steps 1000

`DegradedPairs` takes the place of `RealESRGANDataset`, and its `feed_data` that of the second-order pipeline in
Real-ESRGAN's models. With `--device cuda` whole batches are degraded on the GPU. A run that is started again continues
from its last state: at the same step, with the pairs that would have come next.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from patina import Degrader
from patina.torch import DegradedPairs, Pair, PairSampler


class SmallNetwork(nn.Module):
    """Stands for RRDBNet or another network of yours: lr (B, 3, h, w) to (B, 3, s·h, s·w), both in [0, 1]."""

    def __init__(self, scale: int, width: int = 32) -> None:
        super().__init__()
        self.scale = scale
        self.body = nn.Sequential(
            *(nn.Conv2d(3, width, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, padding=1), nn.ReLU()),
            nn.Conv2d(width, 3 * scale**2, 3, padding=1),
            nn.PixelShuffle(scale),
        )

    def forward(self, lr: Tensor) -> Tensor:
        size = [self.scale * side for side in lr.shape[2:]]
        return functional.interpolate(lr, size=size, mode="bicubic") + 0.1 * self.body(lr)  # type: ignore[no-any-return]


class SRModel:
    """What BasicSR calls a model: a network with its data, loss and optimizer."""

    def __init__(self, pairs: DegradedPairs, device: str) -> None:
        self.pairs, self.device = pairs, device
        self.net_g = SmallNetwork(pairs.scale).to(device)
        self.optimizer_g = torch.optim.Adam(self.net_g.parameters(), 2e-4, betas=(0.9, 0.99))

    def feed_data(self, data: Pair) -> None:
        data = self.pairs.feed_data(data) if self.pairs.batched else data
        self.lq, self.gt = data["lq"].to(self.device), data["gt"].to(self.device)

    def optimize_parameters(self) -> float:
        self.optimizer_g.zero_grad()
        loss = functional.l1_loss(self.net_g(self.lq), self.gt)
        loss.backward()
        self.optimizer_g.step()
        return loss.item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("degrader", type=Path, help="a model's degrader.safetensors")
    parser.add_argument("photos", type=Path, help="folder of clean photos")
    parser.add_argument("--state", type=Path, default=Path("training_state.pt"), help="file to save to and resume from")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    degrader = Degrader.load(options.degrader, options.device)
    batched = options.device != "cpu"
    pairs = DegradedPairs(options.photos, degrader, crop=options.crop, seed=options.seed, batched=batched)
    model, step = SRModel(pairs, options.device), 0
    if options.state.exists():
        state = torch.load(options.state, weights_only=True)
        model.net_g.load_state_dict(state["net_g"])
        model.optimizer_g.load_state_dict(state["optimizer_g"])
        step = state["step"]
    sampler = PairSampler(pairs, seed=options.seed, start=step * options.batch)
    loader = DataLoader(pairs, options.batch, sampler=sampler, num_workers=options.workers)
    for data in loader if step < options.steps else ():
        model.feed_data(data)
        loss = model.optimize_parameters()
        step += 1
        if step % 100 == 0 or step == options.steps:
            print(f"step {step}: l_pix {loss:.4f}")
            state = {"step": step, "net_g": model.net_g.state_dict(), "optimizer_g": model.optimizer_g.state_dict()}
            torch.save(state, options.state)
        if step == options.steps:
            break


if __name__ == "__main__":
    main()

"""Do the report's score and alarms rank degradations as the truth does? Asked of stubs whose truth is known.

    python bench/report_ranking.py ../shared/bench --photos ../shared/photos/hr

For each camera, photos are split and shot as recovery.py does. Judged are stand-ins for trained models that draw the
camera's own kernels and noise, but too wide or narrow, too strong or weak, all the same, independent of brightness, or
not compressed. Printed is Spearman's correlation between their scores and how far they are from the camera; with
--verbose, each. Trained degradations (`--model degrader.safetensors`, with --camera) are judged beside the stubs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.stats import spearmanr, wasserstein_distance
from torch import Tensor

from bench.measure import Metric, add_json_option, save_metrics
from models.checkpoint import load_degradation
from models.degradation import Degradation, DegradationConfig, Latents
from models.networks.kernel import KernelConfig
from models.networks.noise import NoiseConfig
from tests.training.stubs import Drawn
from training.data.photos import Photos
from training.report.evaluator import Judge
from training.report.metrics import axes_of

DRAWS = 300  # kernels in a stub
LEVELS_A_PIXEL = 4  # of the truth: so many levels of noise count as much as a pixel of width
# What the cameras of cameras.py draw from: widths, whether round, read noise, shot noise.
CAMERAS = {
    "phone": ((0.8, 3.5), False, (1, 4), (0.1, 1.0)),
    "compact": ((1.4, 2.4), True, (4, 10), None),
    "web": ((1.0, 2.0), True, (1, 4), None),
}


@dataclass(frozen=True)
class Wrong:
    """What a stub does otherwise than its camera."""

    width: float = 1.0  # times as wide
    minor: float = 1.0  # times as wide across
    noise: float = 1.0  # times as strong
    one_kernel: bool = False
    one_level: bool = False
    even: bool = False  # noise that does not depend on brightness
    uncompressed: bool = False


class Stub(Degradation):
    """A camera's own kernels and noise, but for what is wrong."""

    def __init__(self, camera: Any, gaussian: Any, wrong: Wrong):
        noise = NoiseConfig(condition_on_image=True, z=4, width=4, blocks=1, dim=3, num_filters=4)
        low, high = camera.jpeg_quality or (0, -1)
        qualities = () if wrong.uncompressed else tuple(range(low, high + 1))
        super().__init__(DegradationConfig(camera.scale, KernelConfig(size=24), noise, True, qualities))
        (low, high), round_, self.read, self.shot = CAMERAS[camera.name]
        self.wrong = wrong
        rng = np.random.default_rng(0)
        kernels = []
        for _ in range(DRAWS):
            minor, major = sorted(rng.uniform(low, high, 2))
            if round_:
                minor = major = rng.uniform(low, high)
            if wrong.one_kernel:
                minor, major = ((low + high) / 2,) * 2 if round_ else (low + (high - low) / 3, high - (high - low) / 3)
            angle = 0.5 if wrong.one_kernel else rng.uniform(0, np.pi)
            kernels.append(gaussian(major * wrong.width, minor * wrong.minor * wrong.width, angle))
        self.kernel = Drawn(torch.from_numpy(np.array(kernels)).float())  # type: ignore[assignment]

    def draw_noise(self, latents: Latents, blurred: Tensor) -> Tensor:
        assert self.config.noise
        margin = self.config.noise.margin
        share = torch.special.ndtr(latents.noise[:, :2])
        if self.wrong.one_level:
            share = torch.full_like(share, 0.5)
        variance = (self.read[0] + (self.read[1] - self.read[0]) * share[:, :1]) ** 2
        if self.shot:
            level = 255 * blurred.clamp(0, 1)
            level = level.mean((1, 2, 3), keepdim=True) if self.wrong.even else level
            variance = variance + (self.shot[0] + (self.shot[1] - self.shot[0]) * share[:, 1:]) * level
        white = latents.white_noise[:, :, margin:-margin, margin:-margin]
        return self.wrong.noise * variance.sqrt() * white / 255


def candidates(camera: Any) -> dict[str, Wrong]:
    found = {f"width ×{factor}": Wrong(width=factor) for factor in (0.6, 0.75, 0.9, 1.1, 1.25, 1.6)}
    found |= {f"noise ×{factor}": Wrong(noise=factor) for factor in (0, 0.5, 0.75, 1.3, 2)}
    found |= {"right": Wrong(), "one kernel": Wrong(one_kernel=True), "one level": Wrong(one_level=True)}
    if camera.name == "phone":
        found |= {"rounder": Wrong(minor=1.4), "longer": Wrong(minor=0.7), "even": Wrong(even=True)}
    if camera.jpeg_quality:
        found |= {"uncompressed": Wrong(uncompressed=True)}
    rng = np.random.default_rng(9)
    for number in range(12):
        width, noise = np.exp(rng.normal(0, 0.25)), np.exp(rng.normal(0, 0.4))
        found[f"random {number}"] = Wrong(float(width), 1.0, float(noise), one_kernel=bool(rng.random() < 0.3))
    return found


@torch.no_grad()
def figures_of(judge: Judge, degradation: Degradation) -> np.ndarray[Any, Any]:
    """(looks, 4): widths in pixels, levels of noise after rounding, in shade and light."""
    rows = []
    for made in judge.made(degradation):
        major, minor, _, _ = axes_of(made.kernel[None])
        square = (made.lr - made.blurred).square().mean(1).flatten()
        light = made.blurred.mean(1).flatten()
        bright = light > light.median()
        halves = [square[half].mean().sqrt().item() if half.any() else 0.0 for half in (~bright, bright)]
        rows.append([major.item(), minor.item(), *halves])
    return np.array(rows)


def error_of(got: np.ndarray[Any, Any], true: np.ndarray[Any, Any]) -> float:
    apart = [wasserstein_distance(got[:, index], true[:, index]) for index in range(4)]
    return float(sum(apart[:2]) / 2 + sum(apart[2:]) / 2 / LEVELS_A_PIXEL)


def judged(camera: Any, gaussian: Any, halve: Any, pictures: list[Any], options: argparse.Namespace) -> list[Metric]:
    rng = np.random.default_rng(options.seed)
    order = rng.permutation(len(pictures))[: 2 * len(pictures) // 3][: options.subjects]
    halves = [halve(pictures[index], rng) for index in order]
    real = [camera.shoot(one, rng).lr for one, _ in halves for _ in range(4)]
    with tempfile.TemporaryDirectory() as folder:
        lr, hr = Photos.write(Path(folder) / "lr", real), Photos.write(Path(folder) / "hr", [two for _, two in halves])
        started = time.monotonic()
        judge = Judge(lr, hr, camera.scale, seed=options.seed, looks=options.looks)
        seconds = time.monotonic() - started
        true = figures_of(judge, Stub(camera, gaussian, Wrong()))
        models = {name: Stub(camera, gaussian, wrong) for name, wrong in candidates(camera).items()}
        models |= {path.stem: load_degradation(path) for path in options.model}
        rows = []
        for name, model in models.items():
            report = judge.report(model)
            rows.append((error_of(figures_of(judge, model), true), report.score, name, report))
    rank = spearmanr([row[0] for row in rows], [row[1] for row in rows])[0]
    apart = [row[3].two_sample.accuracy for row in rows]
    of_test = spearmanr([row[0] for row in rows], apart)[0]
    print(
        f"{camera.name}: score {rank:.3f}, two-sample {of_test:.3f}; reading the photos took {seconds:.1f} s",
        flush=True,
    )
    if options.verbose:
        for error, score, name, report in sorted(rows, key=lambda row: row[0]):
            told = f"{report.two_sample.accuracy:.2f} ± {report.two_sample.uncertainty:.2f}"
            codes = ", ".join(alarm.code if alarm.severity == "alarm" else f"({alarm.code})" for alarm in report.alarms)
            print(f"  {name:14} error {error:5.2f} score {score:5.2f} told apart {told} {codes}")
    return [
        Metric(f"`{camera.name}`, seed {options.seed}: Spearman correlation of the score", float(rank), target=0.85),
        Metric(
            f"`{camera.name}`, seed {options.seed}: Spearman correlation of the two-sample accuracy", float(of_test)
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", type=Path, help="folder of recovery.py and cameras.py")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--camera", action="append", choices=sorted(CAMERAS), help="all, if none is named")
    parser.add_argument("--model", type=Path, action="append", default=[], help="a trained degradation")
    parser.add_argument("--looks", type=int, default=240)
    parser.add_argument("--subjects", type=int, default=1000, help="only so many pictures, each in four real photos")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true")
    add_json_option(parser)
    options = parser.parse_args()
    sys.path.insert(0, str(options.bench))
    import recovery  # noqa: PLC0415  # type: ignore[import-not-found]
    from cameras import gaussian  # noqa: PLC0415  # type: ignore[import-not-found]

    torch.set_num_threads(1)
    paths = sorted(path for path in options.photos.iterdir() if path.suffix in {".jpg", ".png"})
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    metrics: list[Metric] = []
    for name in options.camera or sorted(CAMERAS):
        metrics += judged(recovery.CAMERAS[name], gaussian, recovery.halve, pictures, options)
    save_metrics(options, metrics)


if __name__ == "__main__":
    main()

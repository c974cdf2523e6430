"""Whether the report ranks degradations as the pairs that they generate are worth.

    python -m bench.pair_ranking ../shared/bench --photos ../shared/photos/hr --camera night --camera handset
    python -m bench.pair_ranking ../shared/bench --lens ../shared/real/lens_iphone

For cameras without a true kernel: with demosaicing, sharpening and denoising. A degradation is trained for each,
without its EDSR. Its variants have other sharpening, or wider kernels. What their pairs are worth: PSNR on the camera's
own photos, of a network whose last layer is refitted to the pairs in closed form. Its other layers were trained once on
bicubic, generated and the camera's own pairs. Prints each variant, and Spearman's correlation of scores with worths.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional

from bench.measure import Metric, add_json_option, save_metrics
from bench.recipe import print_progress
from models.degradation import Degradation
from models.inference.triplet import degrade_image
from training.data.photos import Photos
from training.loop import train
from training.phases.sharpen import mean_width, set_kernel_config, set_mask
from training.presets import get_preset
from training.progress import Checkpoint, Stopped
from training.report.evaluator import Evaluator
from training.state import TrainState

Photo = NDArray[np.uint8]
Pairs = list[tuple[Photo, Photo]]  # (low-resolution, high-resolution)

# Amount of the unsharp mask, its radius in low-resolution pixels, and a factor of the kernels' width.
VARIANTS = (
    (0.0, 1.0, 1.0),
    (0.4, 1.0, 1.0),
    (0.9, 1.0, 1.0),
    (1.6, 1.0, 1.0),
    (0.6, 2.0, 1.0),
    (1.1, 2.0, 1.0),
    (1.6, 2.0, 1.0),
    (1.1, 2.0, 1.15),
    (0.0, 1.0, 1.3),
)
RIDGE = 3e-4  # relative to the mean square of the features


@dataclass(frozen=True)
class Camera:
    name: str
    scale: int
    lr: list[Photo]
    clean: list[Photo]
    own: Pairs
    judged: Pairs
    psnr: Any  # of an image and its truth, leaving out a border


def load(folder: Path) -> dict[str, Photo]:
    paths = sorted(path for path in folder.iterdir() if path.suffix in {".png", ".webp", ".jpg"})
    return {path.stem: np.asarray(Image.open(path).convert("RGB")) for path in paths}


def shoot(name: str, pictures: list[Photo], seed: int) -> Camera:
    """Photographs halves of pictures, as recovery.py does."""
    import recovery  # noqa: PLC0415

    from bench.extra_cameras import EXTRA_CAMERAS  # noqa: PLC0415 - it imports cameras.py of the external benchmark

    camera, rng = (recovery.CAMERAS | EXTRA_CAMERAS)[name], np.random.default_rng(seed)
    order, split = rng.permutation(len(pictures)), 2 * len(pictures) // 3
    halves = [recovery.halve(pictures[index], rng) for index in order[:split]]
    judged = [recovery.centre_crop(pictures[index], recovery.JUDGE_SIDE, camera.scale) for index in order[split:]]
    clean = [recovery.centre_crop(second, 4096, camera.scale) for _, second in halves]
    return Camera(
        name,
        camera.scale,
        [camera.shoot(first, rng).lr for first, _ in halves for _ in range(4)],
        clean,
        [(camera.shoot(hr, rng).lr, hr) for hr in clean for _ in range(2)],
        [(camera.shoot(hr, rng).lr, hr) for hr in judged],
        lambda image, truth: recovery.pairs.psnr_y(image, truth, camera.scale),
    )


def open_lens(folder: Path) -> Camera:
    import real  # noqa: PLC0415

    scale = json.loads((folder / "truth.json").read_text())["scale"]
    train_lr, train_hr, oracle, test_lr, test_hr = (
        load(folder / part) for part in ("train_lr", "train_hr", "oracle_hr", "test_lr", "test_hr")
    )
    return Camera(
        folder.name,
        scale,
        list(train_lr.values()),
        [real.crop(photo, scale) for photo in train_hr.values()],
        [(train_lr[name], oracle[name]) for name in oracle],
        [(test_lr[name], test_hr[name]) for name in test_lr],
        lambda image, truth: real.psnr(image, truth, 2 * scale),
    )


def learn(camera: Camera, photos: tuple[Photos, Photos], options: argparse.Namespace) -> TrainState:
    """Trains until the EDSR would begin. Returns the state, sharpened as the training does."""
    states = list[TrainState]()

    def keep(checkpoint: Checkpoint) -> None:
        states[:] = [checkpoint.state]

    config = get_preset("default", camera.scale, device="cpu")
    with suppress(Stopped):
        train(
            config,
            *photos,
            seed=options.seed,
            max_minutes=options.minutes,
            on_progress=print_progress,
            on_checkpoint=keep,
            checkpoint_every_seconds=0,
            should_stop=lambda: bool(states) and states[0].sharpened,
        )
    return states[0]


class PairJudge:
    """Measures what pairs are worth."""

    def __init__(self, camera: Camera, mixture: Pairs, steps: int, patches: int):
        import recovery  # noqa: PLC0415

        self.camera, self.pairs, self.patches = camera, recovery.pairs, patches
        self.network = self.pairs.train(mixture, camera.scale, steps)

    @torch.inference_mode()
    def measure(self, source: Pairs) -> float:
        """Returns the mean PSNR in dB on the judged photos, after a refit to `source`."""
        weight = self._refit(source)
        restored = (self._restore(lr, weight) for lr, _ in self.camera.judged)
        found = zip(restored, self.camera.judged, strict=True)
        return float(np.mean([self.camera.psnr(sr, hr) for sr, (_, hr) in found]))

    def _refit(self, source: Pairs) -> Tensor:
        scale, rng = self.camera.scale, np.random.default_rng(0)
        normal, target = torch.zeros(()), torch.zeros(())
        for _ in range(0, self.patches, 16):
            low, high = self.pairs._batch(source, scale, rng)
            missing = functional.pixel_unshuffle(high - self._enlarge(low), scale)[:, :, 1:-1, 1:-1]
            inputs = functional.unfold(self._features(low), 3).transpose(1, 2).flatten(0, 1)
            inputs = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], 1).double()
            normal = normal + inputs.T @ inputs
            target = target + inputs.T @ missing.permute(0, 2, 3, 1).flatten(0, 2).double()
        ridge = RIDGE * normal.diagonal().mean() * torch.eye(len(normal), dtype=normal.dtype)
        weight: Tensor = torch.linalg.solve(normal + ridge, target).float()
        return weight

    def _restore(self, lr: Photo, weight: Tensor) -> Photo:
        low, scale = self.pairs.as_tensor(lr[None]), self.camera.scale
        features = functional.pad(self._features(low), [1] * 4, mode="replicate")
        kernel = weight[:-1].T.reshape(3 * scale**2, -1, 3, 3)
        added = functional.pixel_shuffle(functional.conv2d(features, kernel, weight[-1]), scale)
        image: Photo = self.pairs.to_image(self._enlarge(low) + added)
        return image

    def _enlarge(self, low: Tensor) -> Tensor:
        return functional.interpolate(low, scale_factor=self.camera.scale, mode="bicubic", align_corners=False)

    def _features(self, low: Tensor) -> Tensor:
        features = self.network.head(low)
        depths = [features]
        for number, block in enumerate(self.network.blocks):
            features = features + block(features)
            if number % 2:
                depths.append(features)
        return torch.cat(depths, 1)


def generate(degradation: Degradation, clean: list[Photo]) -> Pairs:
    return [
        (degrade_image(degradation, hr, seed=1, seed_key=str(number), sample=0).lr, hr)
        for number, hr in enumerate(clean)
    ]


def vary(state: TrainState) -> Iterator[tuple[str, Degradation]]:
    """Yields the degradation as learned, and its variants, one after the other in the same object."""
    yield "as learned", state.degradation
    plain = replace(state.config.degradation.kernel, sharpening_amount=0.0, temperature=1.0)
    set_kernel_config(state, plain)
    before, width = state.config.degradation, mean_width(state)
    for amount, radius, wider in VARIANTS:
        set_mask(state, before, amount, radius, width * wider)
        yield f"amount {amount:g}, radius {radius:g}, width ×{wider:g}", state.degradation


def rank(camera: Camera, options: argparse.Namespace) -> Metric:
    import recovery  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        lr, hr = (
            Photos.write(Path(folder) / role, photos) for role, photos in (("lr", camera.lr), ("hr", camera.clean))
        )
        state = learn(camera, (lr, hr), options)
        bicubic = [(recovery.shrink(photo, camera.scale), photo) for photo in camera.clean]
        sources = camera.own, bicubic, generate(state.degradation, camera.clean)
        longest = max(map(len, sources))
        mixture = [source[number % len(source)] for source in sources for number in range(longest)]
        judge = PairJudge(camera, mixture, options.base_steps, options.patches)
        bounds = judge.measure(bicubic), judge.measure(camera.own)
        print(f"{camera.name}: pairs: bicubic {bounds[0]:.2f} dB, own {bounds[1]:.2f} dB", flush=True)
        evaluator, rows = Evaluator(lr, hr, camera.scale, seed=options.seed, num_crops=options.crops), []
        for name, degradation in vary(state):
            worth = judge.measure(generate(degradation, camera.clean))
            report = evaluator.report(degradation, (), state.real)
            rows.append((worth, report.score))
            share = (worth - bounds[0]) / (bounds[1] - bounds[0])
            codes = ", ".join(f"{alarm.code} ({alarm.severity})" for alarm in report.alarms)
            print(f"  {name:36} {worth:.2f} dB, share {share:5.2f}, score {report.score:.2f} {codes}", flush=True)
    correlation = spearmanr([-worth for worth, _ in rows], [score for _, score in rows])[0]
    print(f"{camera.name}: Spearman {correlation:.3f}", flush=True)
    name = f"`{camera.name}`, seed {options.seed}: Spearman correlation of the score with what pairs are worth"
    return Metric(name, float(correlation), target=0.9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", type=Path, help="folder of recovery.py, real.py, pairs.py and cameras.py")
    parser.add_argument("--photos", type=Path, help="clean photos for the simulated cameras")
    parser.add_argument("--camera", action="append", default=[], help="repeatable: handset, forwarded, night, …")
    parser.add_argument("--lens", type=Path, help="real.py's folder of a lens")
    parser.add_argument("--minutes", type=float, default=5, help="of a training; its half for the EDSR is left out")
    parser.add_argument("--base-steps", type=int, default=400, help="of the network that is refitted")
    parser.add_argument("--patches", type=int, default=72, help="that it is refitted to")
    parser.add_argument("--crops", type=int, default=120, help="groups of crops that a report compares")
    parser.add_argument("--seed", type=int, default=0)
    add_json_option(parser)
    options = parser.parse_args()
    if options.camera and not options.photos:
        parser.error("--camera needs --photos")
    sys.path.insert(0, str(options.bench))
    torch.set_num_threads(1)
    pictures = list(load(options.photos).values()) if options.camera else []
    metrics = [rank(shoot(name, pictures, options.seed), options) for name in options.camera]
    if options.lens:
        metrics.append(rank(open_lens(options.lens), options))
    save_metrics(options, metrics)


if __name__ == "__main__":
    main()

"""Whether the report's score and alarms rank degradations as the ground truth does.

    python -m bench.report_ranking ../shared/bench --photos ../shared/photos/hr

For each camera, photos are split and shot as in recovery.py. The models are stubs with the camera's own kernels and
noise, wrong in one way: too wide or narrow, too strong or weak, all the same, independent of brightness, or not
compressed. For mixtures of extra_cameras.py, they may also lie between the kinds, or have them in other shares, and the
report knows what the estimator predicts for the real photos. Prints Spearman's correlation between their scores and
their distances to the camera; with --verbose, each stub. `--model degrader.safetensors` adds a trained degradation, for
the camera of --camera.
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
from tests.support.degradation_stubs import FixedKernels
from training.data.photos import Photos
from training.data.preparation import adapt_config
from training.phases.encode import encode_real_photos
from training.presets import get_preset
from training.report.evaluator import Evaluator
from training.report.metrics import principal_axes
from training.state import RealFeatures, TrainState

NUM_KERNELS = 300  # in a stub
LEVELS_PER_PIXEL = 4  # of the true distance: levels of noise std that weigh as much as a pixel of width
# The ranges that the cameras of cameras.py draw from: sigmas, whether round, read noise, shot noise.
CAMERAS = {
    "phone": ((0.8, 3.5), False, (1, 4), (0.1, 1.0)),
    "compact": ((1.4, 2.4), True, (4, 10), None),
    "web": ((1.0, 2.0), True, (1, 4), None),
}

# Of mixtures: read noise, shot noise of each kind.
MIXTURES = {
    "shaken": (((2, 5), None), ((2, 5), None)),
    "phones": (((1, 2), None), ((3, 6), (0.2, 0.8))),
}


@dataclass(frozen=True)
class Deviation:
    """How a stub differs from its camera."""

    width: float = 1.0  # factor of both sigmas of a kernel
    minor: float = 1.0  # further factor of the minor one
    noise: float = 1.0  # factor of the noise std
    one_kernel: bool = False
    one_sigma: bool = False  # noise of the same std in all photos
    uniform: bool = False  # noise that does not depend on brightness
    uncompressed: bool = False
    merged: float = 0.0  # of mixtures: how far kernels are moved to the mean width, 0..1
    share: float = 0.5  # of mixtures: of the first kind


class StubDegradation(Degradation):
    """A camera's own kernels and noise, apart from the deviation."""

    def __init__(self, camera: Any, gaussian: Any, deviation: Deviation):
        noise = NoiseConfig(condition_on_image=True, z=4, width=4, blocks=1, dim=3, num_filters=4)
        low, high = camera.jpeg_quality or (0, -1)
        qualities = () if deviation.uncompressed else tuple(range(low, high + 1))
        super().__init__(DegradationConfig(camera.scale, KernelConfig(size=24), noise, True, qualities))
        (low, high), round_, self.read, self.shot = CAMERAS[camera.name]
        self.deviation = deviation
        rng = np.random.default_rng(0)
        kernels = []
        for _ in range(NUM_KERNELS):
            minor, major = sorted(rng.uniform(low, high, 2))
            if round_:
                minor = major = rng.uniform(low, high)
            if deviation.one_kernel:
                minor, major = ((low + high) / 2,) * 2 if round_ else (low + (high - low) / 3, high - (high - low) / 3)
            angle = 0.5 if deviation.one_kernel else rng.uniform(0, np.pi)
            kernels.append(gaussian(major * deviation.width, minor * deviation.minor * deviation.width, angle))
        self.kernel = FixedKernels(torch.from_numpy(np.array(kernels)).float())  # type: ignore[assignment]

    def draw_noise(self, latents: Latents, blurred: Tensor) -> Tensor:
        assert self.config.noise
        margin = self.config.noise.margin
        share = torch.special.ndtr(latents.noise[:, :2])
        if self.deviation.one_sigma:
            share = torch.full_like(share, 0.5)
        variance = (self.read[0] + (self.read[1] - self.read[0]) * share[:, :1]) ** 2
        if self.shot:
            brightness = 255 * blurred.clamp(0, 1)
            brightness = brightness.mean((1, 2, 3), keepdim=True) if self.deviation.uniform else brightness
            variance = variance + (self.shot[0] + (self.shot[1] - self.shot[0]) * share[:, 1:]) * brightness
        white = latents.white_noise[:, :, margin:-margin, margin:-margin]
        noise: Tensor = self.deviation.noise * variance.sqrt() * white / 255
        return noise


class MixtureStub(Degradation):
    """The kinds of a mixture, apart from the deviation. Blur and noise are independent, as in a learned model."""

    def __init__(self, camera: Any, deviation: Deviation):
        noise = NoiseConfig(condition_on_image=True, z=4, width=4, blocks=1, dim=3, num_filters=4)
        super().__init__(DegradationConfig(camera.scale, KernelConfig(size=24), noise, True))
        self.kinds, self.deviation = MIXTURES[camera.name], deviation
        rng = np.random.default_rng(0)
        drawn = [
            camera.kinds[int(number >= deviation.share * NUM_KERNELS)].draw_kernel(rng) for number in range(NUM_KERNELS)
        ]
        kernels = torch.from_numpy(np.array(drawn)).float()
        major, minor, _, _ = principal_axes(kernels)
        size = (major * minor).sqrt()
        factor = (size.mean() / size) ** deviation.merged * deviation.width
        self.kernel = FixedKernels(resize_kernels(kernels, factor))  # type: ignore[assignment]

    def draw_noise(self, latents: Latents, blurred: Tensor) -> Tensor:
        assert self.config.noise
        margin = self.config.noise.margin
        share = torch.special.ndtr(latents.noise[:, :3])
        variances = []
        for read, shot in self.kinds:
            variance = (read[0] + (read[1] - read[0]) * share[:, :1]) ** 2
            if shot:
                variance = variance + (shot[0] + (shot[1] - shot[0]) * share[:, 1:2]) * 255 * blurred.clamp(0, 1)
            variances.append(variance)
        first, second = variances
        variance = torch.where(share[:, 2:] < self.deviation.share, first, second)
        white = latents.white_noise[:, :, margin:-margin, margin:-margin]
        noise: Tensor = self.deviation.noise * variance.sqrt() * white / 255
        return noise


def resize_kernels(kernel: Tensor, factor: Tensor) -> Tensor:
    """Makes kernels (N, K, K) wider by factor (N,), around the window's center."""
    theta = torch.zeros(len(kernel), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / factor
    grid = torch.nn.functional.affine_grid(theta, [len(kernel), 1, *kernel.shape[1:]], align_corners=False)
    resized = torch.nn.functional.grid_sample(kernel[:, None], grid, align_corners=False)[:, 0]
    return resized / resized.sum((1, 2), keepdim=True)


def get_mixture_deviations() -> dict[str, Deviation]:
    deviations = {"right": Deviation()}
    deviations |= {f"merged {part}": Deviation(merged=part) for part in (0.3, 0.6, 1.0)}
    deviations |= {f"share {share}": Deviation(share=share) for share in (0.1, 0.25, 0.75, 0.9)}
    deviations |= {f"width ×{factor}": Deviation(width=factor) for factor in (0.75, 0.9, 1.1, 1.25)}
    deviations |= {f"noise ×{factor}": Deviation(noise=factor) for factor in (0.5, 1.5)}
    rng = np.random.default_rng(9)
    for number in range(8):
        width, noise, merged = np.exp(rng.normal(0, 0.2)), np.exp(rng.normal(0, 0.3)), rng.uniform(0, 1)
        deviations[f"random {number}"] = Deviation(float(width), noise=float(noise), merged=float(merged))
    return deviations


def encode(lr: Photos, hr: Photos, scale: int, seed: int) -> RealFeatures | None:
    """Returns what the estimator predicts for the real photos, as a training would."""
    state = TrainState(adapt_config(get_preset("default", scale, device="cpu"), lr, hr), seed, "cpu")
    encode_real_photos(state, lr, hr)
    return state.real


def get_deviations(camera: Any) -> dict[str, Deviation]:
    deviations = {f"width ×{factor}": Deviation(width=factor) for factor in (0.6, 0.75, 0.9, 1.1, 1.25, 1.6)}
    deviations |= {f"noise ×{factor}": Deviation(noise=factor) for factor in (0, 0.5, 0.75, 1.3, 2)}
    deviations |= {
        "right": Deviation(),
        "one kernel": Deviation(one_kernel=True),
        "one noise std": Deviation(one_sigma=True),
    }
    if camera.name == "phone":
        deviations |= {
            "rounder": Deviation(minor=1.4),
            "longer": Deviation(minor=0.7),
            "uniform noise": Deviation(uniform=True),
        }
    if camera.jpeg_quality:
        deviations |= {"uncompressed": Deviation(uncompressed=True)}
    rng = np.random.default_rng(9)
    for number in range(12):
        width, noise = np.exp(rng.normal(0, 0.25)), np.exp(rng.normal(0, 0.4))
        deviations[f"random {number}"] = Deviation(float(width), 1.0, float(noise), one_kernel=bool(rng.random() < 0.3))
    return deviations


@torch.no_grad()
def measure_crops(evaluator: Evaluator, degradation: Degradation) -> np.ndarray[Any, Any]:
    """Returns (crops, 4): two sigmas of the kernel in pixels, noise std after rounding in the dark and bright half."""
    rows = []
    for crop in evaluator.generate(degradation):
        major, minor, _, _ = principal_axes(crop.kernel[None])
        square = (crop.lr - crop.blurred).square().mean(1).flatten()
        brightness = crop.blurred.mean(1).flatten()
        bright = brightness > brightness.median()
        halves = [square[half].mean().sqrt().item() if half.any() else 0.0 for half in (~bright, bright)]
        rows.append([major.item(), minor.item(), *halves])
    return np.array(rows)


def compute_error(got: np.ndarray[Any, Any], true: np.ndarray[Any, Any]) -> float:
    distances = [wasserstein_distance(got[:, index], true[:, index]) for index in range(4)]
    return float(sum(distances[:2]) / 2 + sum(distances[2:]) / 2 / LEVELS_PER_PIXEL)


def rank_models(
    camera: Any, gaussian: Any, halve: Any, pictures: list[Any], options: argparse.Namespace
) -> list[Metric]:
    """Reports on all stubs of a camera, and returns the correlations."""
    rng = np.random.default_rng(options.seed)
    order = rng.permutation(len(pictures))[: 2 * len(pictures) // 3][: options.subjects]
    halves = [halve(pictures[index], rng) for index in order]
    real = [camera.shoot(first, rng).lr for first, _ in halves for _ in range(4)]
    with tempfile.TemporaryDirectory() as folder:
        lr = Photos.write(Path(folder) / "lr", real)
        hr = Photos.write(Path(folder) / "hr", [second for _, second in halves])
        started = time.monotonic()
        evaluator = Evaluator(lr, hr, camera.scale, seed=options.seed, num_crops=options.crops)
        seconds = time.monotonic() - started
        is_mixture = camera.name in MIXTURES
        real_features = encode(lr, hr, camera.scale, options.seed) if is_mixture else None

        def make(deviation: Deviation) -> Degradation:
            return MixtureStub(camera, deviation) if is_mixture else StubDegradation(camera, gaussian, deviation)

        true = measure_crops(evaluator, make(Deviation()))
        deviations = get_mixture_deviations() if is_mixture else get_deviations(camera)
        models = {name: make(deviation) for name, deviation in deviations.items()}
        models |= {path.stem: load_degradation(path) for path in options.model}
        rows = []
        for name, model in models.items():
            report = evaluator.report(model, (), real_features)
            assert report.two_sample is not None
            error = compute_error(measure_crops(evaluator, model), true)
            rows.append((error, report.score, name, report, report.two_sample))
    rank = spearmanr([row[0] for row in rows], [row[1] for row in rows])[0]
    accuracies = [row[4].accuracy for row in rows]
    accuracy_rank = spearmanr([row[0] for row in rows], accuracies)[0]
    print(
        f"{camera.name}: score {rank:.3f}, two-sample {accuracy_rank:.3f}; building the evaluator took {seconds:.1f} s",
        flush=True,
    )
    if options.verbose:
        for error, score, name, report, test in sorted(rows, key=lambda row: row[0]):
            accuracy = f"{test.accuracy:.2f} ± {test.uncertainty:.2f}"
            codes = ", ".join(alarm.code if alarm.severity == "error" else f"({alarm.code})" for alarm in report.alarms)
            print(f"  {name:14} error {error:5.2f} score {score:5.2f} real vs. generated {accuracy} {codes}")
    prefix = f"`{camera.name}`, seed {options.seed}: Spearman correlation of the"
    return [
        Metric(f"{prefix} score", float(rank), target=0.85),
        Metric(f"{prefix} two-sample accuracy", float(accuracy_rank)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", type=Path, help="folder of recovery.py and cameras.py")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument(
        "--camera", action="append", choices=sorted(CAMERAS | MIXTURES), help="repeatable; default: all"
    )
    parser.add_argument("--model", type=Path, action="append", default=[], help="a trained degradation")
    parser.add_argument("--crops", type=int, default=240, help="groups of crops that a report compares")
    parser.add_argument(
        "--subjects", type=int, default=1000, help="maximum number of pictures, each in four real photos"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true")
    add_json_option(parser)
    options = parser.parse_args()
    sys.path.insert(0, str(options.bench))
    import recovery  # noqa: PLC0415
    from cameras import gaussian  # noqa: PLC0415

    from bench.extra_cameras import EXTRA_CAMERAS  # noqa: PLC0415 - it imports cameras.py of the external benchmark

    torch.set_num_threads(1)
    paths = sorted(path for path in options.photos.iterdir() if path.suffix in {".jpg", ".png"})
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    metrics: list[Metric] = []
    for name in options.camera or sorted(CAMERAS | MIXTURES):
        metrics += rank_models((recovery.CAMERAS | EXTRA_CAMERAS)[name], gaussian, recovery.halve, pictures, options)
    save_metrics(options, metrics)


if __name__ == "__main__":
    main()

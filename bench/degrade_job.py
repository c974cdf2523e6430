"""A degrade job from the request to its finished archive, against a bare loop that only decodes and encodes.

    python -m bench.degrade_job --images 100

100 images of two megapixels as JPEG, four samples of each, with a model of the published recipe and one of the default
recipe, both trained for a few steps. The images lie in a dataset (`source`); once more, they are sent with the request.
The bare loop, in as many processes as there are cores, decodes each image and encodes and writes what a job had made of
it, with the same functions; nothing is computed, hashed, recorded, made to last, or put in an archive.
"""

from __future__ import annotations

import argparse
import io
import itertools
import multiprocessing
import os
import shutil
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tarfile import TarFile
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.measure import Metric, Summary, compute_ratio, run, time_interleaved
from imaging.image_files import read_rgb
from imaging.png import write_png
from patina.demo.photographs import load_photographs
from patina.local.session import temporary_service
from worker.jobs.triplet_files import encode_npy

SIZE = (1632, 1224)
SCALE, SAMPLES = 4, 4
PRESETS = {"seed": 0.8, "default": 0.5}  # and the share of the bare loop's speed that is aimed at
# Of our and of Pillow's bare loop: below the lowest share that was seen of few images, whose job takes half a second.
FLOORS = {"seed": (0.13, 0.4), "default": (0.12, 0.3)}
STEPS = 4


@dataclass(frozen=True)
class Made:
    """What a job made of one image."""

    source: Path
    lr: list[NDArray[np.uint8]]
    rest: list[NDArray[np.float32]]  # kernels and noise


def measure(options: argparse.Namespace) -> list[Metric]:
    count = options.images or (16 if options.quick else 100)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = list(_photos(folder, count))
        with (
            temporary_service(folder / "data", embedded=True) as url,
            httpx.Client(base_url=url, timeout=600, trust_env=False) as http,
        ):
            return [figure for preset in PRESETS for figure in _compare(http, folder, sources, preset, options.rounds)]


def _compare(http: httpx.Client, folder: Path, sources: list[Path], preset: str, rounds: int) -> list[Metric]:
    dataset = _trained(http, folder, sources, preset)
    seeds = itertools.count()
    archive = folder / "archive"

    def job(paths: list[Path]) -> None:
        fields = {"samples": str(SAMPLES), "seed": str(next(seeds))} | ({} if paths else {"source": dataset})
        with ExitStack() as stack:
            files = [("files", (path.name, stack.enter_context(path.open("rb")))) for path in paths]
            ended = _ended(http, f"/datasets/{dataset}/degrade", data=fields, files=files or None)
        if ended["counts"] != {"ok": SAMPLES * len(sources), "failed": 0}:
            raise RuntimeError(f"the job did not make all of its triplets: {ended}")
        url = f"{http.base_url}".rstrip("/") + f"/jobs/{ended['id']}/archive?format=tar"
        with urllib.request.urlopen(url) as answer, archive.open("wb") as file:
            shutil.copyfileobj(answer, file, 2**20)

    job([])
    made = list(_read(archive, sources))
    with _loops(made, folder) as (bare, with_pillow):
        works = {"job": lambda: job([]), "bare": bare, "sent": lambda: job(sources), "pillow": with_pillow}
        seconds = time_interleaved(works, rounds)
    triplets = SAMPLES * len(sources)
    rate = {work: Summary.from_values([triplets / each for each in taken]) for work, taken in seconds.items()}
    aim, (floor, floor_with_pillow) = PRESETS[preset], FLOORS[preset]
    return [
        Metric(f"`{preset}`: a job on a dataset's images", rate["job"], "triplets a second"),
        Metric(
            f"`{preset}`: its share of the bare loop's speed",
            compute_ratio(seconds["bare"], seconds["job"]),
            target=aim,
            threshold=floor,
            limit=f"{rate['bare'].median:.0f} triplets a second",
        ),
        Metric(
            f"`{preset}`: its share of a bare loop's that decodes and encodes by Pillow alone",
            compute_ratio(seconds["pillow"], seconds["job"]),
            target=aim,
            threshold=floor_with_pillow,
            limit=f"{rate['pillow'].median:.0f} triplets a second",
        ),
        Metric(f"`{preset}`: the same, the images sent along", rate["sent"], "triplets a second"),
    ]


def _photos(folder: Path, count: int) -> Iterator[Path]:
    """Parts of photographs, enlarged: no two the same."""
    rng = np.random.default_rng(0)
    pictures = list(load_photographs().values())
    for number in range(count):
        picture = Image.fromarray(pictures[number % len(pictures)])
        left, top = (rng.integers(0, side // 3) for side in picture.size)
        part = picture.crop((left, top, left + 2 * picture.width // 3, top + 2 * picture.height // 3))
        path = folder / f"{number:03}.jpg"
        part.resize(SIZE, Image.Resampling.LANCZOS).save(path, quality=92)
        yield path


def _trained(http: httpx.Client, folder: Path, sources: list[Path], preset: str) -> str:
    """A dataset of these images and a model of it."""
    dataset = str(http.post("/datasets", json={"name": preset, "scale": SCALE}).raise_for_status().json()["id"])
    rng = np.random.default_rng(0)
    small = []
    for number, source in enumerate(sources[:8]):
        pixels = np.asarray(Image.open(source).resize((96, 72), Image.Resampling.BOX), np.float64)
        path = folder / f"{preset}-{number}.png"
        Image.fromarray(np.clip(pixels + rng.normal(0, 4, pixels.shape), 0, 255).astype(np.uint8)).save(path)
        small.append(path)
    for role, paths in (("lr", small), ("hr", sources)):
        parts = [("files", (path.name, path.read_bytes())) for path in paths]
        http.post(f"/datasets/{dataset}/images", params={"role": role}, files=parts).raise_for_status()
    job = _ended(http, f"/datasets/{dataset}/train", json={"preset": preset, "max_steps": STEPS})
    if job["status"] != "succeeded":
        raise RuntimeError(f"the training did not succeed: {job}")
    return dataset


def _ended(http: httpx.Client, path: str, **request: Any) -> dict[str, Any]:
    """The job that this makes, when it has ended."""
    job: dict[str, Any] = http.post(path, **request).raise_for_status().json()
    while job["status"] in ("queued", "running"):
        job = http.get(f"/jobs/{job['id']}", params={"wait": 20}).raise_for_status().json()
    return job


def _read(archive: Path, sources: list[Path]) -> Iterator[Made]:
    with TarFile.open(archive) as tar:
        files = {member.name: member for member in tar}

        def content(name: str) -> io.BytesIO:
            file = tar.extractfile(files[name])
            assert file
            return io.BytesIO(file.read())

        for source in sources:
            names = [f"{source.stem}_{sample}" for sample in range(SAMPLES)]
            yield Made(
                source,
                [np.asarray(Image.open(content(f"lr/{name}.png"))) for name in names],
                [np.load(content(f"{what}/{name}.npy")) for name in names for what in ("kernel", "noise")],
            )


_made: list[Made] = []  # of the processes of the bare loops, which are forked so that it need not be sent to them


@contextmanager
def _loops(made: list[Made], folder: Path) -> Iterator[tuple[Callable[[], object], Callable[[], object]]]:
    """The bare loop with our decoder and encoder, and with Pillow's."""
    _made[:] = made
    with (
        multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool,
        tempfile.TemporaryDirectory(dir=folder) as out,
    ):
        yield (
            lambda: pool.starmap(_ours, [(number, Path(out)) for number in range(len(made))], chunksize=1) and None,
            lambda: pool.starmap(_pillows, [(number, Path(out)) for number in range(len(made))], chunksize=1) and None,
        )


def _ours(number: int, out: Path) -> None:
    read_rgb(_made[number].source)
    for sample, lr in enumerate(_made[number].lr):
        (out / f"{number}_{sample}.png").write_bytes(write_png(lr))
    _write_rest(number, out)


def _pillows(number: int, out: Path) -> None:
    np.array(Image.open(_made[number].source).convert("RGB"))
    for sample, lr in enumerate(_made[number].lr):
        Image.fromarray(lr).save(out / f"{number}_{sample}.png", compress_level=1)
    _write_rest(number, out)


def _write_rest(number: int, out: Path) -> None:
    for which, array in enumerate(_made[number].rest):
        (out / f"{number}_{which}.npy").write_bytes(encode_npy(array))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=int, help="of two megapixels; unset: 100, or 16 with --quick")
    parser.add_argument("--rounds", type=int, default=3, help="of job and bare loop in turn")


if __name__ == "__main__":
    run(__doc__, measure, add_arguments)

"""Degrades the images of one shard, in one process with its own model."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import structlog
import torch

from config.settings import Settings
from imaging.decoder_pool import DecoderPool
from imaging.rejections import ImageRejected
from models.checkpoint import load_degradation
from models.inference.triplet import SourceImage, TripletSampler
from patina.bulk.shards import BulkSample, store_shard
from patina.bulk.sources import Shard, SourceFile, read_files
from store.degrade_options import DegradeOptions
from worker.jobs.degrade_batches import BATCH_PIXELS
from worker.jobs.triplet_files import encode_triplet

log = structlog.get_logger()


@dataclass(frozen=True)
class BulkTask:
    """What is generated, and where it goes. Equal in all processes."""

    source: str  # a URL
    destination: str  # a URL
    model: bytes  # of a degrader.safetensors
    options: DegradeOptions
    output: str = "webdataset"
    column: str = "image"
    device: str = "cpu"
    threads: int = 1


@dataclass
class ShardDegrader:
    """Loads the model once, then degrades one shard after another."""

    task: BulkTask
    failed: int = field(default=0, init=False)
    images: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        torch.set_num_threads(self.task.threads)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model"
            file.write_bytes(self.task.model)
            self.sampler = TripletSampler(load_degradation(file, self.task.device))
        self.decoders = DecoderPool(Settings(), processes=1)  # an image that crashes its decoder fails alone

    def degrade(self, shard: Shard) -> dict[str, int]:
        """Stores the shard's results. Returns how many images were degraded and how many failed."""
        self.failed = self.images = 0
        task = self.task
        store_shard(
            self._samples(read_files(shard, task.source, task.column)), task.destination, shard.number, task.output
        )
        return {"shard": shard.number, "images": self.images, "failed": self.failed}

    def _samples(self, files: Iterable[SourceFile]) -> Iterator[BulkSample]:
        degradation, options = self.sampler.degradation, self.task.options
        constant = {"seed": options.seed, "status": "ok", "scale": degradation.config.scale}
        constant |= {"kernel_origin": list(degradation.kernel_origin), "padding": "reflect"}
        taken = set[str]()
        for batch in self._group(files):
            keys = [_choose_key(name, taken) for name, _ in batch]
            sources = [source for _, source in batch]
            for index, sample, triplet in self.sampler.sample(sources, seed=options.seed):
                name, source = batch[index]
                line = {"source": name, "source_sha256": source.seed_key, "sample": sample, **constant}
                encoded = encode_triplet(triplet, options, source.seed_key, sample)
                yield BulkSample(f"{keys[index]}_{sample}", line, encoded)

    def _group(self, files: Iterable[SourceFile]) -> Iterator[list[tuple[str, SourceImage]]]:
        """Decodes the images and groups them up to BATCH_PIXELS. Small ones then share the drawing of kernels."""
        group, pixels = list[tuple[str, SourceImage]](), 0
        for file in files:
            image = self._decode(file)
            if image is None:
                continue
            size = image.hr.shape[0] * image.hr.shape[1]
            if group and pixels + size > BATCH_PIXELS:
                yield group
                group, pixels = [], 0
            group.append((file.name, image))
            pixels += size
        if group:
            yield group

    def _decode(self, file: SourceFile) -> SourceImage | None:
        """Decodes as the service does. Returns None for an image that cannot be degraded."""
        with tempfile.NamedTemporaryFile() as temporary:
            temporary.write(file.data)
            temporary.flush()
            try:
                pixels = self.decoders.read_rgb(Path(temporary.name))
            except ImageRejected as error:
                self._fail(file, str(error))
                return None
        scale = self.sampler.degradation.config.scale
        if min(pixels.shape[:2]) < scale:
            self._fail(file, f"smaller than one pixel at scale {scale}")
            return None
        self.images += 1
        return SourceImage(pixels, hashlib.sha256(file.data).hexdigest(), range(self.task.options.samples))

    def _fail(self, file: SourceFile, message: str) -> None:
        log.warning("image left out", name=file.name, error=message)
        self.failed += 1


def _choose_key(name: str, taken: set[str]) -> str:
    """Returns a name without its suffix as a WebDataset key, as the service's archives encode it.

    If another image of the shard has it, such as a.jpg beside a.png, it gets a number.
    """
    key = base = str(PurePosixPath(name).with_suffix("")).replace("%", "%25").replace(".", "%2E")
    number = 1
    while key in taken:
        number += 1
        key = f"{base}-{number}"
    taken.add(key)
    return key


class RayShardDegrader:
    """A `ShardDegrader` that Ray Data calls with batches of one shard."""

    def __init__(self, task: BulkTask):
        self._degrader = ShardDegrader(task)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        numbers, files = batch["number"].tolist(), batch["files"].tolist()
        shards = [Shard(number, tuple(urls)) for number, urls in zip(numbers, files, strict=True)]
        results = [self._degrader.degrade(shard) for shard in shards]
        return {name: [result[name] for result in results] for name in results[0]}

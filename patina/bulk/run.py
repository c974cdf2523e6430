"""Distributes shards over a cluster with Ray Data, and continues where an earlier run stopped."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import fsspec

from patina.bulk.degrade_shard import BulkTask, RayShardDegrader
from patina.bulk.shards import WRITERS, shard_name
from patina.bulk.sources import Shard, plan_shards
from patina.errors import PatinaError
from store.degrade_options import DegradeOptions

DESCRIPTION = "bulk.json"  # in the destination: what a later run must have in common with the first


@dataclass(frozen=True)
class BulkStats:
    shards: int  # of the whole source
    done_before: int  # shards that an earlier run has stored
    images: int  # of this run
    failed: int  # images of this run that could not be read


def degrade_all(
    source: str,
    destination: str,
    model: str,
    *,
    seed: int = 0,
    samples: int = 1,
    leave_out: Sequence[str] = (),
    output: str = "webdataset",
    column: str = "image",
    images_per_shard: int = 1000,
    processes: int = 1,
    cpus: float = 1,
    gpus: float = 0,
    on_shard: Callable[[int, int], None] | None = None,
) -> BulkStats:
    """Degrades every image under the URL `source`, into shards under the URL `destination`.

    An image's files have the bytes that the service gives for the same seed and `degrader.safetensors`, the URL
    `model`. `output` is webdataset or parquet; `leave_out` may name kernel and noise. Each of `processes` takes `cpus`
    CPUs, and `gpus` GPUs if it has any. `on_shard` receives the number of shards that are done, and of all.

    Start `ray.init` before for a cluster of several computers. Called again after an interruption, it skips shards that
    are stored. Raises `PatinaError` if Ray is missing, if there are no images, and if the destination has results of
    other images or options.
    """
    if output not in WRITERS:
        raise PatinaError(f"The output is {' or '.join(WRITERS)}, not {output!r}.")
    shards = plan_shards(source, images_per_shard)
    weights = _read(model)
    options = DegradeOptions(samples, seed, frozenset(leave_out))
    _check_description(destination, shards, weights, options, output)
    stored = _list_stored(destination)
    missing = [shard for shard in shards if shard_name(shard.number, output) not in stored]
    done_before = done = len(shards) - len(missing)
    images = failed = 0
    task = BulkTask(source, destination, weights, options, output, column, "cuda" if gpus else "cpu", max(1, int(cpus)))
    for result in _run_on_ray(missing, task, processes, cpus, gpus) if missing else ():
        done, images, failed = done + 1, images + result["images"], failed + result["failed"]
        if on_shard:
            on_shard(done, len(shards))
    return BulkStats(len(shards), done_before, images, failed)


def _run_on_ray(shards: Sequence[Shard], task: BulkTask, processes: int, cpus: float, gpus: float) -> Any:
    """Yields a result for each shard, as they are done."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report its use to its makers
    try:
        import ray  # noqa: PLC0415 - an optional dependency
        from ray import data  # noqa: PLC0415
    except ImportError as error:
        raise PatinaError("Degrading on a cluster needs Ray. Run: pip install 'patina[ray]'") from error
    if not ray.is_initialized():
        ray.init()
    rows = [{"number": shard.number, "files": list(shard.files)} for shard in shards]
    results = data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        RayShardDegrader,
        fn_constructor_args=[task],
        batch_size=1,
        compute=data.ActorPoolStrategy(min_size=1, max_size=processes),
        num_cpus=cpus,
        num_gpus=gpus,
    )
    return results.iter_rows()


def _check_description(
    destination: str, shards: Sequence[Shard], weights: bytes, options: DegradeOptions, output: str
) -> None:
    """Writes what this run does into the destination, or compares it with what is there."""
    files = "\n".join(file for shard in shards for file in (str(shard.number), *shard.files))
    description = {
        "files_sha256": hashlib.sha256(files.encode()).hexdigest(),
        "model_sha256": hashlib.sha256(weights).hexdigest(),
        "seed": options.seed,
        "samples": options.samples,
        "leave_out": sorted(options.exclude),
        "output": output,
    }
    filesystem, root = fsspec.url_to_fs(destination)
    path = f"{root}/{DESCRIPTION}"
    if not filesystem.exists(path):
        filesystem.makedirs(root, exist_ok=True)
        filesystem.pipe_file(path, json.dumps(description, indent=2).encode())
        return
    found = json.loads(filesystem.cat_file(path))
    if differing := [name for name, value in description.items() if found.get(name) != value]:
        raise PatinaError(
            f"{destination} holds results with another {', '.join(differing)}. Give a new folder, or the images and "
            "options of the run that began it."
        )


def _list_stored(destination: str) -> set[str]:
    filesystem, root = fsspec.url_to_fs(destination)
    return {path.rstrip("/").rpartition("/")[2] for path in filesystem.ls(root, detail=False)}


def _read(url: str) -> bytes:
    with fsspec.open(url, "rb") as file:
        data: bytes = file.read()
    return data

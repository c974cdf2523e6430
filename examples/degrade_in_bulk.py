"""Degrades all images of a folder or bucket, on this computer or on a Ray cluster.

    python examples/degrade_in_bulk.py clean-photos results degrader.safetensors
    python examples/degrade_in_bulk.py s3://bucket/in s3://bucket/out degrader.safetensors --address auto --gpus 1

Run it again after an interruption: it skips the shards that are complete.
"""

from __future__ import annotations

import argparse
import os

from patina.bulk import degrade_all


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="folder or URL of images, .tar or .parquet files")
    parser.add_argument("destination", help="folder or URL of the results")
    parser.add_argument("model", help="a model's degrader.safetensors")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samples", type=int, default=1, help="of each image")
    parser.add_argument("--output", choices=["webdataset", "parquet"], default="webdataset")
    parser.add_argument("--column", default="image", help="of .parquet files")
    parser.add_argument("--images-per-shard", type=int, default=1000)
    parser.add_argument("--address", help="of a Ray cluster; auto: the one that this computer is in. Default: none")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--cpus", type=float, default=1, help="of each process")
    parser.add_argument("--gpus", type=float, default=0, help="of each process")
    arguments = parser.parse_args()

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray  # noqa: PLC0415 - it reads the variable above

    if arguments.address:
        ray.init(arguments.address)
    else:
        ray.init(num_cpus=int(arguments.processes * max(1, arguments.cpus)), include_dashboard=False)
    stats = degrade_all(
        arguments.source,
        arguments.destination,
        arguments.model,
        seed=arguments.seed,
        samples=arguments.samples,
        output=arguments.output,
        column=arguments.column,
        images_per_shard=arguments.images_per_shard,
        processes=arguments.processes,
        cpus=arguments.cpus,
        gpus=arguments.gpus,
        on_shard=lambda done, total: print(f"{done} of {total} shards", flush=True),
    )
    print(f"{stats.images} images degraded, {stats.failed} left out; {stats.done_before} shards were there before")


if __name__ == "__main__":
    main()

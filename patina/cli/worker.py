"""`patina worker`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from config.settings import settings
from patina.cli.app import cli, format_example


class WorkerQueue(StrEnum):
    """The queues, as in `store.queue`, which only commands with a service import."""

    WARM = "warm"
    TRAIN = "train"


@cli.command(epilog=format_example("patina worker --devices all --per-device 2", "patina worker train --devices 3"))
def worker(
    queue: Annotated[
        WorkerQueue, typer.Argument(help="warm: degrade and super-resolution jobs. train: trainings.")
    ] = WorkerQueue.WARM,
    devices: Annotated[
        str, typer.Option(help="GPUs, as in 0,1. all: those that CUDA_VISIBLE_DEVICES allows; without any, the CPU.")
    ] = "all",
    per_device: Annotated[
        int | None, typer.Option(min=1, help="Worker processes for each GPU. Default: PATINA_WORKERS_PER_GPU.")
    ] = None,
) -> None:
    """Run workers for a service until Ctrl-C: one process or more for each GPU, restarted when they die."""
    # These imports would add a third to the start time of every other command.
    from config.logging import configure_logging  # noqa: PLC0415
    from patina.local.worker_pool import run_workers  # noqa: PLC0415

    configure_logging(settings(), "workers")
    run_workers(settings(), queue, devices, per_device or settings().workers_per_gpu)

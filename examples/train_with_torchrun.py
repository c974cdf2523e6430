"""Trains on two folders of photos without a service, in one process or in several.

    torchrun --nproc-per-node 2 examples/train_with_torchrun.py real-photos clean-photos model --preset seed

Ctrl-C loses at most a minute: the same command continues from model/checkpoint, also with another number of processes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imaging.image_files import read_rgb
from imaging.rejections import ImageRejected
from models.checkpoint import save_degradation, save_edsr
from models.device import choose_device
from training.data.photos import Photos
from training.distributed import get_rank, process_group, share_object
from training.loop import train
from training.presets import PRESET_NAMES, get_preset
from training.progress import Checkpoint, Progress


def read_photos(folder: Path) -> Iterator[NDArray[np.uint8]]:
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        try:
            yield read_rgb(file)
        except ImageRejected as error:
            print(f"{file} is left out: {error}")


def print_progress(progress: Progress) -> None:
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in progress.metrics.items())
    print(f"step {progress.step} of {progress.total_steps}: {metrics}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", type=Path)
    parser.add_argument("clean", type=Path)
    parser.add_argument("out", type=Path, help="folder of the model, the checkpoint and the decoded photos")
    parser.add_argument("--preset", choices=PRESET_NAMES, default="default")
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--device", help="cpu, or cuda: one GPU for each process. Default: cuda if there is one")
    arguments = parser.parse_args()

    checkpoint_file = arguments.out / "checkpoint"

    def save(checkpoint: Checkpoint) -> None:
        partial = checkpoint_file.with_suffix(".part")
        checkpoint.save(partial)
        partial.rename(checkpoint_file)

    with process_group(choose_device(arguments.device)) as device:
        folders = {"lr": arguments.real, "hr": arguments.clean}
        if get_rank() == 0:  # it decodes the photos for all
            for role, folder in folders.items():
                Photos.write(arguments.out / role, read_photos(folder))
        share_object()  # the others wait here
        result = train(
            get_preset(arguments.preset, arguments.scale, device=device),
            *(Photos(arguments.out / role) for role in folders),
            seed=0,
            max_steps=arguments.steps,
            device=device,
            resume=checkpoint_file if checkpoint_file.exists() else None,
            on_progress=print_progress,
            on_checkpoint=save,
        )
        if get_rank() == 0:
            save_degradation(result.degradation, arguments.out / "degrader.safetensors")
            save_edsr(result.edsr, arguments.out / "sr.safetensors")


if __name__ == "__main__":
    main()

"""Writes a gallery down as the files that the page shows: while a training runs, and with its model."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import Any

from torch import Tensor

from imaging.png import write_png
from store.files.blobs import Blobs
from store.repositories.models import EXAMPLES, GALLERY, PATCHES
from training.report.alarms import Alarm
from training.report.gallery import Gallery, grid_of

COLUMNS = 6  # of patches in their image
MEASURED = ("scale", "noise_from", "noise_step", "noise_shares", "noise_correlation", "real")
FIGURES = ("widths", "transfer")


def write_gallery(gallery: Gallery, blobs: Blobs, *, step: int, alarms: tuple[Alarm, ...]) -> dict[str, str]:
    """The SHA-256 of the blob of each file, by the file's name."""
    return {name: blobs.put(content) for name, content in files_of(gallery, step=step, alarms=alarms).items()}


def files_of(gallery: Gallery, *, step: int, alarms: tuple[Alarm, ...]) -> dict[str, bytes]:
    form: dict[str, Any] = {"step": step, "columns": COLUMNS, "side": gallery.patches.shape[-1]}
    form |= {name: getattr(gallery, name) for name in MEASURED}
    form |= {name: [dataclasses.asdict(each) for each in getattr(gallery, name)] for name in FIGURES}
    form |= {"figures": dataclasses.asdict(gallery.figures), "noise": dataclasses.asdict(gallery.noise)}
    form |= {"alarms": [dataclasses.asdict(alarm) for alarm in alarms]}
    form |= {"kernel_size": gallery.kernels.shape[-1]}
    form |= {name: [_kernel(kernel) for kernel in getattr(gallery, name)] for name in ("kernels", "example_kernels")}
    patches = grid_of(gallery.patches, COLUMNS)
    examples = grid_of(gallery.examples.flatten(0, 1), gallery.examples.shape[1])
    return {
        GALLERY: json.dumps(form, allow_nan=False).encode(),
        PATCHES: write_png(patches.numpy()),
        EXAMPLES: write_png(examples.numpy()),
    }


def _kernel(kernel: Tensor) -> dict[str, Any]:
    """Its largest tap, and all of them in 255ths of that, row by row, as base64."""
    peak = kernel.max().item()
    taps = (kernel / (peak or 1) * 255).clamp(0, 255).round().byte().numpy().tobytes()
    return {"peak": peak, "taps": base64.b64encode(taps).decode()}

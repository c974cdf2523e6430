"""Renders a gallery as the files that the page shows, during a training and with its model."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import Any

from torch import Tensor

from imaging.png import write_png
from store.files.blobs import Blobs
from store.model_files import EXAMPLES, GALLERY, PATCHES
from training.report.alarms import Alarm
from training.report.gallery import Gallery, make_grid

COLUMNS = 6  # of patches in their image
SCALAR_FIELDS = ("scale", "hist_start", "bin_width", "noise_hist", "noise_correlation", "real")
LIST_FIELDS = ("widths", "transfer")


def save_gallery(gallery: Gallery, blobs: Blobs, *, step: int, alarms: tuple[Alarm, ...]) -> dict[str, str]:
    """Stores the files of a gallery. Returns the SHA-256 of each blob by file name."""
    return {name: blobs.put(content) for name, content in render_gallery(gallery, step=step, alarms=alarms).items()}


def render_gallery(gallery: Gallery, *, step: int, alarms: tuple[Alarm, ...]) -> dict[str, bytes]:
    """Returns the content of each file by name: a JSON document and two PNG images."""
    data: dict[str, Any] = {"step": step, "columns": COLUMNS, "side": gallery.patches.shape[-1]}
    data |= {name: getattr(gallery, name) for name in SCALAR_FIELDS}
    data |= {name: [dataclasses.asdict(each) for each in getattr(gallery, name)] for name in LIST_FIELDS}
    data |= {"kernel_metrics": dataclasses.asdict(gallery.kernel_metrics), "noise": dataclasses.asdict(gallery.noise)}
    data |= {"alarms": [dataclasses.asdict(alarm) for alarm in alarms]}
    data |= {"kernel_size": gallery.kernels.shape[-1]}
    data |= {
        name: [_encode_kernel(kernel) for kernel in getattr(gallery, name)] for name in ("kernels", "example_kernels")
    }
    patches = make_grid(gallery.patches, COLUMNS)
    examples = make_grid(gallery.examples.flatten(0, 1), gallery.examples.shape[1])
    return {
        GALLERY: json.dumps(data, allow_nan=False).encode(),
        PATCHES: write_png(patches.numpy()),
        EXAMPLES: write_png(examples.numpy()),
    }


def _encode_kernel(kernel: Tensor) -> dict[str, Any]:
    """Returns the largest tap, and all taps (K, K) in 1/255 of it as base64, row by row."""
    peak = kernel.max().item()
    taps = (kernel / (peak or 1) * 255).clamp(0, 255).round().byte().numpy().tobytes()
    return {"peak": peak, "taps": base64.b64encode(taps).decode()}

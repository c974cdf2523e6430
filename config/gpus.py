"""Lists the GPUs of this computer through NVIDIA's library, without torch, which would take GPU memory."""

from __future__ import annotations

import os
from collections.abc import Mapping


def list_gpus(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Returns the GPUs that this process may use, as entries of CUDA_VISIBLE_DEVICES. Empty without a driver.

    An entry is a number, or the UUID of a GPU or of a part of one (MIG), if CUDA_VISIBLE_DEVICES in `environment` has
    such. As in CUDA, the list ends at its first number that no GPU has.
    """
    count = _count_gpus()
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [str(number) for number in range(count)]
    gpus = list[str]()
    for entry in visible.split(","):
        name = entry.strip()
        exists = int(name) < count if name.isdigit() else bool(count) and name.startswith(("GPU-", "MIG-"))
        if not exists:
            break
        gpus.append(name)
    return gpus


def _count_gpus() -> int:
    """Returns the number of GPUs, 0 without NVIDIA's driver or library."""
    try:
        import pynvml  # noqa: PLC0415 - only computers with workers have it
    except ImportError:
        return 0
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no driver
        return 0
    try:
        return int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:
        return 0
    finally:
        pynvml.nvmlShutdown()

"""Reads how full and how busy the GPUs are, through NVIDIA's library.

Asking torch would take GPU memory, and trainers must not.
"""

from __future__ import annotations

from contextlib import suppress

import pynvml


def read_gpus() -> dict[str, dict[str, int]]:
    """Returns bytes `used` (by all processes) and `total` of each GPU, by its number. Empty without a GPU.

    `utilization` is the percentage of the last second or less that the GPU computed, where the driver reports it.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no driver
        return {}
    try:
        return {str(number): _read_gpu(number) for number in range(pynvml.nvmlDeviceGetCount())}
    except pynvml.NVMLError:  # a GPU was removed meanwhile
        return {}
    finally:
        pynvml.nvmlShutdown()


def _read_gpu(number: int) -> dict[str, int]:
    handle = pynvml.nvmlDeviceGetHandleByIndex(number)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    gpu = {"used": int(memory.used), "total": int(memory.total)}
    with suppress(pynvml.NVMLError):  # not of a part of a GPU (MIG)
        gpu["utilization"] = int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    return gpu

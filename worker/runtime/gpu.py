"""Reads how full the GPUs are, through NVIDIA's library. Asking torch would take GPU memory, and trainers must not."""

from __future__ import annotations

import pynvml


def gpu_memory() -> dict[str, dict[str, int]]:
    """Returns bytes `used` (by all processes) and `total` of each GPU, by its number. Empty without a GPU."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no driver
        return {}
    try:
        return {str(number): _read_memory(number) for number in range(pynvml.nvmlDeviceGetCount())}
    except pynvml.NVMLError:  # a GPU was removed meanwhile
        return {}
    finally:
        pynvml.nvmlShutdown()


def _read_memory(number: int) -> dict[str, int]:
    memory = pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(number))
    return {"used": int(memory.used), "total": int(memory.total)}

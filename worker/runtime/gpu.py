"""How full the GPUs are, by NVIDIA's own library: torch would take memory of each to ask, and trainers must not."""

from __future__ import annotations

import pynvml


def gpu_memory() -> dict[str, dict[str, int]]:
    """Bytes `used`, by whomever, and in `total` of each GPU, by its number; nothing where there is none."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no driver
        return {}
    try:
        return {str(number): _memory(number) for number in range(pynvml.nvmlDeviceGetCount())}
    except pynvml.NVMLError:  # one was taken away in this moment
        return {}
    finally:
        pynvml.nvmlShutdown()


def _memory(number: int) -> dict[str, int]:
    memory = pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(number))
    return {"used": int(memory.used), "total": int(memory.total)}

"""Chooses devices and number types, and measures free memory."""

from __future__ import annotations

from pathlib import Path

import torch

CGROUP = Path("/sys/fs/cgroup")


def choose_device(device: str | None = None) -> str:
    """Returns `device` if given, else "cuda" if there is a GPU, else "cpu"."""
    return device or ("cuda" if torch.cuda.is_available() else "cpu")


def choose_devices(device: str | None = None) -> list[str]:
    """Returns every GPU if `choose_device` returns "cuda", else its one device."""
    chosen = choose_device(device)
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())] if chosen == "cuda" else [chosen]


def choose_dtype(device: torch.device) -> torch.dtype:
    """Returns the fastest type for convolutions: bfloat16 with hardware support, else float32.

    An Intel CPU needs AMX: with AVX-512 bfloat16 alone, convolutions take a third longer than in float32, or more.
    On AMD they take half as long.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type != "cpu":
        return torch.float32
    capabilities = torch.cpu.get_capabilities()
    amd = "AMD" in str(capabilities.get("cpu_name", ""))
    fast = capabilities.get("amx_bf16", False) or (capabilities.get("avx512_bf16", False) and amd)
    return torch.bfloat16 if fast else torch.float32


def measure_free_memory(device: torch.device) -> int:
    """Returns the bytes that can be allocated on the device now. On a CPU, the container's limit counts too."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    limit, used = CGROUP / "memory.max", CGROUP / "memory.current"
    if limit.exists() and (maximum := limit.read_text().strip()) != "max":
        # The container's page cache counts as used, but the kernel frees it on demand.
        stats = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        free = min(free, max(0, int(maximum) - int(used.read_text()) + int(stats.get("inactive_file", 0))))
    return free

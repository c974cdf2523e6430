"""Where the networks run, and what is good at it."""

from __future__ import annotations

from pathlib import Path

import torch

CGROUP = Path("/sys/fs/cgroup")


def choose_device(device: str | None = None) -> str:
    """`device` itself if one is named, else "cuda" where there is one, else "cpu"."""
    return device or ("cuda" if torch.cuda.is_available() else "cpu")


def choose_devices(device: str | None = None) -> list[str]:
    """Every GPU where `choose_device` names none in particular, else the one device that it gives."""
    chosen = choose_device(device)
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())] if chosen == "cuda" else [chosen]


def fast_dtype(device: torch.device) -> torch.dtype:
    """What convolutions are fastest in: bfloat16 where the device multiplies fast in it, else float32.

    An Intel CPU needs AMX for that: with AVX-512's bfloat16 alone they take a third longer than in float32, and more.
    On AMD's they take half as long.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type != "cpu":
        return torch.float32
    able = torch.cpu.get_capabilities()
    fast = able.get("amx_bf16", False) or (able.get("avx512_bf16", False) and "AMD" in str(able.get("cpu_name", "")))
    return torch.bfloat16 if fast else torch.float32


def free_memory(device: torch.device) -> int:
    """Bytes that could be taken on it now; of the computer's own memory what this process's container leaves of it."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    limit, used = CGROUP / "memory.max", CGROUP / "memory.current"
    if limit.exists() and (most := limit.read_text().strip()) != "max":
        # What it has read and written of files counts as its own, but gives way.
        kinds = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        free = min(free, max(0, int(most) - int(used.read_text()) + int(kinds.get("inactive_file", 0))))
    return free

"""Where the networks run."""

from __future__ import annotations

import torch


def choose_device(device: str | None = None) -> str:
    """`device` itself if one is named, else "cuda" where there is one, else "cpu"."""
    return device or ("cuda" if torch.cuda.is_available() else "cpu")

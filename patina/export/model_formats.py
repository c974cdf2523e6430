"""The forms of a model, by name; apart from their making, which needs torch."""

from __future__ import annotations

from enum import StrEnum


class ModelFormat(StrEnum):
    onnx = "onnx"
    torch = "torch"
    npz = "npz"
    mat = "mat"

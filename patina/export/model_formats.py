"""Formats of an exported model, by name. This file needs no torch, so that the command line starts fast."""

from __future__ import annotations

from enum import StrEnum


class ModelFormat(StrEnum):
    onnx = "onnx"
    torch = "torch"
    npz = "npz"
    mat = "mat"
    otf_yaml = "otf-yaml"

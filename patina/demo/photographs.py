"""The demo's photographs: those that the wheels of scikit-image and scikit-learn carry. Nothing is downloaded."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from patina.errors import PatinaError
from patina.sheet.page import Picture

# Where each lies in its package. The first three are in the public domain or CC0 and appear on the contact sheet.
SHIPPED = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "cat": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
}


def photographs() -> dict[str, Picture]:
    return {name: load(_folder(package) / path) for name, (package, path) in SHIPPED.items()}


def load(path: Path) -> Picture:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def halves(photograph: Picture) -> tuple[Picture, Picture]:
    """(left, right): as unlike as two photographs, yet equally sharp, so that only the camera makes a difference."""
    middle = photograph.shape[1] // 2
    return photograph[:, :middle], photograph[:, middle:]


def _folder(package: str) -> Path:
    # Found without importing: scikit-learn takes seconds to import, and only its files are wanted.
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise PatinaError("The demo's photographs are not installed. Run: pip install 'patina[demo]'")
    return Path(spec.submodule_search_locations[0])

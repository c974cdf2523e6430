"""The demo's photographs, from the wheels of scikit-image and scikit-learn. Nothing is downloaded."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from patina.errors import PatinaError
from patina.sheet.page import Picture

# Package and path. The first three are in the public domain or CC0 and appear on the contact sheet.
FILES = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "cat": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
}


def load_photographs() -> dict[str, Picture]:
    """Loads all photographs by name. Raises `PatinaError` if a package is not installed."""
    return {name: load_picture(_find_package(package) / path) for name, (package, path) in FILES.items()}


def load_picture(path: Path) -> Picture:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def split_halves(photograph: Picture) -> tuple[Picture, Picture]:
    """Returns the left and the right half.

    Their contents differ as in two photographs, but they are equally sharp: only the camera makes a difference.
    """
    middle = photograph.shape[1] // 2
    return photograph[:, :middle], photograph[:, middle:]


def _find_package(package: str) -> Path:
    # Importing scikit-learn takes seconds, and only its files are needed.
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise PatinaError("The demo's photographs are not installed. Run: pip install 'patina[demo]'")
    return Path(spec.submodule_search_locations[0])

"""The images of a job, and the start of the file names that their results get."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Protocol

from app.schemas import RejectedFile
from store.jobs import NewItem

LONGEST_STEM = 100


class NamedImage(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def sha256(self) -> str: ...


def with_stems(images: Sequence[NamedImage], rejected: Sequence[RejectedFile]) -> list[tuple[str, NewItem]]:
    """(stem, item) for every different image, then for every refused file, which will be a failed item.

    A stem is the file's own name made safe for every file system, with a number where two would be the same. It has
    no dots, for trainers take what comes before the first one for the name.
    """
    items = {image.sha256: NewItem(image.name, image.sha256) for image in reversed(images)}
    in_order = [items.pop(image.sha256) for image in images if image.sha256 in items]
    in_order += [NewItem(file.name, None, file.code, file.message) for file in rejected]
    taken: set[str] = set()
    return [(_stem(item.name, taken), item) for item in in_order]


def _stem(name: str, taken: set[str]) -> str:
    base = re.sub(r"[^\w-]", "_", PurePosixPath(name.replace("\\", "/")).stem)[:LONGEST_STEM] or "image"
    stem, number = base, 1
    while stem.lower() in taken:  # file systems that ignore case must hold both
        number += 1
        stem = f"{base}-{number}"
    taken.add(stem.lower())
    return stem

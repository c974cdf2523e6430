"""The images of a job, and the start of the file names that their results get."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Protocol

from app.http.schemas import RejectedFile
from store.repositories.jobs import NewItem

LONGEST_STEM = 100  # bytes in UTF-8, by which file systems count


class NamedImage(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def sha256(self) -> str: ...


def assign_output_names(images: Sequence[NamedImage], rejected: Sequence[RejectedFile]) -> list[tuple[str, NewItem]]:
    """(stem, item) for every different image, then for every refused file, which will be a failed item.

    A stem is the file's own name made safe for every file system, with a number where two would be the same. It has
    no dots, for trainers take what comes before the first one for the name.
    """
    items = {image.sha256: NewItem(image.name, image.sha256) for image in reversed(images)}
    in_order = [items.pop(image.sha256) for image in images if image.sha256 in items]
    in_order += [NewItem(file.name, None, file.code, file.message) for file in rejected]
    stems = _Stems()
    return [(stems.of(item.name), item) for item in in_order]


class _Stems:
    """Those that are given to a job's items, each once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._tried: Counter[str] = Counter()  # so that a hundred thousand files of one name need not try each number

    def of(self, name: str) -> str:
        safe = re.sub(r"[^\w-]", "_", PurePosixPath(name.replace("\\", "/")).stem)
        base = safe.encode()[:LONGEST_STEM].decode(errors="ignore") or "image"
        key = base.lower()  # file systems that ignore case must hold both
        while True:
            self._tried[key] += 1
            number = self._tried[key]
            stem = base if number == 1 else f"{base}-{number}"
            if stem.lower() not in self._taken:
                self._taken.add(stem.lower())
                return stem

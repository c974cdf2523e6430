"""Assigns output names to a job's images: the first part of their results' file names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Protocol

from app.http.schemas import RejectedFile
from store.repositories.samples import NewItem

MAX_NAME_BYTES = 100  # in UTF-8, because file systems limit bytes


class NamedImage(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def sha256(self) -> str: ...


def assign_output_names(images: Sequence[NamedImage], rejected: Sequence[RejectedFile]) -> list[tuple[str, NewItem]]:
    """Returns (output name, item) for every distinct image, then for every rejected file, as a failed item.

    An output name is the file's name made safe for all file systems, with a number where two would be equal. It has no
    dots, because data loaders end a sample's name at the first dot.
    """
    items = {image.sha256: NewItem(image.name, image.sha256) for image in reversed(images)}
    in_order = [items.pop(image.sha256) for image in images if image.sha256 in items]
    in_order += [NewItem(file.name, None, file.code, file.message) for file in rejected]
    names = _OutputNames()
    return [(names.assign(item.name), item) for item in in_order]


class _OutputNames:
    """Makes each name of a job's items unique."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._tried: Counter[str] = Counter()  # keeps the search fast when 100,000 files have the same name

    def assign(self, name: str) -> str:
        safe = re.sub(r"[^\w-]", "_", PurePosixPath(name.replace("\\", "/")).stem)
        base = safe.encode()[:MAX_NAME_BYTES].decode(errors="ignore") or "image"
        key = base.lower()  # case-insensitive file systems must hold both
        while True:
            self._tried[key] += 1
            number = self._tried[key]
            output_name = base if number == 1 else f"{base}-{number}"
            if output_name.lower() not in self._taken:
                self._taken.add(output_name.lower())
                return output_name

"""Assigns output names to the files of a request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from app.http.schemas import RejectedFile
from store.output_names import OutputNames
from store.repositories.samples import NewItem


class NamedImage(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def sha256(self) -> str: ...


def assign_output_names(
    files: Sequence[NamedImage | RejectedFile], *, archive: str | None = None
) -> list[tuple[str, NewItem]]:
    """Returns (output name, item) for every file, in their order; a rejected file becomes a failed item.

    The same bytes twice are two items. If all files come from one archive, `archive` is its name, which their output
    names leave out. Output names are unique, also where case or Unicode normalization do not count.
    """
    names = OutputNames()
    items = []
    for file in files:
        if isinstance(file, RejectedFile):
            item = NewItem(file.name, None, file.code, file.message)
        else:
            item = NewItem(file.name, file.sha256)
        inside = item.name.removeprefix(f"{archive}/") if archive else item.name
        items.append((names.assign(inside), item))
    return items

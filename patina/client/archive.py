"""Writes what comes over the network while it comes: a file, or a tar, trusting none of the names in it."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from patina.client.flow import Incoming
from patina.errors import PatinaError

Manifest = dict[str, Any]  # one line of manifest.jsonl
MANIFEST = "manifest.jsonl"
CHUNK = 2**20


def unpack(pieces: Iterator[bytes], folder: Path, on_file: Callable[[str], None] | None = None) -> list[Manifest]:
    """Writes the members below `folder`; gives the manifest's lines. A file appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    lines: list[Manifest] = []
    try:
        with tarfile.open(fileobj=Pieces(pieces), mode="r|") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if content is None:
                    continue  # folders are made as they are needed; links have no place here
                target = folder / _harmless(member.name)
                target.parent.mkdir(parents=True, exist_ok=True)
                write_whole(iter(partial(content.read, CHUNK), b""), target)
                if member.name == MANIFEST:
                    with target.open("rb") as file:  # `splitlines` would cut at U+2028 and its like, within names
                        lines = [json.loads(line) for line in file]
                elif on_file:
                    on_file(member.name)
    except tarfile.TarError as error:
        raise PatinaError(f"The archive broke off ({error}). Download it again.") from error
    return lines


def write_whole(pieces: Iterable[bytes], target: Path) -> None:
    """The file appears with its last piece, or not at all."""
    unfinished = target.with_name(f".{target.name}.part")
    try:
        with unfinished.open("wb") as file:
            file.writelines(pieces)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def write_answer(target: Path, answer: Incoming) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(answer.pieces, target)


def _harmless(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name:
        raise PatinaError(f"The archive names a file outside its folder ({name!r}); nothing more of it was unpacked.")
    return path


class Pieces(io.RawIOBase):
    """The pieces of an answer as one file that can only be read on."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        gathered = [self._rest]
        held = len(self._rest)
        while size < 0 or held < size:
            piece = next(self._pieces, b"")
            if not piece:
                break
            gathered.append(piece)
            held += len(piece)
        everything = b"".join(gathered)
        cut = len(everything) if size < 0 else size
        self._rest = everything[cut:]
        return everything[:cut]

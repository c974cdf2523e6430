"""Writes downloads to disk while they arrive: single files and tar archives. Names in an archive are not trusted."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from patina.errors import PatinaError

ManifestLine = dict[str, Any]
MANIFEST = "manifest.jsonl"
CHUNK_BYTES = 2**20


def extract(chunks: Iterator[bytes], folder: Path, on_file: Callable[[str], None] | None = None) -> list[ManifestLine]:
    """Extracts a tar stream into `folder` and returns the manifest. Each file appears complete or not at all.

    `on_file` is called with the name of each extracted file, the manifest excepted. Raises `PatinaError` if the
    stream ends early or a name points outside `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest: list[ManifestLine] = []
    try:
        with tarfile.open(fileobj=ChunkReader(chunks), mode="r|") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if content is None:
                    continue  # folders are created as needed; links are not allowed
                target = folder / _check_name(member.name)
                write_atomically(iter(partial(content.read, CHUNK_BYTES), b""), target)
                if member.name == MANIFEST:
                    with target.open("rb") as file:  # `splitlines` would also split at U+2028, which names may contain
                        manifest = [json.loads(line) for line in file]
                elif on_file:
                    on_file(member.name)
    except tarfile.TarError as error:
        raise PatinaError(f"The archive is incomplete ({error}). Download it again.") from error
    return manifest


def write_atomically(chunks: Iterable[bytes], target: Path) -> None:
    """Writes a file that appears complete or not at all. Creates missing folders."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial_file = target.with_name(f".{target.name}.part")
    try:
        with partial_file.open("wb") as file:
            file.writelines(chunks)
        partial_file.replace(target)
    finally:
        partial_file.unlink(missing_ok=True)


def write_verified(chunks: Iterable[bytes], target: Path, sha256: str) -> None:
    """Writes a file as `write_atomically` does. Raises `PatinaError`, and writes none, if it has another SHA-256."""
    digest = hashlib.sha256()

    def verify() -> Iterator[bytes]:
        for chunk in chunks:
            digest.update(chunk)
            yield chunk
        if digest.hexdigest() != sha256:
            raise PatinaError(f"{target.name} arrived with other bytes than it has in the service. Download it again.")

    write_atomically(verify(), target)


def is_complete(file: Path, size: int, sha256: str) -> bool:
    """Returns whether the file exists and has these bytes."""
    if not file.is_file() or file.stat().st_size != size:
        return False
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest() == sha256


def _check_name(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name:
        raise PatinaError(f"The archive contains a file outside its folder ({name!r}). Extraction stopped.")
    return path


class ChunkReader(io.RawIOBase):
    """Presents chunks of bytes as one file that can only be read forward."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._buffer = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        parts = [self._buffer]
        available = len(self._buffer)
        while size < 0 or available < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            parts.append(chunk)
            available += len(chunk)
        data = b"".join(parts)
        end = len(data) if size < 0 else size
        self._buffer = data[end:]
        return data[:end]

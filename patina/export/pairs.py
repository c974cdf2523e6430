"""Reads the pairs of a degrade job from a stream in WebDataset format."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from PIL import Image

from patina.archive import ChunkReader
from patina.errors import PatinaError

PNG = b"\x89PNG"


@dataclass(frozen=True)
class Pair:
    """One sample. `hr` has scale times the rows and columns of `lr`."""

    key: str  # unique in the job; a path in the tree of the source files, without suffix
    hr: bytes  # PNG
    lr: bytes  # PNG
    kernel: bytes | None  # .npy
    noise: bytes | None  # .npy
    line: dict[str, Any]  # its manifest line

    @property
    def split(self) -> str | None:
        """Returns "train" or "validation"; None without a split."""
        return self.line.get("split")


def read_pairs(chunks: Iterator[bytes]) -> Iterator[Pair]:
    """Yields the pairs of a tar stream in order. Raises `PatinaError` if the stream ends early."""
    key, files = "", dict[str, bytes]()
    try:
        with tarfile.open(fileobj=ChunkReader(chunks), mode="r|") as archive:
            for member in archive:
                next_key, _, kind = member.name.partition(".")
                if next_key != key and files:
                    yield _parse_pair(key, files)
                    files = {}
                key = next_key
                content = archive.extractfile(member)
                files[kind.partition(".")[0]] = content.read() if content else b""
    except tarfile.TarError as error:
        raise PatinaError(f"The archive ended early ({error}). Export again.") from error
    if files:
        yield _parse_pair(key, files)


def read_png_size(png: bytes) -> tuple[int, int]:
    """Returns (height, width) from the file's header."""
    return int.from_bytes(png[20:24]), int.from_bytes(png[16:20])


def _parse_pair(key: str, files: dict[str, bytes]) -> Pair:
    name = key.replace("%2E", ".").replace("%25", "%")  # as `ResultNames.key` in store/manifest.py encodes it
    return Pair(
        name, files["hr"], _to_png(files["lr"]), files.get("kernel"), files.get("noise"), json.loads(files["json"])
    )


def _to_png(image: bytes) -> bytes:
    """Converts to PNG, because trainers expect clean and low-resolution files with the same name and suffix."""
    if image.startswith(PNG):
        return image
    buffer = io.BytesIO()
    Image.open(io.BytesIO(image)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()

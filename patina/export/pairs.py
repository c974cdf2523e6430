"""The pairs that a degrade job made, one after the other, from a stream in WebDataset's form."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from PIL import Image

from patina.client.archive import Pieces
from patina.errors import PatinaError

PNG = b"\x89PNG"


@dataclass(frozen=True)
class Pair:
    """One sample; its key is unique within the job and has no dots. An hr has s·h × s·w pixels where lr has h × w."""

    key: str
    hr: bytes  # PNG
    lr: bytes  # PNG
    kernel: bytes | None  # .npy
    noise: bytes | None  # .npy
    line: dict[str, Any]  # of the manifest

    @property
    def split(self) -> str | None:
        """train or validation; None where there is no split."""
        return self.line.get("split")


def pairs(pieces: Iterator[bytes]) -> Iterator[Pair]:
    """Raises `PatinaError` where the stream breaks off."""
    key, files = "", dict[str, bytes]()
    try:
        with tarfile.open(fileobj=Pieces(pieces), mode="r|") as archive:
            for member in archive:
                next_key, _, kind = member.name.partition(".")
                if next_key != key and files:
                    yield _pair(key, files)
                    files = {}
                key = next_key
                content = archive.extractfile(member)
                files[kind.partition(".")[0]] = content.read() if content else b""
    except tarfile.TarError as error:
        raise PatinaError(f"The archive broke off ({error}). Export again.") from error
    if files:
        yield _pair(key, files)


def size_of(png: bytes) -> tuple[int, int]:
    """(height, width), from the file's head."""
    return int.from_bytes(png[20:24]), int.from_bytes(png[16:20])


def _pair(key: str, files: dict[str, bytes]) -> Pair:
    return Pair(
        key, files["hr"], _as_png(files["lr"]), files.get("kernel"), files.get("noise"), json.loads(files["json"])
    )


def _as_png(image: bytes) -> bytes:
    """Trainers find a low-resolution image by the name of its clean one, with its ending."""
    if image.startswith(PNG):
        return image
    buffer = io.BytesIO()
    Image.open(io.BytesIO(image)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()

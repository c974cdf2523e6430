"""Clean images in folders, WebDataset and Parquet files, anywhere that fsspec reads."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import fsspec

from patina.errors import PatinaError

SUFFIXES = frozenset(
    [".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".heic", ".heif", ".avif", ".jp2", ".gif"]
)
PACKED = frozenset([".tar", ".parquet"])  # one such file is one shard
ROWS = 64  # of a Parquet file that are in memory at once


@dataclass(frozen=True)
class Shard:
    """What becomes one file of results."""

    number: int
    files: tuple[str, ...]  # URLs of images, or of one .tar or .parquet file


@dataclass(frozen=True)
class SourceFile:
    """An image as its file has it."""

    name: str  # its path in the folder or archive
    data: bytes


def plan_shards(source: str, images_per_shard: int) -> list[Shard]:
    """Divides the files under the URL `source`, in the order of their names. Raises `PatinaError` if there are none.

    Each .tar or .parquet file is a shard, and so are `images_per_shard` images. The same files give the same shards.
    """
    filesystem, root = fsspec.url_to_fs(source)
    files = sorted(filesystem.find(root)) if filesystem.isdir(root) else [root]
    by_suffix = {PACKED: list[str](), SUFFIXES: list[str]()}
    for file in files:
        for suffixes, matching in by_suffix.items():
            if _suffix(file) in suffixes:
                matching.append(filesystem.unstrip_protocol(file))
    packed, images = by_suffix[PACKED], by_suffix[SUFFIXES]
    groups: list[tuple[str, ...]] = [(file,) for file in packed]
    groups += [tuple(images[first : first + images_per_shard]) for first in range(0, len(images), images_per_shard)]
    if not groups:
        raise PatinaError(f"{source} has no image, .tar or .parquet file. Give another folder.")
    return [Shard(number, group) for number, group in enumerate(groups)]


def read_files(shard: Shard, source: str, column: str) -> Iterator[SourceFile]:
    """Yields the images of a shard of `source`. `column` is that of a Parquet file."""
    _, root = fsspec.url_to_fs(source)
    for url in shard.files:
        match _suffix(url):
            case ".tar":
                yield from _read_tar(url)
            case ".parquet":
                yield from _read_parquet(url, column)
            case _:
                filesystem, path = fsspec.url_to_fs(url)
                yield SourceFile(
                    path.removeprefix(root).lstrip("/") or PurePosixPath(path).name, filesystem.cat_file(path)
                )


def _read_tar(url: str) -> Iterator[SourceFile]:
    with fsspec.open(url, "rb") as file, tarfile.open(fileobj=file, mode="r|*") as archive:
        for member in archive:
            content = archive.extractfile(member) if _suffix(member.name) in SUFFIXES else None
            if content is not None:
                yield SourceFile(member.name, content.read())


def _read_parquet(url: str, column: str) -> Iterator[SourceFile]:
    from pyarrow import parquet  # noqa: PLC0415 - an optional dependency

    with fsspec.open(url, "rb") as file:
        table = parquet.ParquetFile(file)
        if column not in table.schema_arrow.names:
            raise PatinaError(
                f"{url} has no column {column!r}, only {', '.join(table.schema_arrow.names)}. Name that of the images."
            )
        stem, number = PurePosixPath(url).stem, 0
        for batch in table.iter_batches(ROWS, columns=[column]):
            for value in batch.column(0).to_pylist():
                yield _from_cell(value, f"{stem}-{number:06}")
                number += 1


def _from_cell(value: Any, default_name: str) -> SourceFile:
    """Reads the bytes of a file, or as Hugging Face's datasets store it: a struct of `bytes` and `path`."""
    if isinstance(value, dict):
        return SourceFile(value.get("path") or default_name, value["bytes"])
    return SourceFile(default_name, value)


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()

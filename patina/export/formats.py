"""The export formats, and writing a stream of pairs in one of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Protocol, Self

from patina.archive import write_atomically
from patina.export.basicsr import BasicsrFolders
from patina.export.lmdb import BasicsrLmdb
from patina.export.pairs import Pair, read_pairs
from patina.export.parquet import ParquetFiles


class ExportFormat(StrEnum):
    basicsr = "basicsr"
    lmdb = "lmdb"
    parquet = "parquet"
    webdataset = "webdataset"
    zip = "zip"
    tar = "tar"


class Writer(Protocol):
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def add(self, pair: Pair) -> None: ...


def write_pairs(
    chunks: Iterator[bytes], folder: Path, file_format: ExportFormat, shard_size: int, on_pair: Callable[[int], None]
) -> dict[str | None, int]:
    """Writes the pairs and `manifest.jsonl`; each split gets its own writer. Returns the number of pairs by split.

    `on_pair` receives the number of pairs written so far. Raises `PatinaError` if the stream ends early.
    """
    folder.mkdir(parents=True, exist_ok=True)
    counts: dict[str | None, int] = {}
    writers: dict[str | None, Writer] = {}

    def lines() -> Iterator[bytes]:
        with ExitStack() as stack:
            for done, pair in enumerate(read_pairs(chunks), start=1):
                if pair.split not in writers:
                    writer = _create_writer(file_format, folder, pair.split, shard_size)
                    writers[pair.split] = stack.enter_context(writer)
                writers[pair.split].add(pair)
                counts[pair.split] = counts.get(pair.split, 0) + 1
                on_pair(done)
                yield json.dumps(pair.line, ensure_ascii=False).encode() + b"\n"

    # Last, because a writer may refuse a folder with files of other origin.
    write_atomically(lines(), folder / "manifest.jsonl")
    return counts


def _create_writer(file_format: ExportFormat, folder: Path, split: str | None, shard_size: int) -> Writer:
    split_folder = folder / split if split else folder
    match file_format:
        case ExportFormat.basicsr:
            return BasicsrFolders(split_folder)
        case ExportFormat.lmdb:
            return BasicsrLmdb(split_folder)
        case ExportFormat.parquet:
            return ParquetFiles(folder, split or "train", shard_size)
        case _:
            raise ValueError(f"{file_format} is not written from pairs")

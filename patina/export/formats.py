"""The forms by name, and the writing of one stream of pairs in one of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Protocol, Self

from patina.client.archive import write_whole
from patina.export.basicsr import BasicsrFolders
from patina.export.lmdb import BasicsrLmdb
from patina.export.pairs import Pair, pairs
from patina.export.parquet import ParquetFiles


class Form(StrEnum):
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
    pieces: Iterator[bytes], folder: Path, form: Form, shard_size: int, tell: Callable[[int], None]
) -> dict[str | None, int]:
    """Writes them with `manifest.jsonl`, each side of a split apart; gives the number of pairs by side."""
    folder.mkdir(parents=True, exist_ok=True)
    counts: dict[str | None, int] = {}
    writers: dict[str | None, Writer] = {}

    def lines() -> Iterator[bytes]:
        with ExitStack() as open_ones:
            for done, pair in enumerate(pairs(pieces), start=1):
                if pair.split not in writers:
                    writers[pair.split] = open_ones.enter_context(_writer(form, folder, pair.split, shard_size))
                writers[pair.split].add(pair)
                counts[pair.split] = counts.get(pair.split, 0) + 1
                tell(done)
                yield json.dumps(pair.line, ensure_ascii=False).encode() + b"\n"

    write_whole(lines(), folder / "manifest.jsonl")  # whole at the end: a folder may turn out to be somebody else's
    return counts


def _writer(form: Form, folder: Path, split: str | None, shard_size: int) -> Writer:
    side = folder / split if split else folder
    match form:
        case Form.basicsr:
            return BasicsrFolders(side)
        case Form.lmdb:
            return BasicsrLmdb(side)
        case Form.parquet:
            return ParquetFiles(folder, split or "train", shard_size)
        case _:
            raise ValueError(f"{form} is not written from pairs")

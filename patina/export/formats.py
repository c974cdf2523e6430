"""The export formats, and writing a stream of pairs in one of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Protocol, Self

from patina.archive import write_atomically
from patina.export.basicsr import BasicsrFolders
from patina.export.lmdb import BasicsrLmdb
from patina.export.pairs import Pair, read_pairs
from patina.export.parquet import ParquetFiles


class ExportFormat(StrEnum):
    """The formats by name. `FORMATS` has an entry for each."""

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


@dataclass(frozen=True)
class FormatSpec:
    """What the command line, the download and the dataset card need to know about a format."""

    help: str  # for the command line
    usage: str = ""  # for the dataset card; archives have none
    # Takes the export's folder, the split and the number of samples in a file. None: the service writes the files.
    create_writer: Callable[[Path, str | None, int], Writer] | None = None
    is_archive: bool = False  # one file, as the service streams it
    leave_out: tuple[str, ...] = ()  # of "kernel" and "noise": what the format has no place for
    split_folders: bool = False  # each split has its own folder
    flat_names: bool = False  # its readers search no folders below, and end names at spaces, commas or dots
    data_files: str | None = None  # pattern of a split's files, for the Hugging Face hub


NO_KERNEL_OR_NOISE = ("kernel", "noise")
FORMATS = {
    ExportFormat.basicsr: FormatSpec(
        help="paired folders, also for Real-ESRGAN, traiNNer-redux and neosr",
        usage="Paired folders: `dataroot_gt: hr`, `dataroot_lq: lr`. BasicSR and traiNNer-redux read the meta-info "
        "`meta_info.txt`, Real-ESRGAN and neosr `meta_info_pairs.txt`.",
        create_writer=lambda folder, split, _: BasicsrFolders(folder / (split or "")),
        leave_out=NO_KERNEL_OR_NOISE,
        split_folders=True,
        flat_names=True,
    ),
    ExportFormat.lmdb: FormatSpec(
        help="BasicSR's LMDB",
        usage="BasicSR's LMDB: `dataroot_gt: hr.lmdb`, `dataroot_lq: lr.lmdb`, `io_backend: lmdb`.",
        create_writer=lambda folder, split, _: BasicsrLmdb(folder / (split or "")),
        leave_out=NO_KERNEL_OR_NOISE,
        split_folders=True,
        flat_names=True,
    ),
    ExportFormat.parquet: FormatSpec(
        help="for Hugging Face's datasets",
        usage="Call `datasets.load_dataset` with this folder. `noise` is a `.npy` file: "
        "`np.load(io.BytesIO(row['noise']))`.",
        create_writer=lambda folder, split, size: ParquetFiles(folder, split or "train", size),
        data_files="data/{split}-*",
    ),
    ExportFormat.webdataset: FormatSpec(
        help="tar shards",
        usage="Call `webdataset.WebDataset` with the shards. Each key has `hr.png`, `lr.png`, `kernel.npy`, "
        "`noise.npy` and `json`.",
        data_files="{split}-*.tar",
    ),
    ExportFormat.zip: FormatSpec(help="one archive", is_archive=True),
    ExportFormat.tar: FormatSpec(help="one archive", is_archive=True),
}


class _FlatNames:
    """Gives pairs names without folders, spaces, commas and dots. Where two would be equal, one gets a number."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def rename(self, pair: Pair) -> Pair:
        """Returns the pair with its new key, which its manifest line names as well."""
        key = base = re.sub(r"[/\s,.]", "_", pair.key)
        number = 1
        while key.casefold() in self._taken:
            number += 1
            key = f"{base}-{number}"
        self._taken.add(key.casefold())
        paths = {role: f"{role}/{key}.png" for role in ("hr", "lr") if role in pair.line}
        return replace(pair, key=key, line=pair.line | paths)


def write_pairs(
    chunks: Iterator[bytes], folder: Path, file_format: ExportFormat, shard_size: int, on_pair: Callable[[int], None]
) -> dict[str | None, int]:
    """Writes the pairs and `manifest.jsonl`; each split gets its own writer. Returns the number of pairs by split.

    `on_pair` receives the number of pairs written so far. Raises `PatinaError` if the stream ends early.
    """
    create_writer = FORMATS[file_format].create_writer
    if create_writer is None:
        raise ValueError(f"{file_format} is not written from pairs")
    folder.mkdir(parents=True, exist_ok=True)
    counts: dict[str | None, int] = {}
    writers: dict[str | None, Writer] = {}
    flat_names = _FlatNames() if FORMATS[file_format].flat_names else None

    def lines() -> Iterator[bytes]:
        with ExitStack() as stack:
            for done, pair in enumerate(read_pairs(chunks), start=1):
                if flat_names:
                    pair = flat_names.rename(pair)  # noqa: PLW2901 - the pair as it is written
                if pair.split not in writers:
                    writers[pair.split] = stack.enter_context(create_writer(folder, pair.split, shard_size))
                writers[pair.split].add(pair)
                counts[pair.split] = counts.get(pair.split, 0) + 1
                on_pair(done)
                yield json.dumps(pair.line, ensure_ascii=False).encode() + b"\n"

    # Last, because a writer may refuse a folder with files of other origin.
    write_atomically(lines(), folder / "manifest.jsonl")
    return counts

"""Files of results: WebDataset or Parquet. The same samples give the same bytes."""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

ROW_GROUP = 64  # rows that readers load together, and the writer holds in memory


@dataclass(frozen=True)
class BulkSample:
    """One sample: its encoded files by kind (lr, kernel, noise), and its line, as in the service's manifest."""

    key: str
    line: dict[str, Any]
    files: dict[str, bytes]


def write_webdataset(samples: Iterable[BulkSample], path: Path) -> None:
    """Writes `KEY.lr.png`, `KEY.kernel.npy`, `KEY.noise.npy` and `KEY.json`, as the service's archives have them."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for sample in samples:
            members = {f"{kind}.{'png' if kind == 'lr' else 'npy'}": data for kind, data in sample.files.items()}
            for suffix, data in (members | {"json": json.dumps(sample.line, ensure_ascii=False).encode()}).items():
                header = tarfile.TarInfo(f"{sample.key}.{suffix}")
                header.size = len(data)
                archive.addfile(header, io.BytesIO(data))


def write_parquet(samples: Iterable[BulkSample], path: Path) -> None:
    """Writes a row for each sample: the files as bytes, and the fields of its line."""
    import pyarrow as pa  # noqa: PLC0415 - an optional dependency
    from pyarrow import parquet  # noqa: PLC0415

    columns = {
        "key": pa.string(),
        **dict.fromkeys(("lr", "kernel", "noise"), pa.binary()),
        **dict.fromkeys(("source", "source_sha256"), pa.string()),
        **dict.fromkeys(("sample", "seed", "scale"), pa.int64()),
        "kernel_origin": pa.list_(pa.int32()),
    }
    schema, rows = pa.schema(list(columns.items())), list[dict[str, Any]]()
    # Images and noise do not compress further.
    with parquet.ParquetWriter(path, schema, compression="none") as writer:
        for sample in samples:
            rows.append({"key": sample.key, **sample.files, **{k: v for k, v in sample.line.items() if k in columns}})
            if len(rows) == ROW_GROUP:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                rows = []
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))


WRITERS = {"webdataset": (write_webdataset, ".tar"), "parquet": (write_parquet, ".parquet")}


def shard_name(number: int, output: str) -> str:
    return f"shard-{number:06}{WRITERS[output][1]}"


def store_shard(samples: Iterable[BulkSample], destination: str, number: int, output: str) -> None:
    """Writes a shard on the local disk first. It gets its name in `destination` when it is complete."""
    filesystem, root = fsspec.url_to_fs(destination)
    target = f"{root}/{shard_name(number, output)}"
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / "shard"
        WRITERS[output][0](samples, local)
        filesystem.put_file(str(local), f"{target}.part")
        filesystem.mv(f"{target}.part", target)

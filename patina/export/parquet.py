"""Parquet files with embedded images, for Hugging Face's `datasets`: `load_dataset("FOLDER")`."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, Self

import numpy as np

from patina.errors import PatinaError
from patina.export.pairs import Pair

ROW_GROUP = 50  # rows that readers load together and the writer holds in memory
# Column types for `datasets`; other readers ignore them.
IMAGE = {"_type": "Image"}
FEATURES: dict[str, Any] = {
    "hr": IMAGE,
    "lr": IMAGE,
    "kernel": [[{"dtype": "float32", "_type": "Value"}]],
    "noise": {"dtype": "binary", "_type": "Value"},  # .npy, (h, w, 3) or smaller, 1 = full scale
    **{name: {"dtype": "string", "_type": "Value"} for name in ("source", "source_sha256", "model")},
    **{name: {"dtype": "int64", "_type": "Value"} for name in ("sample", "seed", "scale")},
    "kernel_origin": [{"dtype": "int32", "_type": "Value"}],
}


class ParquetFiles:
    """Writes `data/SPLIT-00000.parquet` and so on, with `rows` rows each."""

    def __init__(self, folder: Path, split: str, rows: int) -> None:
        try:
            import pyarrow  # noqa: PLC0415 - an optional dependency
            from pyarrow import parquet  # noqa: PLC0415
        except ImportError as error:
            raise PatinaError("Parquet needs a package: pip install 'patina[export]'") from error
        self._arrow, self._parquet = pyarrow, parquet
        self._folder, self._split, self._rows = folder / "data", split, rows
        self._schema = _create_schema(pyarrow)
        self._pending: list[dict[str, Any]] = []
        self._writer: Any = None
        self._files = self._written = 0

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        for old_file in self._folder.glob(f"{self._split}-*.parquet"):
            old_file.unlink()
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._close_file()

    def add(self, pair: Pair) -> None:
        row = {name: pair.line.get(name) for name in FEATURES}
        row |= {"hr": _to_image(pair, "hr", pair.hr), "lr": _to_image(pair, "lr", pair.lr), "noise": pair.noise}
        row["kernel"] = np.load(io.BytesIO(pair.kernel)).tolist() if pair.kernel else None
        self._pending.append(row)
        if len(self._pending) == min(ROW_GROUP, self._rows - self._written):
            self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        if self._writer is None:
            name = f"{self._split}-{self._files:05}.parquet"
            # Images and noise do not compress further.
            self._writer = self._parquet.ParquetWriter(self._folder / name, self._schema, compression="none")
        self._writer.write_table(self._arrow.Table.from_pylist(self._pending, schema=self._schema))
        self._written += len(self._pending)
        self._pending = []
        if self._written >= self._rows:
            self._close_file()

    def _close_file(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer, self._files, self._written = None, self._files + 1, 0


def _to_image(pair: Pair, role: str, png: bytes) -> dict[str, Any]:
    return {"bytes": png, "path": f"{role}/{pair.key}.png"}


def _create_schema(arrow: Any) -> Any:
    image = arrow.struct({"bytes": arrow.binary(), "path": arrow.string()})
    columns = {
        "hr": image,
        "lr": image,
        "kernel": arrow.list_(arrow.list_(arrow.float32())),
        "noise": arrow.binary(),
        **dict.fromkeys(("source", "source_sha256", "model"), arrow.string()),
        **dict.fromkeys(("sample", "seed", "scale"), arrow.int64()),
        "kernel_origin": arrow.list_(arrow.int32()),
    }
    metadata = {"huggingface": json.dumps({"info": {"features": FEATURES}})}
    return arrow.schema(list(columns.items()), metadata=metadata)

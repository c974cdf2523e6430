"""BasicSR's LMDB format: `hr.lmdb` and `lr.lmdb` map keys to PNGs; `meta_info.txt` has `KEY.png (480,480,3) 1`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from patina.errors import PatinaError
from patina.export.pairs import Pair, read_png_size

INITIAL_MAP_SIZE = 2**28  # bytes of address space; doubled when full
PNG_LEVEL = 1  # the level that BasicSR writes; nothing reads it
TRANSACTION_PAIRS = 64


class BasicsrLmdb:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pending: list[Pair] = []

    def __enter__(self) -> Self:
        self._databases = {role: _Database(self._folder / f"{role}.lmdb") for role in ("hr", "lr")}
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        for database in self._databases.values():
            database.close()

    def add(self, pair: Pair) -> None:
        self._pending.append(pair)
        if len(self._pending) == TRANSACTION_PAIRS:
            self._flush()

    def _flush(self) -> None:
        self._databases["hr"].put({pair.key: pair.hr for pair in self._pending})
        self._databases["lr"].put({pair.key: pair.lr for pair in self._pending})
        self._pending = []


class _Database:
    def __init__(self, folder: Path) -> None:
        try:
            import lmdb  # noqa: PLC0415 - an optional dependency
        except ImportError as error:
            raise PatinaError("LMDB needs a package: pip install 'patina[export]'") from error
        folder.mkdir(parents=True, exist_ok=True)
        for old_file in folder.iterdir():  # an earlier export's keys would stay, without a line in meta_info.txt
            old_file.unlink()
        self._map_full_error: type[Exception] = lmdb.MapFullError
        self._environment: Any = lmdb.open(str(folder), map_size=INITIAL_MAP_SIZE)
        self._meta_info = (folder / "meta_info.txt").open("w")

    def put(self, images: dict[str, bytes]) -> None:
        while True:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, png in images.items():
                        transaction.put(key.encode(), png)
                break
            except self._map_full_error:
                self._environment.set_mapsize(2 * self._environment.info()["map_size"])
        for key, png in images.items():
            height, width = read_png_size(png)
            print(f"{key}.png ({height},{width},3) {PNG_LEVEL}", file=self._meta_info)

    def close(self) -> None:
        self._environment.close()
        self._meta_info.close()

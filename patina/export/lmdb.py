"""BasicSR's LMDB: `hr.lmdb` and `lr.lmdb`, a PNG under each key, and `meta_info.txt` with `KEY.png (480,480,3) 1`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from patina.errors import PatinaError
from patina.export.pairs import Pair, size_of

FIRST_SIZE = 2**28  # bytes of address space; doubled whenever it is full
COMPRESSION = 1  # the PNG level that BasicSR writes itself; nothing reads it
TOGETHER = 64  # pairs in a transaction


class BasicsrLmdb:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: list[Pair] = []

    def __enter__(self) -> Self:
        self._databases = {what: _Database(self._folder / f"{what}.lmdb") for what in ("hr", "lr")}
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        for database in self._databases.values():
            database.close()

    def add(self, pair: Pair) -> None:
        self._waiting.append(pair)
        if len(self._waiting) == TOGETHER:
            self._flush()

    def _flush(self) -> None:
        self._databases["hr"].put({pair.key: pair.hr for pair in self._waiting})
        self._databases["lr"].put({pair.key: pair.lr for pair in self._waiting})
        self._waiting = []


class _Database:
    def __init__(self, folder: Path) -> None:
        try:
            import lmdb  # noqa: PLC0415 - wanted for this form alone
        except ImportError as error:
            raise PatinaError("LMDB needs a package: pip install 'patina[export]'") from error
        folder.mkdir(parents=True, exist_ok=True)
        for before in folder.iterdir():  # its size would count, and its keys would be without a line
            before.unlink()
        self._full: type[Exception] = lmdb.MapFullError
        self._environment: Any = lmdb.open(str(folder), map_size=FIRST_SIZE)
        self._lines = (folder / "meta_info.txt").open("w")

    def put(self, images: dict[str, bytes]) -> None:
        while True:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, png in images.items():
                        transaction.put(key.encode(), png)
                break
            except self._full:
                self._environment.set_mapsize(2 * self._environment.info()["map_size"])
        for key, png in images.items():
            height, width = size_of(png)
            print(f"{key}.png ({height},{width},3) {COMPRESSION}", file=self._lines)

    def close(self) -> None:
        self._environment.close()
        self._lines.close()

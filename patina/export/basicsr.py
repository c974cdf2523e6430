"""Paired folders, as BasicSR, Real-ESRGAN, traiNNer-redux and neosr read them.

hr/KEY.png  lr/KEY.png          `dataroot_gt` and `dataroot_lq`
meta_info.txt                   `KEY.png (480,480,3)`, for BasicSR and traiNNer-redux
meta_info_pairs.txt             `KEY.png, KEY.png`, for Real-ESRGAN and neosr
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Self

from patina.export.pairs import Pair, size_of


class BasicsrFolders:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last: tuple[bytes, Path] | None = None

    def __enter__(self) -> Self:
        for name in ("hr", "lr"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        self._single = (self._folder / "meta_info.txt").open("w")
        self._paired = (self._folder / "meta_info_pairs.txt").open("w")
        return self

    def __exit__(self, *_: object) -> None:
        self._single.close()
        self._paired.close()

    def add(self, pair: Pair) -> None:
        name = f"{pair.key}.png"
        self._write_hr(pair.hr, self._folder / "hr" / name)
        (self._folder / "lr" / name).write_bytes(pair.lr)
        height, width = size_of(pair.hr)
        print(f"{name} ({height},{width},3)", file=self._single)
        print(f"{name}, {name}", file=self._paired)

    def _write_hr(self, png: bytes, target: Path) -> None:
        """The samples of an image follow each other and share their clean one, which need not lie there again."""
        target.unlink(missing_ok=True)
        if self._last and self._last[0] == png:
            try:
                os.link(self._last[1], target)
            except OSError:  # a file system without hard links
                shutil.copyfile(self._last[1], target)
        else:
            target.write_bytes(png)
            self._last = png, target

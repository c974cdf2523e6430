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

from patina.errors import PatinaError
from patina.export.pairs import Pair, size_of

FOLDERS = ("hr", "lr")
SINGLE, PAIRED = "meta_info.txt", "meta_info_pairs.txt"


class BasicsrFolders:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last: tuple[bytes, Path] | None = None

    def __enter__(self) -> Self:
        self._clear()
        for name in FOLDERS:
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        # By line, and each before its images: an export that is killed has named all that it wrote.
        self._single = (self._folder / SINGLE).open("w", buffering=1)
        self._paired = (self._folder / PAIRED).open("w", buffering=1)
        return self

    def __exit__(self, *_: object) -> None:
        self._single.close()
        self._paired.close()

    def add(self, pair: Pair) -> None:
        name = f"{pair.key}.png"
        height, width = size_of(pair.hr)
        print(f"{name} ({height},{width},3)", file=self._single)
        print(f"{name}, {name}", file=self._paired)
        self._write_hr(pair.hr, self._folder / "hr" / name)
        (self._folder / "lr" / name).write_bytes(pair.lr)

    def _clear(self) -> None:
        """Takes away the images of an export before this one, which trainers would read among the new ones."""
        before = [file for name in FOLDERS for file in (self._folder / name).glob("[!.]*")]
        single = {line.rpartition(" ")[0] for line in _lines(self._folder / SINGLE)}
        paired = set(_lines(self._folder / PAIRED))
        for file in before:  # only an export of ours names a file in both lists
            if file.name not in single or f"{file.name}, {file.name}" not in paired:
                raise PatinaError(
                    f"No export of Patina's wrote {file}, and trainers would read it as a pair's. Name another folder."
                )
        for file in before:
            file.unlink()

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


def _lines(file: Path) -> list[str]:
    return file.read_text(errors="replace").split("\n") if file.exists() else []

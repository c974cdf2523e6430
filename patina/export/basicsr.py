"""Paired folders that BasicSR, Real-ESRGAN, traiNNer-redux and neosr read.

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
from patina.export.pairs import Pair, read_png_size

FOLDERS = ("hr", "lr")
META_INFO, META_INFO_PAIRS = "meta_info.txt", "meta_info_pairs.txt"


class BasicsrFolders:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last_hr: tuple[bytes, Path] | None = None

    def __enter__(self) -> Self:
        self._delete_previous_export()
        for name in FOLDERS:
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        # Line buffering: a line is on disk before its images, so even a killed export has listed all its files.
        self._meta_info = (self._folder / META_INFO).open("w", buffering=1)
        self._meta_info_pairs = (self._folder / META_INFO_PAIRS).open("w", buffering=1)
        return self

    def __exit__(self, *_: object) -> None:
        self._meta_info.close()
        self._meta_info_pairs.close()

    def add(self, pair: Pair) -> None:
        name = f"{pair.key}.png"
        height, width = read_png_size(pair.hr)
        print(f"{name} ({height},{width},3)", file=self._meta_info)
        print(f"{name}, {name}", file=self._meta_info_pairs)
        self._write_hr(pair.hr, self._folder / "hr" / name)
        (self._folder / "lr" / name).write_bytes(pair.lr)

    def _delete_previous_export(self) -> None:
        """Deletes the images of an earlier export, because trainers would mix them with the new ones.

        Raises `PatinaError` if the folders hold images of other origin.
        """
        old_files = [file for name in FOLDERS for file in (self._folder / name).glob("[!.]*")]
        listed = {line.rpartition(" ")[0] for line in _read_lines(self._folder / META_INFO)}
        listed_pairs = set(_read_lines(self._folder / META_INFO_PAIRS))
        for file in old_files:  # only our exports list a file in both
            if file.name not in listed or f"{file.name}, {file.name}" not in listed_pairs:
                raise PatinaError(
                    f"No Patina export wrote {file}, and trainers would read it as part of a pair. Name another folder."
                )
        for file in old_files:
            file.unlink()

    def _write_hr(self, png: bytes, target: Path) -> None:
        """Writes a clean image. Samples of one image are neighbors, so they share it by a hard link."""
        target.unlink(missing_ok=True)
        if self._last_hr and self._last_hr[0] == png:
            try:
                os.link(self._last_hr[1], target)
            except OSError:  # a file system without hard links
                shutil.copyfile(self._last_hr[1], target)
        else:
            target.write_bytes(png)
            self._last_hr = png, target


def _read_lines(file: Path) -> list[str]:
    return file.read_text(errors="replace").split("\n") if file.exists() else []

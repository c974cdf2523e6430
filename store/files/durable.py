"""Files and names that survive a power cut."""

from __future__ import annotations

import os
from pathlib import Path


def flush_folder(folder: Path) -> None:
    """Returns when the names in the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(file: Path, line: str, *, mode: int = 0o666) -> None:
    """Writes a line into a new file. It is complete or absent, also after a power cut. The umask limits `mode`."""
    temporary = file.with_suffix(f".{os.getpid()}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as opened:  # noqa: PTH123 - a path cannot be opened with a mode
        opened.write(line + "\n")
        opened.flush()
        os.fsync(opened.fileno())
    temporary.rename(file)
    flush_folder(file.parent)

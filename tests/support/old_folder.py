"""A data folder as the last code with schema 0011 left it. `tests/store/data/make_before_0012.sh` made it."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ARCHIVE = Path(__file__).parents[1] / "store/data/before-0012.tar.gz"


@dataclass(frozen=True)
class OldFolder:
    """`ids` name what is in the folder; `answers` are what the old API returned for each URL."""

    path: Path
    ids: dict[str, Any]
    answers: dict[str, Any]


def extract_old_folder(target: Path) -> OldFolder:
    with tarfile.open(ARCHIVE) as tar:
        tar.extractall(target, filter="data")
    path = target / "data"
    return OldFolder(path, **json.loads((path / "expected.json").read_text()))

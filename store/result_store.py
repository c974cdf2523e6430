"""How a job stores its results, as its parameters say."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class ResultStore(StrEnum):
    """Each file as a blob, or the files of many samples in one."""

    files = "files"
    shards = "shards"


def result_store(parameters: Mapping[str, Any]) -> ResultStore:
    """Returns how a job with these parameters stores its results. Jobs of earlier versions have files."""
    return ResultStore(parameters.get("store", ResultStore.files))

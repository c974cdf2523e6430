from __future__ import annotations

from pathlib import Path

import pytest
import torch

import models.device
from models.device import measure_free_memory


def test_a_containers_page_cache_counts_as_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.device, "CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("990000\n")
    (tmp_path / "memory.stat").write_text("anon 190000\nfile 800000\ninactive_file 700000\n")
    assert measure_free_memory(torch.device("cpu")) == 710_000

"""A data folder that the process cannot write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from store.data_folder import MISCONFIGURED, require_writable


def test_an_unwritable_folder_is_explained_in_the_log(tmp_path: Path) -> None:
    require_writable(tmp_path / "new" / "data")
    assert list((tmp_path / "new" / "data").iterdir()) == []
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file" / "data", Path("/proc/patina")):  # the second is refused to root as well
        with capture_logs() as lines, pytest.raises(SystemExit) as exited:
            require_writable(folder)
        assert exited.value.code == MISCONFIGURED
        (line,) = lines
        assert line["event"] == "data folder not writable"
        assert f"chown {os.getuid()} FOLDER" in line["hint"]

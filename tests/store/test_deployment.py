"""A process with the data folder of another deployment does not start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from store.data_folder import MISCONFIGURED
from store.deployment import ID_FILE, WrongDataFolderError, bind_data_folder
from store.store import Store


def test_database_and_folder_get_the_same_id_once(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    bind_data_folder(folder, store.database)
    first = (folder / ID_FILE).read_text()
    bind_data_folder(folder, store.database)
    assert (folder / ID_FILE).read_text() == first


def test_an_api_with_another_folder_says_what_to_do(store: Store, tmp_path: Path) -> None:
    bind_data_folder(tmp_path / "right", store.database)
    with pytest.raises(WrongDataFolderError, match="PATINA_DATA_DIR"):
        bind_data_folder(tmp_path / "empty", store.database)
    other = tmp_path / "other"
    other.mkdir()
    (other / ID_FILE).write_text("another\n")
    with pytest.raises(WrongDataFolderError, match="another deployment"):
        bind_data_folder(other, store.database)
    (other / ID_FILE).write_text((tmp_path / "right" / ID_FILE).read_text())  # as the message says
    bind_data_folder(other, store.database)


@pytest.mark.parametrize("module", [["worker", "train"], ["worker.maintenance"]])
def test_workers_with_another_folder_refuse_to_start(
    store: Store, database_url: str, redis_url: str, tmp_path: Path, module: list[str]
) -> None:
    bind_data_folder(tmp_path, store.database)
    environment = {
        "PATINA_DATABASE_URL": database_url,
        "PATINA_REDIS_URL": redis_url,
        "PATINA_DATA_DIR": str(tmp_path / "elsewhere"),
    }
    command = [sys.executable, "-P", "-m", *module]
    ended = subprocess.run(command, env=os.environ | environment, check=False, timeout=50, capture_output=True)
    assert ended.returncode == MISCONFIGURED
    assert b"wrong data folder" in ended.stderr + ended.stdout

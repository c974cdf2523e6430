"""Thousands of photos for one job: sent in parts, resumed after an interruption, and delivered in their tree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from patina import Client
from patina.errors import ServiceUnavailableError
from tests.support.images import make_png
from tests.support.local_service import LocalService, TrainedModel, normalize_output

TREE = ["a/1.png", "a/frame.001.png", "b/1.png", "b/c/1.png", "frame 001.png"]


def make_tree(folder: Path) -> Path:
    for number, name in enumerate(TREE):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(make_png(20, 24, number))
    return folder


def list_tree(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def test_an_interrupted_submission_resumes(
    trained: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("patina.client.photo_files.MAX_BATCH_FILES", 1)
    monkeypatch.setattr("patina.client._sync.inputs.CONCURRENCY", 1)
    folder = make_tree(tmp_path / "in")
    with Client(trained.url) as patina:
        sent: list[str] = []
        broken = True

        def interrupt(request: Any) -> None:
            if request.method == "PUT":
                if broken and len(sent) == 3:
                    raise ServiceUnavailableError("The connection broke.")
                sent.append(request.url.path)

        patina._http.event_hooks = {"request": [interrupt]}
        monkeypatch.setattr("patina.client.http.RETRY_DELAYS", ())
        dataset = patina.datasets.get(trained.dataset)
        with pytest.raises(ServiceUnavailableError):
            dataset.sr(folder)
        broken = False
        job = dataset.sr(folder).wait()
        assert [path.rpartition("/")[2] for path in sent] == ["0", "1", "2", "3", "4"]
        assert len({path.rpartition("/")[0] for path in sent}) == 1
        job.download(tmp_path / "out")
    assert list_tree(tmp_path / "out" / "sr") == TREE


def test_the_command_keeps_the_tree_and_names_the_rest(
    service: LocalService, trained: TrainedModel, tmp_path: Path
) -> None:
    folder = make_tree(tmp_path / "in")
    (folder / "b/notes.txt").write_text("notes")
    (folder / "linked").symlink_to(folder)
    command = ["sr", str(folder), "--dataset", trained.dataset, "--out", str(tmp_path / "out")]
    result = service.command(*command)
    assert result.returncode == 0, result.stderr
    output = normalize_output(result)
    assert f"left out: {folder / 'b/notes.txt'}: The file is not a" in output
    assert f"left out: {folder / 'linked'}: This link leads to {folder}," in output
    assert list_tree(tmp_path / "out" / "sr") == TREE

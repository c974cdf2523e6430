"""The sessions of docs/client.md and docs/formats.md work as written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from patina.cli.app import cli
from patina.cli.main import main  # noqa: F401 - registers all commands
from tests.support.images import save_photos
from tests.support.local_service import LocalService, TrainedModel
from tests.support.shell import find_code, run_python, run_shell

DOCS = Path(__file__).parents[2] / "docs"


def read_code(language: str, page: str = "client.md") -> str:
    return find_code((DOCS / page).read_text(), language).replace("--minutes 30", "--steps 1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the photos that the examples name."""
    save_photos(tmp_path / "real", 3, (40, 36))
    save_photos(tmp_path / "clean", 2, (136, 144))
    return tmp_path


def test_client(service: LocalService, folder: Path) -> None:
    output = run_python(read_code("python"), service, folder)
    assert output.startswith("score ")
    assert output.count(" ok") == 8
    assert len(list((folder / "triplets/lr").iterdir())) == 8
    assert len(list((folder / "super-resolved/sr").iterdir())) == 3


def test_async_client(service: LocalService, trained: TrainedModel, folder: Path) -> None:
    run_python(read_code("python async"), service, folder)
    assert [len(list((folder / f"seed-{seed}/lr").iterdir())) for seed in range(3)] == [4, 4, 4]


def test_degrade_on_the_fly(service: LocalService, trained: TrainedModel, folder: Path) -> None:
    program = read_code("python degrader")
    check = "\nassert lr.shape == (8, 3, 32, 32)"
    check += "\nassert torch.equal(same, degrader(hr[0], generator=seeded_generator(7, 0, 5)).lr)"
    pairs = read_code("python pairs") + "\nassert (lq.shape, gt.shape) == ((16, 3, 32, 32), (16, 3, 128, 128))"
    run_python("\n".join([program, check, pairs]), service, folder)


def test_shell(service: LocalService, trained: TrainedModel, folder: Path) -> None:
    score, ok, status, file, real = run_shell(read_code("bash"), service, folder).stdout.split()
    assert float(score) > 0
    assert (ok, status, file, real) == ("8", "succeeded", "degrader.safetensors", "3")


def test_client_md_lists_every_command() -> None:
    table = re.findall(r"^\| (.+) \|$", (DOCS / "client.md").read_text(), re.MULTILINE)
    listed = {word for line in table for word in re.findall(r"[\w-]+", line.partition("|")[0])}
    command = get_command(cli)
    assert isinstance(command, TyperGroup)
    assert not set(command.commands) - listed


def test_watch_and_finish_training(service: LocalService, trained: TrainedModel, folder: Path) -> None:
    output = run_python(read_code("python training"), service, folder)
    assert "model saved" in output
    assert (folder / "contact-sheet.png").exists()


def test_export_formats(service: LocalService, trained: TrainedModel, folder: Path) -> None:
    output = run_shell(read_code("bash", "formats.md"), service, folder).stdout
    assert "8 pairs are in pairs\n" in output
    assert len(list((folder / "pairs/lr").iterdir())) == 8
    assert list((folder / "pairs-lmdb").glob("*/hr.lmdb/data.mdb"))
    assert (folder / "pairs-shards/train-000000.tar").exists()
    assert (folder / "pairs-hub/data/train-00000.parquet").exists()

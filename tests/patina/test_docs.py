"""What docs/client.md and docs/formats.md say is so: their sessions are taken from them and tried."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from patina.cli.app import cli
from patina.cli.main import main  # noqa: F401 - with it come all commands
from tests.patina.conftest import LocalService, TrainedModel, save_photos
from tests.patina.sessions import shell
from tests.patina.test_readme import for_the_test

DOCS = Path(__file__).parents[2] / "docs"


def block(language: str, page: str = "client.md") -> str:
    """The page's first of this language."""
    found = re.search(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert found
    return found[1].replace("--minutes 30", "--steps 1")


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    save_photos(tmp_path / "real", 3, (40, 36))
    save_photos(tmp_path / "clean", 2, (136, 144))
    return tmp_path


def run(program: str, service: LocalService, desk: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", for_the_test(program, service)],
        cwd=desk,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_client(service: LocalService, desk: Path) -> None:
    said = run(block("python"), service, desk)
    assert said.startswith("score ")
    assert said.count(" ok") == 8
    assert len(list((desk / "triplets/lr").iterdir())) == 8
    assert len(list((desk / "super-resolved/sr").iterdir())) == 3


def test_awaited(service: LocalService, trained: TrainedModel, desk: Path) -> None:
    run(block("python async"), service, desk)
    assert [len(list((desk / f"seed-{seed}/lr").iterdir())) for seed in range(3)] == [4, 4, 4]


def test_degrading_on_the_fly(service: LocalService, trained: TrainedModel, desk: Path) -> None:
    program = block("python degrader")
    checked = "\nassert lr.shape == (8, 3, 32, 32) and torch.equal(same, degrader(hr[0], generator=seeded_generator(7, 0, 5)).lr)"
    run(program + checked, service, desk)


def test_the_shell(service: LocalService, trained: TrainedModel, desk: Path) -> None:
    score, made, status, file, real = shell(block("bash"), service, desk).split()
    assert float(score) > 0
    assert (made, status, file, real) == ("8", "succeeded", "degrader.safetensors", "3")


def test_every_command_has_a_line() -> None:
    table = re.findall(r"^\| (.+) \|$", (DOCS / "client.md").read_text(), re.MULTILINE)
    told = {word for line in table for word in re.findall(r"[\w-]+", line.partition("|")[0])}
    command = get_command(cli)
    assert isinstance(command, TyperGroup)
    assert not set(command.commands) - told


def test_a_training_watched_and_ended_early(service: LocalService, trained: TrainedModel, desk: Path) -> None:
    said = run(block("python training"), service, desk)
    assert "model saved" in said
    assert (desk / "contact-sheet.png").exists()


def test_the_forms(service: LocalService, trained: TrainedModel, desk: Path) -> None:
    said = shell(block("bash", "formats.md"), service, desk)
    assert "8 pairs are in pairs\n" in said
    assert len(list((desk / "pairs/lr").iterdir())) == 8
    assert list((desk / "pairs-lmdb").glob("*/hr.lmdb/data.mdb"))
    assert (desk / "pairs-shards/train-000000.tar").exists()
    assert (desk / "pairs-hub/data/train-00000.parquet").exists()

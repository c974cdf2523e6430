"""The commands, the curl session and the Python code of the README work as written."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.support.images import save_photos
from tests.support.local_service import LocalService
from tests.support.shell import find_code, run_python, run_shell, shorten

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the photos that the examples name."""
    for name, count, size in (("real", 3, (40, 36)), ("clean", 2, (136, 144))):
        save_photos(tmp_path / name, count, size)
        shutil.make_archive(str(tmp_path / name), "zip", tmp_path / name)
    return tmp_path


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl_session(service: LocalService, folder: Path) -> None:
    session = run_shell(shorten(find_code(README.read_text(), "bash"), service), service, folder)
    assert session.stdout.count('"message":"job ended","status":"succeeded"') == 3
    shutil.unpack_archive(folder / "triplets.zip", folder / "triplets")
    shutil.unpack_archive(folder / "super-resolved.zip", folder / "super-resolved")
    assert len(list((folder / "triplets/lr").iterdir())) == 8
    assert len(list((folder / "super-resolved/sr").iterdir())) == 3


def test_commands_for_demo_and_own_photos(service: LocalService, folder: Path) -> None:
    """The commands of docs/report.md follow, on the model that the README's commands trained."""
    commands = re.findall(r"^    \.venv/bin/(patina (?!demo).+)$", README.read_text(), re.MULTILINE)
    subcommands = [command.split()[1] for command in commands]
    assert subcommands == ["train", "degrade", "train", "report", "degrade", "sr"]
    report = re.search(r"```bash\n(.*?)```", (README.parent / "docs/report.md").read_text(), re.DOTALL)
    assert report
    for name in ("real", "clean"):
        shutil.copytree(folder / name, folder / f"demo-output/{name}-photos")
        (folder / name).rename(folder / f"my-{name}-photos")
    run_shell("\n".join([*commands, report[1]]).replace("--minutes 10", "--steps 1"), service, folder)
    for prefix in ("", "demo-"):
        assert (folder / f"{prefix or 'contact-'}sheet.png").stat().st_size > 50_000
        assert len(list((folder / f"{prefix}triplets/lr").iterdir())) == 8
    assert len(list((folder / "triplets/lr").iterdir())) == 8
    assert len(list((folder / "super-resolved/sr").iterdir())) == 3


def test_python_code(service: LocalService, folder: Path) -> None:
    run_python(find_code(README.read_text(), "python"), service, folder)
    assert len((folder / "triplets/manifest.jsonl").read_text().splitlines()) == 8
